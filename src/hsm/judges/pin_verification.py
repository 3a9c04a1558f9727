"""PVV and IBM 3624 PINs by psec: algorithm, PVK, then the algorithm's own words."""
import sys
from psec import pin


def pvv(pvk, index, digits, pan):
    return pin.generate_visa_pvv(pvk, index, digits[:4], pan)


def ibm_3624(pvk, table, pan, start, length, pad, digits, check):
    data = (pan, int(start), int(length), pad)
    natural = pin.generate_ibm3624_pin(pvk, table, "0" * len(digits), *data)
    derived = pin.generate_ibm3624_pin(pvk, table, digits, *data)
    offset = pin.generate_ibm3624_offset(pvk, table, digits, *data)
    return f"{natural} {derived} {offset[-int(check):]}"


for line in sys.stdin:
    algorithm, pvk, *words = line.rstrip("\n").split("\t")
    print((pvv if algorithm == "pvv" else ibm_3624)(bytes.fromhex(pvk), *words))
