"""The judge judged: it accepts a sound story, and finds each of many ways to spoil it."""

import copy
import tempfile
from pathlib import Path

import iso8583

from wire_codec import ASCII, HEADS, SPECS, UNIONPAY, Frame, decode
from wire_judge import judge
from wire_sample import MAK, SALE, STATIC, golden, packed, tell_sample, write_sample
from wire_security import Session


def frames(told, link, sender, mti):
    """Places of the lines of frames of a kind."""
    found = []
    for place, line in enumerate(told["record"]):
        if line.get("link") == link and line.get("from") == sender and read(line).mti == mti:
            found.append(place)
    return found


def read(line):
    """A line's frame, decoded."""
    frame = Frame(0, 0, line["link"], line["from"], line["dialect"], bytes.fromhex(line["hex"]))
    decode(frame)
    return frame


def rewrite(told, place, **changes):
    """Changes fields of a frame and gives it a right MAC again: only what the judge recomputes can tell."""
    line = told["record"][place]
    frame = read(line)
    fields = {"t": changes.pop("t", frame.mti)} | frame.fields | {int(de[2:]): v for de, v in changes.items()}
    had_mac = frame.mac_field
    fields = {de: value for de, value in fields.items() if de not in (64, 128) and value is not None}
    tak = bytes.fromhex(MAK if frame.dialect == UNIONPAY else STATIC["tak"]) if had_mac else None
    head = frame.body[: HEADS[frame.dialect]]
    line["hex"] = packed(frame.dialect, fields, head, b"", tak).hex().upper()


def flip(told, place, at):
    """Turns one bit of an octet."""
    octets = bytearray.fromhex(told["record"][place]["hex"])
    octets[at] ^= 1
    told["record"][place]["hex"] = octets.hex().upper()


U, E, A, B = "terminal:00000101", "terminal:00000201", "terminal:00000301", "issuer:BANKA"


def terminal_mac(told):
    flip(told, frames(told, U, "terminal", "0200")[0], -1)


def reply_mac(told):
    flip(told, frames(told, E, "switch", "0210")[0], -1)


def reply_without_mac(told):
    place = frames(told, U, "switch", "0210")[0]
    fields = {"t": "0210"} | {de: v for de, v in read(told["record"][place]).fields.items() if de != 64}
    told["record"][place]["hex"] = packed(UNIONPAY, fields, bytes.fromhex(told["record"][place]["hex"])[:11]).hex()


def forwarded_tampering(told):
    """The tampered request is made right afterwards, so that the refusal is wrong."""
    rewrite(told, frames(told, U, "terminal", "0200")[1])


def refusal_is_approval(told):
    rewrite(told, frames(told, U, "switch", "0210")[1], de39="00")


def check_value(told):
    place = frames(told, U, "switch", "0810")[0]
    flip(told, place, -1)


def reply_amount(told):
    rewrite(told, frames(told, E, "switch", "0210")[0], de4="000000002001")


def request_amount(told):
    rewrite(told, frames(told, E, "terminal", "0200")[0], de4="000000002001")


def issuer_amount(told):
    rewrite(told, frames(told, B, "switch", "0200")[0], de4="000000010001")


def issuer_pan(told):
    rewrite(told, frames(told, B, "switch", "0200")[1], de2="6225880012345683")


def issuer_track(told):
    rewrite(told, frames(told, B, "switch", "0200")[0], de35="6225880012345675=30122010000012301")


def terminal_pin(told):
    rewrite(told, frames(told, E, "terminal", "0200")[0], de52="0011223344556677")


def issuer_pin(told):
    block = read(told["record"][frames(told, B, "switch", "0200")[0]]).get(52)
    rewrite(told, frames(told, B, "switch", "0200")[0], de52=f"{int(block[:2], 16) ^ 1:02X}{block[2:]}")


def no_pin_at_issuer(told):
    rewrite(told, frames(told, B, "switch", "0200")[0], de52=None)


def card_pin(told):
    next(line for line in told["record"] if line.get("note") == "card")["pin"] = "123457"


def dropped_reply(told):
    del told["record"][frames(told, U, "switch", "0210")[0]]


def dropped_issuer_answer(told):
    del told["record"][frames(told, B, "issuer", "0210")[0]]


def dropped_final_answer(told):
    del told["record"][frames(told, B, "issuer", "0430")[0]]


def dropped_advice(told):
    place = frames(told, B, "switch", "0220")[0]
    del told["record"][place : place + 2]


def dropped_reversal(told):
    place = frames(told, B, "switch", "0420")[1]
    del told["record"][place : place + 2]


def doubled_approval(told):
    place = frames(told, B, "switch", "0200")[1]
    pair = copy.deepcopy(told["record"][place : place + 2])
    told["record"] += pair
    for offset in (2, 1):
        rewrite(told, len(told["record"]) - offset, de11="000099", de37="070000000099")


def doubled_rrn(told):
    place = frames(told, B, "switch", "0200")[1]
    told["record"] += copy.deepcopy(told["record"][place : place + 2])
    for offset in (2, 1):
        rewrite(told, len(told["record"]) - offset, de11="000099")


def second_answer(told):
    place = frames(told, U, "switch", "0210")[0]
    told["record"].insert(place + 1, copy.deepcopy(told["record"][place]))


def late_approval(told):
    """The silent issuer's sale is approved at the terminal, after its reversal."""
    rewrite(told, frames(told, A, "switch", "0210")[0], de39="00")


def declined_is_approved(told):
    rewrite(told, frames(told, B, "issuer", "0210")[0], de39="51", de38=None)


def wrong_de90(told):
    place = frames(told, B, "switch", "0420")[0]
    rewrite(told, place, de90=read(told["record"][place]).get(90).replace("02000", "02001", 1))


def reversal_amount(told):
    rewrite(told, frames(told, B, "switch", "0420")[0], de4="000000003999")


def issuer_auth_code(told):
    rewrite(told, frames(told, U, "switch", "0210")[0], de38="999999")


def wrong_terminal_total(told):
    place = frames(told, U, "terminal", "0500")[0]
    rewrite(told, place, de48="000000018001003000000008000002" + "0" * 32)


def wrong_host_total(told):
    place = frames(told, U, "switch", "0510")[0]
    rewrite(told, place, de48="0000000180010030000000080000021" + "0" * 30 + "1")


def wrong_edc_result(told):
    rewrite(told, frames(told, E, "switch", "0510")[0], de39="95")


def wrong_tpdu(told):
    flip(told, frames(told, E, "switch", "0210")[0], 4)


def wrong_echo(told):
    rewrite(told, frames(told, E, "switch", "0210")[0], de3="000010")


def trailing_octet(told):
    told["record"][frames(told, A, "switch", "0210")[0]]["hex"] += "30"


def letter_in_digits(told):
    place = frames(told, U, "switch", "0810")[0]
    rewrite(told, place, de12="0930A5")


def unknown_reply(told):
    rewrite(told, frames(told, U, "switch", "0810")[0], de11="000077")


def issuer_balance(told):
    told["issuer"]["accounts"][0]["balance_minor"] += 1


def held_amount(told):
    told["issuer"]["accounts"][0]["held_minor"] += 1


def completion_amount(told):
    """More completed at the issuer than at the terminal."""
    place = next(p for p in frames(told, B, "switch", "0200") if read(told["record"][p]).get(25) == "06")
    rewrite(told, place, de4="000000005001")


def hold_state(told):
    next(row for row in told["switch"] if row["kind"] == "pre-auth")["state"] = "cancelled"


def issuer_entry(told):
    told["issuer"]["journal"][1]["posted_minor"] += 1


def issuer_entry_amount(told):
    told["issuer"]["journal"][0]["amount_minor"] += 1


def issuer_entry_twice(told):
    told["issuer"]["journal"].append(copy.deepcopy(told["issuer"]["journal"][0]))


def issuer_entry_missing(told):
    del told["issuer"]["journal"][4]


def issuer_net(told):
    rrn = next(iter(told["issuer"]["net_by_rrn"]))
    told["issuer"]["net_by_rrn"][rrn] += 1


def switch_amount(told):
    told["switch"][0]["amount_minor"] += 1


def switch_state(told):
    told["switch"][1]["state"] = "approved"


def switch_row_missing(told):
    del told["switch"][0]


def switch_row_invented(told):
    told["switch"].append(told["switch"][0] | {"id": 99, "rrn": "070012345678"})


def switch_row_twice(told):
    told["switch"].append(told["switch"][0] | {"id": 99})


def switch_reversal_amount(told):
    told["switch"][-1]["amount_minor"] += 1


def terminal_item(told):
    told["terminals"][0]["items"][0]["minor"] += 1


def terminal_item_missing(told):
    del told["terminals"][1]["items"][0]


def terminal_total(told):
    told["terminals"][1]["totals"]["credit"]["minor"] += 1


def cleared_amount(told):
    tid, kind, minor, entry = told["cleared"][0]
    told["cleared"][0] = (tid, kind, minor + 1, entry)


def cleared_missing(told):
    del told["cleared"][0]


def cleared_twice(told):
    told["cleared"].append(told["cleared"][0])


def cleared_side(told):
    tid, _, minor, entry = told["cleared"][-1]
    told["cleared"][-1] = (tid, "sale", minor, entry)


MUTATIONS = [
    terminal_mac, reply_mac, reply_without_mac, forwarded_tampering, refusal_is_approval, check_value, reply_amount,
    request_amount, issuer_amount, issuer_pan, issuer_track, terminal_pin, issuer_pin, no_pin_at_issuer, card_pin,
    dropped_reply, dropped_issuer_answer, dropped_final_answer, dropped_advice, dropped_reversal, doubled_approval,
    doubled_rrn, second_answer, late_approval, declined_is_approved, wrong_de90, reversal_amount, issuer_auth_code,
    wrong_terminal_total, wrong_host_total, wrong_edc_result, wrong_tpdu, wrong_echo, trailing_octet,
    letter_in_digits, unknown_reply, held_amount, completion_amount, hold_state, issuer_balance, issuer_entry,
    issuer_entry_amount, issuer_entry_twice, issuer_entry_missing, issuer_net, switch_amount, switch_state,
    switch_row_missing, switch_row_invented, switch_row_twice, switch_reversal_amount, terminal_item,
    terminal_item_missing, terminal_total, cleared_amount, cleared_missing, cleared_twice, cleared_side,
]  # fmt: skip


def judged(told):
    """The findings of a story."""
    with tempfile.TemporaryDirectory() as folder:
        write_sample(told, Path(folder) / "demo")
        return judge(Path(folder) / "demo")[0].lines


def pardoned(told, code):
    """A truncated frame after its note, and its answer."""
    place = frames(told, A, "terminal", "0200")[0]
    asked, said = (copy.deepcopy(told["record"][p]) for p in (place, frames(told, A, "switch", "0210")[0]))
    asked["hex"] = asked["hex"][:-8]
    told["record"] += [{"note": "malformed", "us": 1, "link": A}, asked, said]
    rewrite(told, len(told["record"]) - 1, de11="000071", de39=code, de37=None)
    return told


def session_faults():
    """An old generation counts until the new one is proven, and not afterwards."""
    old, new = {"tak": bytes.fromhex(MAK)}, {"tak": bytes.fromhex(STATIC["tak"])[:8]}
    session = Session(None)
    session.add(old)
    session.add(new)
    frame = read({"link": U, "from": "terminal", "dialect": UNIONPAY, "hex": SALE})
    found = [session.matching(frame)]
    session.proven = 1
    found.append(session.matching(frame))
    return [] if found == [0, None] else [f"key generations: {found}"]


def codec_faults():
    """Odd lengths and both fill nibbles read back; a truncated frame never reads."""
    faults = []
    for pad, track in (("0", "6225880012345675D301220100000123"), ("F", "6225880012345675D30122010000012")):
        spec = SPECS[UNIONPAY] | {"35": SPECS[UNIONPAY]["35"] | {"right_pad": pad}}
        document = {"t": "0200", "2": "622588001234567", "22": "021", "23": "001", "35": track, "60": "22000001000"}
        body = bytes(11) + bytes(iso8583.encode(dict(document), spec)[0])
        frame = Frame(0, 0, U, "terminal", UNIONPAY, body)
        decode(frame)
        if {str(de): value for de, value in frame.fields.items()} != {de: v for de, v in document.items() if de != "t"}:
            faults.append(f"a track of {len(track)} digits filled with {pad} does not read back")
        if b"\x02\x10\x00\x01" not in body:
            faults.append("DE 22 stands left, DE 23 right")
    icc = packed(ASCII, {"t": "0200", 11: "000001", 55: "9F2608A1A2A3A4A5A6A7A8", 90: "0" * 42})
    icc = icc.replace(b"0229F26", b"0119F26")
    frame = Frame(0, 0, A, "terminal", ASCII, icc)
    decode(frame)
    if frame.get(55) != "9F2608A1A2A3A4A5A6A7A8" or frame.get(90) != "0" * 42:
        faults.append("DE 55 in characters counts octets")
    return faults + truncations(tell_sample())


def truncations(told):
    """Every frame of the story, cut anywhere behind its head."""
    faults = []
    for line in (line for line in told["record"] if "hex" in line):
        octets = bytes.fromhex(line["hex"])
        for length in range(HEADS[line["dialect"]], len(octets)):
            try:
                decode(Frame(0, 0, line["link"], line["from"], line["dialect"], octets[:length]))
            except ValueError:
                continue
            except Exception as error:
                if type(error).__name__ == "Undecodable":
                    continue
                faults.append(f"a truncated frame raises {error!r}")
                break
            faults.append(f"a frame of {len(octets)} octets reads at {length}")
    return faults


def self_test():
    """Vectors, the sound story, the spoiled ones; the exit code."""
    faults = [f"{what}: expected {want}, found {got}" for what, want, got in golden() if want != got]
    faults += codec_faults() + session_faults()
    told = tell_sample()
    faults += [f"the sound story: {line}" for line in judged(told)]
    faults += [f"a malformed frame, refused: {line}" for line in judged(pardoned(copy.deepcopy(told), "30"))]
    if not judged(pardoned(copy.deepcopy(told), "00")):
        faults.append("a malformed frame, approved, is not found")
    for mutation in MUTATIONS:
        spoiled = copy.deepcopy(told)
        mutation(spoiled)
        lines = judged(spoiled)
        print(f"{mutation.__name__:24} {lines[0] if lines else 'NOT FOUND'}")
        if not lines:
            faults.append(f"{mutation.__name__} is not found")
    for fault in faults:
        print(f"FAIL self-test: {fault}")
    if not faults:
        print(f"OK self-test {len(golden())} vectors, {len(told['record'])} lines, {len(MUTATIONS)} mutations found")
    return 1 if faults else 0
