"""Frames of a wire record, decoded by pyiso8583 under specifications of the judge's own.

Nothing here is taken from the switch or its codec: layouts come from ISO 8583:1987 and the dialects' public facts. A
frame that does not decode to its last octet raises `Undecodable`.
"""

import re
from dataclasses import dataclass, field
from typing import Optional

import iso8583

UNIONPAY, EDC, ASCII = "unionpay-pos", "edc", "iso87-ascii"
# Octets before the MTI: TPDU 5, and in UnionPay a header of 6.
HEADS = {UNIONPAY: 11, EDC: 5, ASCII: 0}


class Undecodable(Exception):
    """The octets are no message of the dialect; the text names field and place, never content."""


def digits(count, pad="left"):
    """Packed digits of a fixed count; an odd one is filled with 0 on the given side."""
    return {
        "data_enc": "b",
        "len_enc": "bcd",
        "len_type": 0,
        "max_len": count,
        "len_count": "nibbles",
        f"{pad}_pad": "0",
    }


def digits_var(most, prefix):
    """Packed digits behind a packed length that counts digits; an odd one is filled on the right."""
    return {
        "data_enc": "b",
        "len_enc": "bcd",
        "len_type": prefix,
        "max_len": most,
        "len_count": "nibbles",
        "right_pad": "0",
    }


def text(count):
    """Characters of a fixed count."""
    return {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": count}


def text_var(most, prefix, enc="bcd"):
    """Characters behind a length."""
    return {"data_enc": "ascii", "len_enc": enc, "len_type": prefix, "max_len": most}


def octets(count):
    """Octets of a fixed count."""
    return {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "max_len": count}


def octets_var(most, prefix):
    """Octets behind a packed length."""
    return {"data_enc": "b", "len_enc": "bcd", "len_type": prefix, "max_len": most}


FIXED_DIGITS = {
    3: 6,
    4: 12,
    5: 12,
    6: 12,
    7: 10,
    9: 8,
    10: 8,
    11: 6,
    12: 6,
    13: 4,
    14: 4,
    15: 4,
    18: 4,
    25: 2,
    26: 2,
    53: 16,
}
FIXED_TEXT = {37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 43: 40}


def packed_spec():
    """What UnionPay and EDC have in common: packed digits, a bitmap of eight octets."""
    spec = {"h": {"max_len": 0}, "t": {"data_enc": "b"}, "p": {"data_enc": "b"}}
    spec.update({str(de): digits(count) for de, count in FIXED_DIGITS.items()})
    spec.update({str(de): text(count) for de, count in FIXED_TEXT.items()})
    spec.update({"2": digits_var(19, 1), "32": digits_var(11, 1), "33": digits_var(11, 1)})
    spec.update({"35": digits_var(37, 1), "36": digits_var(104, 2)})
    spec.update({"23": digits(3), "24": digits(3), "52": octets(8), "64": octets(8)})
    spec.update({"44": text_var(25, 1), "54": text_var(120, 2), "55": octets_var(999, 2)})
    return spec


def unionpay_spec():
    """UnionPay POS: DE 22 stands left in its two octets, DE 48, 60 and 61 are packed digits."""
    spec = packed_spec()
    spec.update({"22": digits(3, "right"), "49": text(3), "51": text(3)})
    spec.update({"48": digits_var(322, 2), "60": digits_var(999, 2), "61": digits_var(29, 2)})
    spec.update({"62": octets_var(999, 2), "63": text_var(999, 2)})
    spec.update({str(de): text_var(999, 2) for de in (56, 57, 58, 59)})
    return spec


def edc_spec():
    """Classic EDC: odd packed digits stand right, private fields are characters."""
    spec = packed_spec()
    spec.update({"22": digits(3), "49": digits(3), "50": digits(3)})
    spec.update({str(de): text_var(999, 2) for de in (48, 56, 58, 59, 60, 61, 62, 63)})
    spec["57"] = octets_var(999, 2)
    spec["45"] = text_var(76, 1)
    return spec


def ascii_spec():
    """ISO 8583:1987 in characters, 128 fields; binary fields are hexadecimal digits."""
    fixed = (
        dict(FIXED_DIGITS) | FIXED_TEXT | {8: 8, 16: 4, 17: 4, 19: 3, 20: 3, 21: 3, 22: 3, 23: 3, 24: 3, 27: 1, 40: 3}
    )
    fixed |= {
        28: 9,
        29: 9,
        30: 9,
        31: 9,
        49: 3,
        50: 3,
        51: 3,
        52: 16,
        64: 16,
        66: 1,
        67: 2,
        68: 3,
        69: 3,
        70: 3,
        71: 4,
        72: 4,
    }
    fixed |= {73: 6, 90: 42, 91: 1, 92: 2, 93: 5, 94: 7, 95: 42, 96: 16, 97: 17, 98: 25, 128: 16}
    fixed |= {de: 10 for de in range(74, 82)} | {de: 12 for de in range(82, 86)} | {de: 16 for de in range(86, 90)}
    short = {2: 19, 32: 11, 33: 11, 34: 28, 35: 37, 44: 25, 45: 76, 99: 11, 100: 11, 101: 17, 102: 28, 103: 28}
    long = {36: 104, 54: 120, 104: 100} | {de: 999 for de in (46, 47, 48, *range(56, 64), *range(105, 128))}
    spec = {"h": {"max_len": 0}, "t": text(4), "p": text(16), "1": text(16)}
    spec.update({str(de): text(count) for de, count in fixed.items()})
    spec.update({str(de): text_var(most, 2, "ascii") for de, most in short.items()})
    spec.update({str(de): text_var(most, 3, "ascii") for de, most in long.items()})
    spec["55"] = text_var(510, 3, "ascii")
    return spec


SPECS = {UNIONPAY: unionpay_spec(), EDC: edc_spec(), ASCII: ascii_spec()}
# Fields whose fill nibble the dialects leave open: 0 or F.
OPEN_PADS = {UNIONPAY: ("35", "36"), EDC: ("2", "35", "36"), ASCII: ()}
NUMERIC = {2, *FIXED_DIGITS, 22, 23, 24, 32, 33, 70, 90}
NUMERIC_OF = {UNIONPAY: NUMERIC | {48, 60, 61}, EDC: NUMERIC | {49}, ASCII: NUMERIC}
TRACK = {UNIONPAY: r"[0-9A-F]+", EDC: r"\d+[D=]\d*", ASCII: r"\d+[D=]\d*"}


@dataclass
class Frame:
    """A line of the record. `pan`, `track`, `pin`, `generation` and `mac` are filled in by the security checks."""

    number: int
    us: int
    link: str
    sender: str
    dialect: str
    body: bytes
    malformed: bool = False
    mti: str = ""
    fields: dict = field(default_factory=dict)
    request: Optional["Frame"] = None
    reply: Optional["Frame"] = None
    mac: str = "absent"
    generation: Optional[int] = None
    pan: Optional[str] = None
    track: Optional[str] = None
    pin: Optional[str] = None

    def get(self, de, default=None):
        """A field's text: digits, characters, or octets as hexadecimal digits."""
        return self.fields.get(de, default)

    @property
    def tpdu(self):
        """The transport header, or nothing."""
        return self.body[:5] if HEADS[self.dialect] else b""

    @property
    def header(self):
        """The UnionPay header, or nothing."""
        return self.body[5:11] if self.dialect == UNIONPAY else b""

    @property
    def minor(self):
        """DE 4 in minor units; 0 when there is none."""
        return int(self.get(4) or 0)

    @property
    def code(self):
        """DE 39."""
        return self.get(39, "")

    @property
    def mac_field(self):
        """The number of the field that holds the MAC, if one does."""
        return next((de for de in (128, 64) if de in self.fields), None)

    @property
    def mac_data(self):
        """What the MAC covers: MTI to the last octet before it. It is always the last field."""
        return self.body[HEADS[self.dialect] : len(self.body) - (16 if self.dialect == ASCII else 8)]

    @property
    def mac_octets(self):
        """The MAC as sent."""
        return bytes.fromhex(self.fields[self.mac_field])


def decode(frame):
    """Fills in MTI and fields, or raises `Undecodable`."""
    body = frame.body[HEADS[frame.dialect] :]
    if frame.dialect == ASCII:
        body = widen_icc(body)
    document = decoded(body, frame.dialect)
    frame.mti = document.pop("t")
    frame.fields = {int(key): value for key, value in document.items() if key.isdigit() and key != "1"}


def decoded(body, dialect):
    """Decodes with either fill nibble where the dialect leaves it open."""
    spec = dict(SPECS[dialect])
    for _ in range(1 + len(OPEN_PADS[dialect])):
        try:
            return iso8583.decode(body, spec)[0]
        except iso8583.DecodeError as error:
            name = error.field
            if name in OPEN_PADS[dialect] and spec[name]["right_pad"] == "0" and "nibbles" in error.msg:
                spec[name] = spec[name] | {"right_pad": "F"}
                continue
            raise Undecodable(f"{error.msg} in field {name} at offset {error.pos}") from None
        except KeyError as error:
            raise Undecodable(f"field {error} has no definition") from None
    raise Undecodable("fill nibbles")


def widen_icc(body):
    """DE 55 counts octets but is written in two digits each, which pyiso8583 cannot say: double the count."""
    probe = SPECS[ASCII] | {"55": text_var(0, 3, "ascii")}
    try:
        iso8583.decode(body, probe)
    except iso8583.DecodeError as error:
        if error.field == "55" and "larger than maximum 0" in error.msg:
            at = error.pos
            return body[:at] + b"%03d" % (2 * int(body[at : at + 3])) + body[at + 3 :]
    except KeyError:
        pass
    return body


def content_faults(frame):
    """Fields whose characters are not of their kind. pyiso8583 takes any nibble for a digit."""
    wrong = [de for de in NUMERIC_OF[frame.dialect] & frame.fields.keys() if not re.fullmatch(r"\d*", frame.fields[de])]
    if 35 in frame.fields and not re.fullmatch(TRACK[frame.dialect], frame.fields[35]):
        wrong.append(35)
    if frame.dialect == ASCII:
        hexes = [de for de in (52, 55, 64, 128) if de in frame.fields]
        wrong += [de for de in hexes if not re.fullmatch(r"([0-9A-Fa-f]{2})*", frame.fields[de])]
    return sorted(wrong)


def response_mti(mti):
    """Function digit + 1, origin of a repeat back to its base (ISO 8583, MTI)."""
    return f"{mti[:2]}{int(mti[2]) + 1}{int(mti[3]) // 2 * 2}"
