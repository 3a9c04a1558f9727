"""PIN blocks of ISO 9564-1 by psec: operation, PAN, then the operation's own words."""
import sys
from unittest import mock
from psec import pinblock


def answer(operation, pan, *words):
    if operation == "encode 0":
        return pinblock.encode_pinblock_iso_0(words[0], pan).hex()
    if operation == "encode 2":
        return pinblock.encode_pinblock_iso_2(words[0]).hex()
    if operation == "encode 3":
        letters = iter(words[1])
        with mock.patch.object(pinblock._secrets, "choice", lambda among: next(letters)):
            return pinblock.encode_pinblock_iso_3(words[0], pan).hex()
    if operation == "encipher 4":
        with mock.patch.object(pinblock, "_urandom", lambda count: bytes.fromhex(words[0])):
            return pinblock.encipher_pinblock_iso_4(bytes.fromhex(words[2]), words[1], pan).hex()
    if operation == "pan field":
        return pinblock.encode_pan_field_iso_4(pan).hex()
    if operation == "fields 4":
        with mock.patch.object(pinblock, "_urandom", lambda count: bytes.fromhex(words[0])):
            return (pinblock.encode_pin_field_iso_4(words[1]) + pinblock.encode_pan_field_iso_4(pan)).hex()
    block = bytes.fromhex(words[0])
    try:
        if operation == "decode 0":
            return pinblock.decode_pinblock_iso_0(block, pan)
        if operation == "decode 2":
            return pinblock.decode_pinblock_iso_2(block)
        if operation == "decode 3":
            return pinblock.decode_pinblock_iso_3(block, pan)
        return pinblock.decipher_pinblock_iso_4(bytes.fromhex(words[1]), block, pan)
    except ValueError:
        return "refused"


for line in sys.stdin:
    print(answer(*line.rstrip("\n").split("\t")))
