#!/usr/bin/env python3
"""Outside judge of a clearing file: shares no code with the switch, parses with cardutil.

Usage: ipm_judge.py FILE --encoding cp500|latin_1 --container blocked|vbs [--amounts]

Exit 0 and "OK messages=… sum=…" when every rule holds, exit 1 and "FAIL …" naming the
first that does not. With --amounts, the DE 4 of every presentment follow, one a line.

Rules: a blocked file is taken by unblock_1014; every VBS length fits, the zero end marker is
there and only padding follows; cardutil parses every record; 1644/697 comes first, 1644/695
last; DE 71 counts 1, 2, 3 …; PDS 0105 is the same in header and trailer; PDS 0301 is the sum
of all DE 4; PDS 0306 is the number of messages; DE 31 ends in its Luhn digit; DE 43 has parts.
"""
import argparse
import io
import logging
import struct
import sys

from cardutil.mciipm import IpmReader, unblock_1014

LONGEST = 6000


class Broken(Exception):
    """A rule that does not hold."""


def need(holds, text):
    if not holds:
        raise Broken(text)


def vbs_stream(raw, container):
    if container == "vbs":
        return raw
    need(raw and len(raw) % 1014 == 0, f"{len(raw)} bytes are not whole blocks of 1014")
    out = io.BytesIO()
    try:
        unblock_1014(io.BytesIO(raw), out)
    except Exception as problem:
        raise Broken(f"unblock_1014: {problem}") from problem
    return out.getvalue()


def count_records(stream, container):
    place, records = 0, 0
    while True:
        need(place + 4 <= len(stream), f"offset {place}: no end marker")
        (length,) = struct.unpack_from(">I", stream, place)
        place += 4
        if length == 0:
            break
        records += 1
        need(length <= LONGEST, f"record {records}: length {length}")
        need(place + length <= len(stream), f"record {records}: cut short")
        place += length
    rest = stream[place:]
    padding = b"\x40" * len(rest) if container == "blocked" else b""
    need(rest == padding, f"offset {place}: data after the end marker")
    return records


def parse(stream, encoding):
    reader, records = IpmReader(io.BytesIO(stream), encoding=encoding), []
    while True:
        try:
            records.append(next(reader))
        except StopIteration:
            return records
        except Exception as problem:
            raise Broken(f"record {len(records) + 1}: cardutil: {type(problem).__name__}: {problem}") from problem


def luhn(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value // 10 + value % 10
    return total % 10 == 0


def check_frame(records):
    def kind(record):
        return record.get("MTI"), record.get("DE24")

    need(len(records) >= 2, f"{len(records)} records")
    need(kind(records[0]) == ("1644", "697"), f"record 1 is {kind(records[0])}")
    need(kind(records[-1]) == ("1644", "695"), f"record {len(records)} is {kind(records[-1])}")
    for number, record in enumerate(records, 1):
        need(record.get("DE71") == number, f"record {number}: DE71 is {record.get('DE71')}")
    for number, record in enumerate(records[1:-1], 2):
        need(kind(record) == ("1240", "200"), f"record {number} is {kind(record)}")
    head, tail = records[0].get("PDS0105"), records[-1].get("PDS0105")
    need(head and len(head) == 25 and head == tail, f"PDS0105 is {head!r} in the header, {tail!r} in the trailer")
    need(records[0].get("PDS0122") in ("T", "P"), f"PDS0122 is {records[0].get('PDS0122')!r}")


def check_presentments(records):
    for number, record in enumerate(records[1:-1], 2):
        reference = record.get("DE31", "")
        need(len(reference) == 23 and luhn(reference), f"record {number}: DE31 is no reference")
        need(record.get("DE43_NAME") and record.get("DE43_COUNTRY"), f"record {number}: DE43 has no parts")
        need(record.get("DE49"), f"record {number}: no DE49")


def check_totals(records):
    total = sum(record.get("DE4", 0) for record in records)
    tail = records[-1]
    need(tail.get("PDS0301") == f"{total:016d}", f"PDS0301 is {tail.get('PDS0301')}, the sum of DE4 is {total}")
    need(tail.get("PDS0306") == f"{len(records):08d}", f"PDS0306 is {tail.get('PDS0306')}, not {len(records)}")
    return total


def main():
    arguments = argparse.ArgumentParser(description="Outside judge of a clearing file.")
    arguments.add_argument("file")
    arguments.add_argument("--encoding", required=True, choices=["cp500", "latin_1"])
    arguments.add_argument("--container", required=True, choices=["blocked", "vbs"])
    arguments.add_argument("--amounts", action="store_true")
    asked = arguments.parse_args()
    logging.disable(logging.CRITICAL)  # cardutil logs what records hold
    with open(asked.file, "rb") as handle:
        raw = handle.read()
    try:
        stream = vbs_stream(raw, asked.container)
        counted = count_records(stream, asked.container)
        records = parse(stream, asked.encoding)
        need(len(records) == counted, f"cardutil reads {len(records)} of {counted} records")
        check_frame(records)
        check_presentments(records)
        total = check_totals(records)
    except Broken as broken:
        print(f"FAIL {broken}")
        return 1
    print(f"OK messages={len(records)} sum={total}")
    if asked.amounts:
        for record in records[1:-1]:
            print(record["DE4"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
