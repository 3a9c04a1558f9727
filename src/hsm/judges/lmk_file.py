# Opens a sealed LMK file. A case: the file's octets, hexadecimal; the passphrase. The answer: check values of the
# LMKs in it and the start of a hash of its data keys, or "refused".
import hashlib
import hmac
import sys
import tomllib

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap


def check_value(key):
    mac = CMAC(AES(key))
    mac.update(bytes(16))
    return mac.finalize()[:3].hex().upper()


def opened(octets, passphrase):
    head, _, last = octets.rpartition(b"\nkeys = ")
    told = tomllib.loads(octets.decode())
    assert told["version"] == 1 and told["protection"] == "passphrase" and last.endswith(b'"\n')
    cost = told["argon2id"]
    key = hash_secret_raw(
        passphrase.encode(), bytes.fromhex(cost["salt"]), cost["passes"], cost["memory_kib"], cost["lanes"], 32, Type.ID
    )
    body = bytes.fromhex(told["keys"])
    clear = AESGCM(key).decrypt(body[:12], body[12:], head)
    lmks = [clear[at : at + 32] for at in range(0, len(clear), 32)]
    found = [check_value(lmk) for lmk in lmks]
    assert found == [told[name] for name in ("current", "former") if name in told]
    wrapping = hmac.new(lmks[0], b"\0\0\0\1data key\0\0\0\1\0", hashlib.sha256).digest()
    data = aes_key_unwrap(wrapping, bytes.fromhex(told["data_key"]))
    return " ".join(found + [hashlib.sha256(data).hexdigest()[:16]])


for line in sys.stdin:
    octets, passphrase = line.rstrip("\n").split("\t")
    try:
        print(opened(bytes.fromhex(octets), passphrase))
    except (AssertionError, InvalidTag, InvalidUnwrap, KeyError, ValueError):
        print("refused")
