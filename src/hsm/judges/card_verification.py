"""CVV by psec, CVC3 and card keys by pyemv: operation, key, PAN, then the operation's own words."""
import sys
from psec import cvv
from pyemv import kd
from pyemv.cvv import generate_cvc3


def answer(operation, key, pan, *words):
    if operation == "cvv":
        return cvv.generate_cvv(key, pan, *words)
    card_key = kd.derive_icc_mk_a(key, pan, "00")
    if operation == "dcvv":
        expiry, service, atc = words
        return cvv.generate_cvv(card_key, atc + pan[4:], expiry, service)
    track, number, atc = map(bytes.fromhex, words)
    return generate_cvc3(card_key, track, atc, number).zfill(5)


for line in sys.stdin:
    operation, key, *words = line.rstrip("\n").split("\t")
    print(answer(operation, bytes.fromhex(key), *words))
