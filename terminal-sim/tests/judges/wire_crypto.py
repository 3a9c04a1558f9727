"""MACs, PIN blocks, tracks and working keys, recomputed with psec. Knows octets and keys, not messages."""

import warnings

with warnings.catch_warnings():
    # Later releases of cryptography warn at every use of triple DES.
    warnings.simplefilter("ignore")
    from psec import des, mac, pinblock

warnings.filterwarnings("ignore", module="psec")


class BadKeys(Exception):
    """DE 62 of a sign-on answer is not what its form says."""


def wide(key):
    """A single-length key three times over is the same cipher, and no library objects to it."""
    return key * 3 if len(key) == 8 else key


def check_value(key):
    """The first four octets of zeros under the key."""
    return des.generate_kcv(wide(key), 4)


def unionpay_mac(key, data):
    """UnionPay "ECB": XOR the blocks, write 16 hexadecimal digits L R, E(E(L) xor R), its first eight digits."""
    data += bytes(-len(data) % 8)
    folded = 0
    for at in range(0, len(data), 8):
        folded ^= int.from_bytes(data[at : at + 8], "big")
    written = b"%016X" % folded
    first = des.encrypt_tdes_ecb(wide(key), written[:8])
    second = bytes(a ^ b for a, b in zip(first, written[8:]))
    return des.encrypt_tdes_ecb(wide(key), second).hex().upper()[:8].encode()


def retail_mac(key, data):
    """ANSI X9.19 = ISO 9797-1 algorithm 3, padding method 1, eight octets."""
    return mac.generate_retail_mac(wide(key[:8]), wide(key[8:16]), data, 1)


def clear_pin(key, block, pan):
    """The PIN of an ISO 9564 format 0 block; `None` when the block does not open under key and PAN."""
    try:
        return pinblock.decode_pinblock_iso_0(des.decrypt_tdes_ecb(wide(key), block), pan.zfill(13))
    except ValueError:
        return None


def pin_block(key, pin, pan):
    """The other way, for the self-test."""
    return des.encrypt_tdes_ecb(wide(key), pinblock.encode_pinblock_iso_0(pin, pan.zfill(13)))


def turned_track(track, cipher):
    """UnionPay: of the packed track, the eight octets that end one octet before the last go through the cipher."""
    packed = bytes.fromhex(track + "0" * (len(track) % 2))
    end = len(packed) - 1
    if end < 8:
        return None
    turned = packed[: end - 8] + cipher(packed[end - 8 : end]) + packed[end:]
    return turned.hex().upper()[: len(track)]


def clear_track(key, track):
    """The track before the terminal's TDK."""
    return turned_track(track, lambda block: des.decrypt_tdes_ecb(wide(key), block))


def hidden_track(key, track):
    """The other way, for the self-test."""
    return turned_track(track, lambda block: des.encrypt_tdes_ecb(wide(key), block))


# Form: length of a slot, then (name, octets of it that are a key under the TMK).
FORMS = {
    "001": (8, (("tpk", 8), ("tak", 8))),
    "003": (16, (("tpk", 16), ("tak", 8))),
    "004": (16, (("tpk", 16), ("tak", 8), ("tdk", 16))),
}


def working_keys(form, de62, tmk):
    """The keys of DE 62 of a sign-on answer, each checked against its check value."""
    if form not in FORMS:
        raise BadKeys(f"no layout for form {form}")
    slot, names = FORMS[form]
    if len(de62) != (slot + 4) * len(names):
        raise BadKeys(f"{len(de62)} octets where form {form} has {(slot + 4) * len(names)}")
    keys = {}
    for place, (name, octets) in enumerate(names):
        part = de62[place * (slot + 4) : (place + 1) * (slot + 4)]
        keys[name] = des.decrypt_tdes_ecb(tmk, part[:octets])
        if check_value(keys[name]) != part[slot:]:
            raise BadKeys(f"check value of the {name.upper()}")
        if any(part[octets:slot]):
            raise BadKeys(f"the {name.upper()}'s slot is not filled with zeros in clear")
    return keys
