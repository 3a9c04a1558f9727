"""The auditor audited: it accepts sound books after a crash, and finds each way in which they may be spoiled."""

import copy
import json
import sqlite3
import tempfile
from pathlib import Path

from crash_auditor import Books, audit, read_database, read_log

# The columns that the auditor reads, as the switch's file names them.
TXN = (
    "id INTEGER PRIMARY KEY, state TEXT, day INTEGER, kind TEXT, tid TEXT, mid TEXT, batch INTEGER, stan INTEGER,"
    " amount INTEGER, card_masked TEXT, card_cipher BLOB, rrn TEXT, auth_code TEXT, issuer TEXT, link_stan INTEGER,"
    " original INTEGER"
)
SAF = "id INTEGER PRIMARY KEY, issuer TEXT, what TEXT, txn INTEGER, state TEXT, stan INTEGER, rrn TEXT"
MASK, MID = "622588******5675", "898310058120001"
# id, state, kind, STAN, amount, authorization id, trace number on the link, original
ROWS = [
    (1, "approved", "sale", 1, 10_000, "100001", 1, None),
    (2, "voided", "sale", 2, 3_000, "100002", 2, None),
    (3, "approved", "void", 3, 3_000, "100003", 3, 2),
    (4, "timed-out", "sale", 4, 500, None, 4, None),
    (5, "reversed", "sale", 5, 700, "100005", 5, None),
    (6, "reversal", "reversal", 5, 700, None, 5, 5),
    (7, "declined", "sale", 7, 900, None, 7, None),
    (8, "approved", "refund", 8, 1_000, "100008", 8, None),
    (9, "approved", "offline-sale", 9, 200, "VOICE1", 103, None),
]
QUEUE = [(1, "reversal", 4, 101), (2, "reversal", 5, 102), (3, "advice", 9, 103)]


def rrn(identity):
    """The RRN of a row."""
    return f"0700{identity:08}"


def entry(order, identity, mti, kind, amount, effect, stan, original=None, is_reversed=False):
    """An issuer's entry."""
    posted = {"amount_minor": amount, "posted_minor": amount, "balance_minor": effect, "held_minor": 0}
    names = {
        "order": order,
        "mti": mti,
        "stan": f"{stan:06}",
        "de7": f"11230700{stan % 100:02}",
        "acquirer": "48020000",
    }
    rest = {"rrn": rrn(identity), "kind": kind, "account": "Li", "pan": MASK, "currency": "156", "code": "00"}
    return names | rest | posted | {"auth_code": None, "original": original, "reversed": is_reversed}


def sound():
    """Books after a crash that lost nothing."""
    journal = [
        entry(0, 1, "0200", "sale", 10_000, -10_000, 1),
        entry(1, 2, "0200", "sale", 3_000, -3_000, 2),
        entry(2, 3, "0200", "void", 3_000, 3_000, 3, 1),
        entry(3, 4, "0200", "sale", 500, -500, 4, None, True),
        entry(4, 4, "0420", "reversal", 500, 500, 101, 3),
        entry(5, 5, "0200", "sale", 700, -700, 5, None, True),
        entry(6, 5, "0420", "reversal", 700, 700, 102, 5),
        entry(7, 8, "0200", "refund", 1_000, 1_000, 8),
        entry(8, 9, "0220", "offline_sale", 200, -200, 103),
    ]
    account = {"account": "Li", "pan": MASK, "currency": "156", "opening_minor": 100_000, "balance_minor": 90_800}
    issuer = {
        "issuer": "BANKA",
        "accounts": [account | {"held_minor": 0, "available_minor": 90_800}],
        "journal": journal,
    }
    outcomes = {4: "reversed", 5: "reversed", 7: "declined"}
    log = [
        {"tid": "00000101", "mid": MID, "batch": 1, "stan": stan, "kind": kind, "amount_minor": amount}
        | {
            "outcome": outcomes.get(identity, "approved"),
            "rrn": None if identity in (4, 5) else rrn(identity),
            "auth_code": auth,
        }
        for identity, _, kind, stan, amount, auth, _, _ in ROWS
        if kind != "reversal"
    ]
    log.append(log[0] | {"stan": 99, "outcome": "none", "rrn": None, "auth_code": None})
    rows = [row if row[1] != "reversal" else (row[0], "approved", *row[2:]) for row in ROWS]
    return {
        "rows": [list(row) for row in rows],
        "saf": [[*entry, "delivered"] for entry in QUEUE],
        "issuer": issuer,
        "log": log,
    }


def audited(told):
    """The findings, by way of a real file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "switch.sqlite"
        link = sqlite3.connect(path)
        link.execute(f"CREATE TABLE txn ({TXN})")
        link.execute(f"CREATE TABLE saf ({SAF})")
        for identity, state, kind, stan, amount, auth, link_stan, original in told["rows"]:
            values = (
                identity,
                state,
                20261123,
                kind,
                "00000101",
                MID,
                1,
                stan,
                amount,
                MASK,
                b"\1",
                told.get("rrns", {}).get(identity, rrn(identity)),
            )
            link.execute(
                f"INSERT INTO txn VALUES ({','.join('?' * 16)})", (*values, auth, "BANKA", link_stan, original)
            )
        for identity, what, txn, stan, state in told["saf"]:
            link.execute(
                "INSERT INTO saf VALUES (?,?,?,?,?,?,?)", (identity, "BANKA", what, txn, state, stan, rrn(txn))
            )
        link.commit()
        link.close()
        log = Path(folder) / "log.jsonl"
        log.write_text("".join(json.dumps(line) + "\n" for line in told["log"]) + '{"cut sh', encoding="utf-8")
        return audit(Books(read_database(path), [told["issuer"]], read_log(log))).lines


def row(told, identity):
    """A row by its id."""
    return next(row for row in told["rows"] if row[0] == identity)


def lost_row(told):
    told["rows"].remove(row(told, 1))


def lost_state(told):
    row(told, 1)[1] = "timed-out"


def lost_posting(told):
    told["issuer"]["journal"][0]["reversed"] = True


def missing_posting(told):
    del told["issuer"]["journal"][0]


def doubled_posting(told):
    told["issuer"]["journal"].append(told["issuer"]["journal"][0] | {"stan": "000055", "de7": "1123070055", "order": 9})


def doubled_message(told):
    told["issuer"]["journal"].append(copy.deepcopy(told["issuer"]["journal"][4]))


def posting_without_row(told):
    told["issuer"]["journal"].append(entry(9, 55, "0200", "sale", 100, -100, 55))
    told["issuer"]["accounts"][0]["balance_minor"] -= 100


def open_outcome(told):
    row(told, 4)[1] = "sent"


def abandoned_outcome(told):
    row(told, 5)[1] = "abandoned"


def unreversed_timeout(told):
    told["issuer"]["journal"][3]["reversed"] = False


def reversed_stands(told):
    row(told, 5)[1] = "approved"


def declined_stands(told):
    row(told, 7)[1] = "approved"


def waiting(told):
    told["saf"][0][4] = "waiting"


def parked(told):
    told["saf"][1][4] = "parked"


def reversal_not_queued(told):
    del told["saf"][0]


def reused_rrn(told):
    told["rrns"] = {6: rrn(1)}


def reused_link_stan(told):
    row(told, 7)[6] = 1


def reused_link_stan_in_queue(told):
    told["saf"][0][3] = 8


def two_rows_of_one_request(told):
    told["rows"].append([10, "declined", "sale", 1, 10_000, None, 10, None])


def row_amount(told):
    row(told, 1)[4] += 1


def auth_code(told):
    row(told, 1)[5] = "999999"


def posted_amount(told):
    told["issuer"]["journal"][0]["posted_minor"] += 1


def seen_amount(told):
    told["log"][0]["amount_minor"] += 1


def balance(told):
    told["issuer"]["accounts"][0]["balance_minor"] += 1


def entry_effect(told):
    told["issuer"]["journal"][0]["balance_minor"] -= 1


def held(told):
    told["issuer"]["accounts"][0]["held_minor"] += 1


def conserved_in_the_issuer_only(told):
    """The issuer's books add up, but not to what the switch says."""
    told["issuer"]["journal"][7] |= {"balance_minor": 1_001}
    told["issuer"]["accounts"][0]["balance_minor"] += 1


def unknown_state(told):
    row(told, 7)[1] = "lost"


MUTATIONS = [
    lost_row, lost_state, lost_posting, missing_posting, doubled_posting, doubled_message, posting_without_row,
    open_outcome, abandoned_outcome, unreversed_timeout, reversed_stands, declined_stands, waiting, parked,
    reversal_not_queued, reused_rrn, reused_link_stan, reused_link_stan_in_queue, two_rows_of_one_request, row_amount,
    auth_code, posted_amount, seen_amount, balance, entry_effect, held, conserved_in_the_issuer_only, unknown_state,
]  # fmt: skip


def self_test():
    """Sound books, then spoiled ones; the exit code."""
    faults = [f"the sound books: {line}" for line in audited(sound())]
    for mutation in MUTATIONS:
        told = copy.deepcopy(sound())
        mutation(told)
        lines = audited(told)
        print(f"{mutation.__name__:30} {lines[0] if lines else 'NOT FOUND'}")
        if not lines:
            faults.append(f"{mutation.__name__} is not found")
    for fault in faults:
        print(f"FAIL self-test: {fault}")
    if not faults:
        print(f"OK self-test {len(ROWS)} rows, {len(MUTATIONS)} mutations found")
    return 1 if faults else 0
