"""Keys of DUKPT on the ciphers of cryptography: X9.24-1:2009, annex A, and X9.24-3:2017, 6.3.

A line is the generation (tdes, aes), the BDK, the KSN and data of whole blocks. The answer is the initial key,
the transaction key, all working keys, then MACs over the data without its last octet and the data in CBC mode
under an IV of zeros.
"""
import functools, hmac, sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC


def cipher(key, kind):
    if kind == "aes":
        return algorithms.AES(key)
    return algorithms.TripleDES({8: key * 3, 16: key + key[:8], 24: key}[len(key)])


@functools.lru_cache(8)
def encryptor(key, kind):
    return Cipher(cipher(key, kind), modes.ECB()).encryptor()


def ecb(key, data, kind):
    return encryptor(key, kind).update(data)


def cbc(key, data, kind):
    iv = bytes(16 if kind == "aes" else 8)
    return Cipher(cipher(key, kind), modes.CBC(iv)).encryptor().update(data)


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


# X9.24-1, A.2: the non-reversible key generation process, on the halves of a register.
C0 = bytes.fromhex("C0C0C0C000000000")


def one_way(key, register):
    def half(left, right):
        return xor(ecb(left, xor(register, right), "des"), right)

    right = half(key[:8], key[8:])
    return half(xor(key[:8], C0), xor(key[8:], C0)) + right


def tdes(bdk, ksn, data):
    serial = int.from_bytes(ksn, "big")
    start, counter = serial >> 21 << 21, serial % 2**21
    left = start.to_bytes(10, "big")[:8]
    initial = ecb(bdk, left, "des") + ecb(xor(bdk, C0 + C0), left, "des")
    key, reached = initial, start % 2**64
    for bit in reversed(range(21)):
        if counter >> bit & 1:
            reached += 2**bit
            key = one_way(key, reached.to_bytes(8, "big"))

    def variant(mask):
        return xor(key, bytes.fromhex(mask) * 2)

    pin, asked, answered = (variant(f"{mask:016X}") for mask in (0xFF, 0xFF00, 0xFF000000))
    encrypt = [variant("0000000000FF0000"), variant("000000FF00000000")]
    encrypt = [ecb(key, key[:8], "des") + ecb(key, key[8:], "des") for key in encrypt]
    message = data[:-1] + bytes(1)

    def mac(key):
        last = cbc(key[:8], message, "des")[-8:]
        return ecb(key[:8], Cipher(cipher(key[8:], "des"), modes.ECB()).decryptor().update(last), "des")[:4]

    return [initial, key, pin, asked, answered, *encrypt, mac(asked), mac(answered)] + [
        cbc(key, data, "des") for key in encrypt
    ]


# X9.24-3, 6.2.2 and 6.3.2: codes of the derivation data.
USAGES = [0x0002, 0x1000, 0x2000, 0x2001, 0x2002, 0x3000, 0x3001, 0x3002, 0x8000]
TYPES = [(0, 128), (1, 192), (2, 128), (3, 192), (4, 256), (5, 128), (5, 192), (5, 256)]
AES = {16: (2, 128), 24: (3, 192), 32: (4, 256)}


def derive(key, usage, kind, tail):
    algorithm, bits = kind
    made = b""
    for block in range(1, (bits + 127) // 128 + 1):
        numbers = [usage, algorithm, bits]
        data = bytes([1, block]) + b"".join(number.to_bytes(2, "big") for number in numbers) + tail
        made += ecb(key, data, "aes")
    return made[: bits // 8]


def aes(bdk, ksn, data):
    identity, counter = ksn[:8], int.from_bytes(ksn[8:], "big")
    own = AES[len(bdk)]
    initial = key = derive(bdk, 0x8001, own, identity)
    reached = 0
    for bit in reversed(range(32)):
        if counter >> bit & 1:
            reached |= 1 << bit
            key = derive(key, 0x8000, own, identity[4:] + reached.to_bytes(4, "big"))
    answer = [initial, key]
    for kind in TYPES:
        # 2TDEA and 3TDEA are weaker than any AES key.
        if kind[0] > 1 and kind[1] > own[1]:
            continue
        keys = {usage: derive(key, usage, kind, identity[4:] + ksn[8:]) for usage in USAGES}
        answer += keys.values()
        if kind[0] == 5:
            answer.append(hmac.digest(keys[0x2000], data[:-1], "sha256"))
            continue
        cipher_of = "aes" if kind[0] > 1 else "des"
        mac = CMAC(cipher(keys[0x2000], cipher_of))
        mac.update(data[:-1])
        answer += [mac.finalize(), cbc(keys[0x3000], data, cipher_of)]
    return answer


if __name__ == "__main__":
    for line in sys.stdin:
        generation, *values = line.rstrip("\n").split("\t")
        found = {"tdes": tdes, "aes": aes}[generation](*map(bytes.fromhex, values))
        print(" ".join(value.hex().upper() for value in found))
