"""A small story, made up frame by frame: what the judge's self-test accepts, and then spoils.

The UnionPay sign-on and sale are published golden frames; everything else is written here with pyiso8583 and psec. All
keys, cards and names are test values.
"""

import io
import json
from pathlib import Path

import iso8583

from wire_codec import ASCII, EDC, SPECS, UNIONPAY
from wire_crypto import (
    check_value,
    clear_pin,
    clear_track,
    des,
    hidden_track,
    pin_block,
    retail_mac,
    unionpay_mac,
    working_keys,
)
from wire_issuer import WORDS

TMK = "0123456789ABCDEFFEDCBA9876543210"
PIK = "2A1F4C7691B3D5E084628CA1C2E5F708"
MAK = "13579BDF02468ACE"
TDK = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2"
DE62 = "521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA"
DE62_TDK = "7646340617CE6363F940A00AEF3A405163435184"
TRACK, HIDDEN = "6225880012345675D30122010000012300", "6225880012345675AA5A7881CAF9ED9A00"
SALE = (
    "60000300006031003110000200302004C020C0981100000000000001000000000702100012346225880012345675AA5A7881"
    "CAF9ED9A003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000001422"
    "0000010005004441443644393837"
)
ZPK = "89ABCDEF012345677654321076543210"
STATIC = {"tpk": "1C2B3A495867768594A3B2C1D0E0F101", "tak": "A1B2C3D4E5F60718293A4B5C6D7E8F90"}
PAN, PAN2 = "6225880012345675", "4000000000000002"
MID = "898310058120001"
CARDS = {PAN: "123456", PAN2: "2580"}


def packed(dialect, fields, tpdu=b"", header=b"", tak=None):
    """A frame's body; with a key, its MAC as the last field."""
    document = {("t" if de == "t" else str(de)): value for de, value in fields.items()}
    if tak is None:
        return tpdu + header + bytes(iso8583.encode(document, SPECS[dialect])[0])
    name = "128" if dialect == ASCII and any(de != "t" and de > 64 for de in fields) else "64"
    document[name] = "0" * 16
    whole = bytes(iso8583.encode(document, SPECS[dialect])[0])
    data = whole[: -16 if dialect == ASCII else -8]
    mac = unionpay_mac(tak, data) if dialect == UNIONPAY else retail_mac(tak, data)
    return tpdu + header + data + (mac.hex().upper().encode() if dialect == ASCII else mac)


class Terminal:
    """One terminal: how it writes its frames."""

    def __init__(self, sample, dialect, tid, tak):
        self.sample, self.dialect, self.tid, self.tak = sample, dialect, tid, tak
        self.link = f"terminal:{tid}"
        self.items = []

    def send(self, fields, mac=True, sender="terminal"):
        """Writes a frame; TPDU and header as the dialect has them, swapped in answers."""
        tpdu = {ASCII: b""}.get(self.dialect, bytes.fromhex("6000030000" if sender == "terminal" else "6000000003"))
        header = bytes.fromhex("603100311000") if self.dialect == UNIONPAY else b""
        body = packed(self.dialect, fields, tpdu, header, self.tak if mac else None)
        self.sample.frame(self.link, sender, self.dialect, body)

    def base(self, mti, stan, code, **more):
        """What every payment message has."""
        fields = {"t": mti, 3: code, 11: f"{stan:06}", 22: "012", 25: "00", 41: self.tid, 42: MID}
        if self.dialect == UNIONPAY or self.dialect == ASCII:
            fields[49] = "156"
        if self.dialect == EDC:
            fields[24] = "003"
        fields.update({int(de[2:]): value for de, value in more.items()})
        return dict(sorted(fields.items(), key=lambda item: (item[0] != "t", item[0] if item[0] != "t" else 0)))

    def answer(self, fields, code, mac=True, **more):
        """The switch's answer to a message."""
        mti = fields["t"][:2] + str(int(fields["t"][2]) + 1) + "0"
        kept = {de: fields[de] for de in (3, 4, 11, 24, 41, 42, 49, 60) if de in fields}
        kept.update({39: code} | {int(de[2:]): value for de, value in more.items()})
        self.send({"t": mti} | dict(sorted(kept.items())), mac, "switch")


class Sample:
    """The story's lines and books."""

    def __init__(self):
        self.lines, self.rows, self.journal, self.us = [], [], [], 0
        self.stan, self.balance, self.held = 0, {PAN: 1_000_000, PAN2: 500_000}, {PAN: 0, PAN2: 0}
        self.cleared = []

    def line(self, **content):
        """Adds a line of the record."""
        self.us += 100
        self.lines.append({"us": self.us} | content)

    def frame(self, link, sender, dialect, body):
        """Adds a frame."""
        self.line(link=link, **{"from": sender}, dialect=dialect, hex=body.hex().upper())

    def issuer(self, sender, fields):
        """Adds a frame of the issuer link."""
        self.frame("issuer:BANKA", sender, ASCII, packed(ASCII, fields))

    def ask(self, terminal, mti, code, minor, pan, answer="00", original=None, condition="00", **more):
        """A message to the issuer and its answer (`None`: silence), with its entry in the journal."""
        self.stan += 1
        stan, de7, rrn = f"{self.stan:06}", f"1123{self.stan:06}", f"0700{self.stan:08}"
        fields = {"t": mti, 2: pan, 3: code, 4: f"{minor:012}", 7: de7, 11: stan, 22: "012", 25: condition}
        fields |= {32: "48020000", 37: rrn, 41: terminal.tid, 42: MID, 49: "156"}
        fields |= {int(de[2:]): value for de, value in more.items()}
        if original:
            fields[90] = original["key"] + "0" * 11
        self.issuer("switch", {"t": mti} | dict(sorted((i for i in fields.items() if i[0] != "t"))))
        auth = f"{100000 + self.stan}" if answer == "00" and mti[1] != "4" else None
        entry = {"key": f"{mti[:3]}0{stan}{de7}{'48020000':0>11}", "rrn": rrn, "auth": auth, "minor": minor, "pan": pan}
        if answer:
            said = {de: fields[de] for de in (3, 4, 7, 11, 32, 37, 41) if de in fields} | {39: answer}
            said |= {38: auth} if auth else {}
            self.issuer("issuer", {"t": mti[:2] + str(int(mti[2]) + 1) + "0"} | dict(sorted(said.items())))
        return entry

    def book(self, entry, mti, kind, effect, original=None, held=0):
        """The issuer's entry for a message: what it changed in balance and in what is held."""
        key = entry["key"]
        if kind == "reversal":
            self.journal[original]["reversed"] = True
        self.balance[entry["pan"]] += effect
        self.held[entry["pan"]] += held
        self.journal.append(
            {"order": len(self.journal), "mti": mti, "stan": key[4:10], "de7": key[10:20], "acquirer": "48020000"}
            | {
                "rrn": entry["rrn"],
                "kind": WORDS.get(kind, kind.replace("-", "_")),
                "account": entry["pan"][-4:],
                "amount_minor": entry["minor"],
            }
            | {"posted_minor": entry["minor"], "balance_minor": effect, "held_minor": held, "code": "00"}
            | {"auth_code": entry["auth"], "original": original, "reversed": False}
        )
        return len(self.journal) - 1

    def row(self, terminal, kind, stan, minor, entry, state="approved", code="00", original=None):
        """The switch's row of a payment."""
        batch = 1
        self.rows.append(
            {"id": len(self.rows) + 1, "day": "2026-11-23", "state": state, "kind": kind, "tid": terminal.tid}
            | {"mid": MID, "batch": batch, "stan": f"{stan:06}", "amount_minor": minor, "currency": "156"}
            | {"rrn": entry["rrn"], "auth_code": entry["auth"], "code": code, "issuer": "BANKA", "original": original}
        )
        return len(self.rows)


def opening(sample):
    """Notes, and the golden sign-on with the TDK added."""
    for pan, pin in CARDS.items():
        sample.line(note="card", pan=pan, pin=pin, expiry="3012")
    sample.line(note="keys", link="issuer:BANKA", zpk=ZPK)
    terminal = Terminal(sample, UNIONPAY, "00000101", bytes.fromhex(MAK))
    ask = {"t": "0800", 11: "000001", 41: terminal.tid, 42: MID, 60: "00000001004", 63: "01 "}
    terminal.send(ask, mac=False)
    said = {"t": "0810", 11: "000001", 12: "093015", 13: "1121", 32: "48020000", 37: "093015000095", 39: "00"}
    said |= {41: terminal.tid, 42: MID, 60: "00000001004", 62: DE62 + DE62_TDK}
    terminal.send(said, mac=False, sender="switch")
    sample.line(note="keys", link=terminal.link, tmk=TMK, tpk=PIK, tak=MAK, tdk=TDK)
    return terminal


def unionpay_day(sample):
    """The golden sale; a tampered one; a sale and its void; settlement, gross."""
    terminal = opening(sample)
    sample.frame(terminal.link, "terminal", UNIONPAY, bytes.fromhex(SALE))
    zone_block = pin_block(bytes.fromhex(ZPK), "123456", PAN).hex().upper()
    extra = {"de22": "021", "de35": TRACK.replace("D", "="), "de52": zone_block}
    entry = sample.ask(terminal, "0200", "000000", 10000, PAN, **extra)
    sample.book(entry, "0200", "sale", -10000)
    golden = terminal.base("0200", 7, "000000", de4="000000010000", de60="22000001000500")
    terminal.answer(golden, "00", de2=PAN, de37=entry["rrn"], de38=entry["auth"])
    sample.row(terminal, "sale", 7, 10000, entry)
    note(sample, terminal, "sale", 7, 10000, entry)
    bad = terminal.base("0200", 8, "000000", de2=PAN, de4="000000000500", de14="3012", de60="22000001000500")
    terminal.send(bad)
    spoil_mac(sample.lines[-1])
    terminal.answer(bad, "A0", mac=False)
    sold = unionpay_sale(sample, terminal, 9, 3000)
    unionpay_void(sample, terminal, 10, sold)
    holds(sample, terminal)
    figures = "000000018000003000000008000002"
    settle = {"t": "0500", 11: "000011", 41: terminal.tid, 42: MID, 48: figures + "0" * 32}
    settle |= {49: "156", 60: "00000001201", 63: "01 "}
    terminal.send(settle, mac=False)
    said = {"t": "0510", 11: "000011", 41: terminal.tid, 42: MID, 48: figures + "1" + "0" * 30 + "1"}
    terminal.send(said | {49: "156", 60: "00000001201"}, mac=False, sender="switch")
    return terminal


def spoil_mac(line):
    """Turns one bit of the last octet."""
    line["hex"] = line["hex"][:-2] + f"{int(line['hex'][-2:], 16) ^ 1:02X}"


def note(sample, terminal, kind, stan, minor, entry):
    """The terminal's own book; what moves money and stands will clear."""
    terminal.items.append({"stan": stan, "kind": kind, "minor": minor, "rrn": entry["rrn"], "approved": True})
    if "void" not in kind:
        sample.cleared.append((terminal.tid, kind, minor, entry))


def unionpay_sale(sample, terminal, stan, minor):
    """A keyed sale."""
    asked = terminal.base("0200", stan, "000000", de2=PAN, de4=f"{minor:012}", de14="3012", de60="22000001000500")
    terminal.send(asked)
    entry = sample.ask(terminal, "0200", "000000", minor, PAN)
    entry["place"] = sample.book(entry, "0200", "sale", -minor)
    terminal.answer(asked, "00", de2=PAN, de37=entry["rrn"], de38=entry["auth"])
    entry["row"] = sample.row(terminal, "sale", stan, minor, entry, "voided")
    note(sample, terminal, "sale", stan, minor, entry)
    return entry | {"stan": stan}


def unionpay_void(sample, terminal, stan, sold):
    """The void of a sale: both stay in the terminal's totals, neither clears."""
    minor = sold["minor"]
    more = {"de2": PAN, "de4": f"{minor:012}", "de14": "3012", "de37": sold["rrn"], "de38": sold["auth"]}
    asked = terminal.base("0200", stan, "200000", **more, de60="23000001000500", de61=f"000001{sold['stan']:06}")
    terminal.send(asked)
    entry = sample.ask(terminal, "0200", "020000", minor, PAN, original=sold, de38=sold["auth"])
    sample.book(entry, "0200", "void", minor, original=sold["place"])
    terminal.answer(asked, "00", de2=PAN, de37=entry["rrn"], de38=entry["auth"])
    sample.row(terminal, "void", stan, minor, entry, original=sold["row"])
    note(sample, terminal, "void", stan, minor, entry)
    uncleared(sample, sold)


def uncleared(sample, voided):
    """What is voided on its own day is in no file."""
    sample.cleared = [item for item in sample.cleared if item[3]["rrn"] != voided["rrn"]]


# STAN, MTI, DE 3 and DE 60.1 at the terminal; MTI and DE 3 at the issuer; kind, amount, STAN of what it names, state,
# and what it changes at the issuer: balance, held.
HOLDS = [
    (21, "0100", "030000", "10", "0100", "000000", "pre-auth", 6000, None, "completed", (0, 6000)),
    (22, "0200", "000000", "20", "0200", "000000", "completion", 5000, 21, "voided", (-5000, -6000)),
    (23, "0200", "200000", "21", "0200", "020000", "completion-void", 5000, 22, "approved", (5000, 6000)),
    (24, "0100", "030000", "10", "0100", "000000", "pre-auth", 800, None, "cancelled", (0, 800)),
    (25, "0100", "200000", "11", "0100", "020000", "pre-auth-cancel", 800, 24, "approved", (0, -800)),
]


def holds(sample, terminal):
    """Pre-authorizations: one completed and its completion voided, one cancelled."""
    done = {}
    for stan, mti, code, kind60, asked_mti, asked_code, kind, minor, named, state, (effect, held) in HOLDS:
        first = done.get(named)
        more = {"de2": PAN, "de4": f"{minor:012}", "de14": "3012", "de25": "06", "de60": f"{kind60}000001000500"}
        more |= {"de38": first["auth"], "de61": f"000001{named:06}1123"} if first else {}
        asked = terminal.base(mti, stan, code, **more)
        terminal.send(asked)
        auth = {"de38": first["auth"]} if first else {}
        entry = sample.ask(terminal, asked_mti, asked_code, minor, PAN, original=first, condition="06", **auth)
        entry["place"] = sample.book(entry, asked_mti, kind, effect, first and first["place"], held)
        terminal.answer(asked, "00", de2=PAN, de37=entry["rrn"], de38=entry["auth"])
        entry["row"] = sample.row(terminal, kind, stan, minor, entry, state, original=first and first["row"])
        if kind.startswith("completion"):
            note(sample, terminal, kind, stan, minor, entry)
        if kind == "completion-void":
            uncleared(sample, first)
        done[stan] = entry


def edc_day(sample):
    """A sale with PIN, an offline sale as an advice, a refund; settlement, net."""
    terminal = Terminal(sample, EDC, "00000201", bytes.fromhex(STATIC["tak"]))
    sample.line(note="keys", link=terminal.link, **STATIC)
    block = pin_block(bytes.fromhex(STATIC["tpk"]), CARDS[PAN2], PAN2).hex().upper()
    rows = [("0200", "000000", "sale", 2000, -2000, block), ("0220", "000000", "offline-sale", 700, -700, None)]
    rows.append(("0200", "200000", "refund", 500, 500, None))
    for stan, (mti, code, kind, minor, effect, pin) in enumerate(rows, 1):
        more = {"de2": PAN2, "de4": f"{minor:012}", "de14": "3012", "de62": f"{stan:06}"}
        more |= {"de52": pin} if pin else {}
        more |= {"de12": "101500", "de13": "1123", "de38": "VOICE1"} if mti == "0220" else {}
        asked = terminal.base(mti, stan, code, **more)
        terminal.send(asked)
        zone = {"de52": pin_block(bytes.fromhex(ZPK), CARDS[PAN2], PAN2).hex().upper()} if pin else {}
        entry = sample.ask(terminal, mti, code, minor, PAN2, **zone)
        sample.book(entry, mti, kind, effect)
        terminal.answer(asked, "00", de37=entry["rrn"], de38=entry["auth"])
        sample.row(terminal, kind, stan, minor, entry)
        note(sample, terminal, kind, stan, minor, entry)
    figures = "002000000002700" + "001000000000500" + "0" * 60
    settle = {"t": "0500", 3: "920000", 11: "000004", 24: "003", 41: terminal.tid, 42: MID, 60: "000001", 63: figures}
    terminal.send(settle, mac=False)
    terminal.answer(settle, "00", mac=False)
    return terminal


def ascii_day(sample):
    """A sale that the issuer is silent to, reversed; and a sale whose answer the terminal never used."""
    terminal = Terminal(sample, ASCII, "00000301", bytes.fromhex(STATIC["tak"]))
    sample.line(note="keys", link=terminal.link, **STATIC)
    asked = terminal.base("0200", 1, "000000", de2=PAN2, de4="000000004000", de7="1123110000", de14="3012")
    terminal.send(asked)
    entry = sample.ask(terminal, "0200", "000000", 4000, PAN2, answer=None)
    silent = sample.book(entry, "0200", "sale", -4000)
    terminal.answer(asked, "68", de37=entry["rrn"], de7="1123110000")
    sample.book(undo(sample, terminal, entry), "0420", "reversal", 4000, original=silent)
    sample.row(terminal, "sale", 1, 4000, entry | {"auth": None}, "timed-out", "68")
    asked = terminal.base("0200", 2, "000000", de2=PAN2, de4="000000001500", de7="1123110001", de14="3012")
    terminal.send(asked)
    entry = sample.ask(terminal, "0200", "000000", 1500, PAN2)
    place = sample.book(entry, "0200", "sale", -1500)
    terminal.answer(asked, "00", de37=entry["rrn"], de38=entry["auth"])
    sample.line(note="answer dropped", link=terminal.link)
    back = asked | {"t": "0420", 90: f"0200000002{asked[7]}" + "0" * 22}
    terminal.send(back)
    terminal.answer(back, "00", de37=entry["rrn"])
    undone = undo(sample, terminal, entry)
    sample.book(undone, "0420", "reversal", 1500, original=place)
    row = sample.row(terminal, "sale", 2, 1500, entry, "reversed")
    sample.row(terminal, "reversal", 2, 1500, entry | {"rrn": "070099999999"}, original=row)
    return terminal


def undo(sample, terminal, entry):
    """The reversal at the issuer."""
    undone = sample.ask(terminal, "0420", "000000", entry["minor"], entry["pan"], original=entry)
    return undone | {"auth": None}


def tell_sample():
    """The whole: lines, and books by file name."""
    sample = Sample()
    terminals = [unionpay_day(sample), edc_day(sample), ascii_day(sample)]
    accounts = [
        {"account": pan[-4:], "pan": f"{pan[:6]}{'*' * 6}{pan[-4:]}", "currency": "156", "opening_minor": first}
        | {"balance_minor": sample.balance[pan], "held_minor": sample.held[pan]}
        | {"available_minor": sample.balance[pan] - sample.held[pan]}
        for pan, first in ((PAN, 1_000_000), (PAN2, 500_000))
    ]
    net = {}
    for entry in sample.journal:
        owner = sample.journal[entry["original"]] if entry["kind"] == "reversal" else entry
        net[owner["rrn"]] = net.get(owner["rrn"], 0) - entry["balance_minor"]
    books = {"issuer": "BANKA", "accounts": accounts, "net_by_rrn": net, "journal": sample.journal}
    sides = [((3, 18000), (2, 8000)), ((2, 2700), (1, 500)), ((0, 0), (0, 0))]
    shown = [
        {"tid": t.tid, "dialect": t.dialect, "items": t.items}
        | {"totals": {"debit": {"count": d[0], "minor": d[1]}, "credit": {"count": c[0], "minor": c[1]}}}
        for t, (d, c) in zip(terminals, sides)
    ]
    return {
        "record": sample.lines,
        "switch": sample.rows,
        "issuer": books,
        "terminals": shown,
        "cleared": sample.cleared,
    }


def write_sample(told, folder):
    """The folder as a demonstration leaves it."""
    folder = Path(folder)
    (folder / "books").mkdir(parents=True)
    (folder / "settlement").mkdir(parents=True)
    for path, lines in (("record.jsonl", told["record"]), ("books/switch.jsonl", told["switch"])):
        (folder / path).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "books/issuer-BANKA.json").write_text(json.dumps(told["issuer"]), encoding="utf-8")
    (folder / "books/terminals.json").write_text(json.dumps(told["terminals"]), encoding="utf-8")
    name = folder / "settlement/ipm-BANKA-CNY-20261123.ipm"
    name.write_bytes(clearing_file(told["cleared"]))


def clearing_file(items):
    """An IPM-structured file, by cardutil's own writer."""
    from cardutil.mciipm import IpmWriter

    out = io.BytesIO()
    with IpmWriter(out, encoding="cp500", blocked=True) as writer:
        writer.write({"MTI": "1644", "DE24": "697", "DE71": "00000001"})
        for place, (tid, kind, minor, entry) in enumerate(items, 2):
            record = {"MTI": "1240", "DE2": entry["pan"], "DE3": "200000" if kind == "refund" else "000000"}
            record |= {"DE4": f"{minor:012}", "DE24": "200", "DE37": entry["rrn"], "DE38": entry["auth"], "DE41": tid}
            writer.write(record | {"DE42": MID, "DE49": "156", "DE71": f"{place:08}"})
        writer.write({"MTI": "1644", "DE24": "695", "DE71": f"{len(items) + 2:08}"})
    return out.getvalue()


def golden():
    """The published vectors: (what, expected, found)."""
    mak, pik, tmk, tdk = (bytes.fromhex(key) for key in (MAK, PIK, TMK, TDK))
    single = [des.encrypt_tdes_ecb(tmk, key) + check_value(key) for key in (pik[:8], mak)]
    body = bytes.fromhex(SALE)
    keys = working_keys("004", bytes.fromhex(DE62 + DE62_TDK), tmk)
    return [
        ("length of the sale", 114, len(body)),
        ("MAC", b"DAD6D987", unionpay_mac(mak, body[11:-8])),
        ("MAC in the frame", b"DAD6D987", body[-8:]),
        ("PIN", "123456", clear_pin(pik, bytes.fromhex("605CAB8CE0D1A2B9"), PAN)),
        ("PIN block", "605CAB8CE0D1A2B9", pin_block(pik, "123456", PAN).hex().upper()),
        ("TPK", pik, keys["tpk"]),
        ("TAK", mak, keys["tak"]),
        ("TDK", tdk, keys["tdk"]),
        ("keys of form 003", {"tpk": pik, "tak": mak}, working_keys("003", bytes.fromhex(DE62), tmk)),
        ("keys of form 001", {"tpk": pik[:8], "tak": mak}, working_keys("001", b"".join(single), tmk)),
        ("check value of the TAK", "228977DA", check_value(mak).hex().upper()),
        ("track", TRACK, clear_track(tdk, HIDDEN)),
        ("track under the TDK", HIDDEN, hidden_track(tdk, TRACK)),
        ("X9.19 of ISO 9797-1", "A1C72E74EA3FA9B6", retail_mac(tmk, b"Now is the time for all ").hex().upper()),
    ]
