#!/usr/bin/env python3
"""Outside judge of the codec: pyiso8583 writes and reads messages as it is asked to, and says what comes of it.

One JSON object a line on stdin, one answer a line on stdout:

  {"spec": {...}}        the specification for what follows, as pyiso8583 takes it   {}
  {"encode": {...}}      a decoded document                                          {"octets": hex} or a refusal
  {"decode": hex}        a message                                                   {"doc": {...}} or a refusal

A refusal is {"refused": field, "why": text}, and {"at": octets from the start} when a message was read. An empty line
asks for the answers given so far. Shares no code with what it judges.
"""
import json
import sys

import iso8583


def encode(doc, spec):
    try:
        octets, _ = iso8583.encode(doc, spec)
    except iso8583.EncodeError as refusal:
        return {"refused": refusal.field, "why": refusal.msg}
    except KeyError as missing:
        return undefined(missing, spec)
    return {"octets": octets.hex()}


def decode(octets, spec):
    try:
        doc, _ = iso8583.decode(octets, spec)
    except iso8583.DecodeError as refusal:
        return {"refused": refusal.field, "at": refusal.pos, "why": refusal.msg}
    except KeyError as missing:
        return undefined(missing, spec)
    return {"doc": doc}


def undefined(missing, spec):
    """pyiso8583 looks a field up in its specification and lets the failure through."""
    field = missing.args[0]
    if field in spec:
        raise missing
    return {"refused": field, "why": "not in the specification"}


def main():
    spec = None
    for line in sys.stdin:
        if line == "\n":
            sys.stdout.flush()
            continue
        asked = json.loads(line)
        if "spec" in asked:
            spec, answer = asked["spec"], {}
        elif "encode" in asked:
            answer = encode(asked["encode"], spec)
        else:
            answer = decode(bytes.fromhex(asked["decode"]), spec)
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
