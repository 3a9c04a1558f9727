#!/usr/bin/env python3
"""Outside auditor of a crash: the switch's own file, the issuers' books and what the terminals saw must agree.

Usage: crash_auditor.py --db FILE.sqlite --issuer BOOKS.json [--issuer ...] --terminals LOG.jsonl
       crash_auditor.py --self-test

LOG.jsonl: one object for each request that a terminal has finished with: tid, mid, batch, stan, kind, amount_minor,
outcome, rrn, auth_code. Outcomes: approved and declined as answered; reversed: no answer, and its reversal was
accepted; none: no answer, and the terminal gave up.

To be run when the queue has had time to drain. Reads SQLite read-only and shares no code with the switch. Prints `OK`
with counts and exits 0, or a line `FAIL` for each finding and exits 1; 2 for a wrong call.

What must hold: no approval that a terminal saw is lost, and none is posted twice; nothing stands at an issuer that the
switch takes for undone, nor the reverse; no outcome is open and nothing waits for an issuer; no number was used twice;
every account has moved by what stands, to the minor unit.
"""

import argparse
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path

STANDING = {"approved", "voided", "cancelled", "completed"}
UNDONE = {"timed-out", "reversed", "declined"}
OPEN = {"sent", "abandoned"}
APPROVED = {"00", "08", "10", "11", "16"}
# What an issuer posts: anything but inquiries and reversals.
SILENT_KINDS = {"balance", "reversal"}
# What a standing payment takes from its cardholder: state approved only, a voided one was given back.
SIGN = {"sale": 1, "completion": 1, "completion-advice": 1, "offline-sale": 1, "refund": -1}
# A trace number has six digits: beyond so many it comes round again.
WRAP = 999_000


class Findings:
    """What is wrong, one line each."""

    def __init__(self):
        self.lines = []

    def add(self, what, place="", expected=None, found=None):
        """A finding; expected and found where there is something to compare."""
        line = f"FAIL {what}" + (f" · {place}" if place else "")
        if expected is not None or found is not None:
            line += f" · expected {expected}, found {found}"
        self.lines.append(line)


class Books:
    """The three sides, read."""

    def __init__(self, database, issuers, log):
        self.rows, self.saf = database
        self.issuers = {books["issuer"]: books for books in issuers}
        self.log = log
        self.payments = [row for row in self.rows if row["kind"] != "reversal"]
        self.by_rrn = defaultdict(list)
        self.by_key = defaultdict(list)
        for row in self.payments:
            self.by_rrn[row["rrn"]].append(row)
            self.by_key[(row["tid"], row["mid"], row["stan"])].append(row)
        self.live = defaultdict(list)
        for name, books in self.issuers.items():
            for entry in books["journal"]:
                if is_live(entry):
                    self.live[(name, entry["rrn"].strip())].append(entry)

    def postings(self, row):
        """What stands at the row's issuer under its RRN."""
        return self.live[(row["issuer"], row["rrn"])]


def is_live(entry):
    """An approved entry that posted something, not reversed since."""
    posts = entry["kind"] not in SILENT_KINDS and entry["code"] in APPROVED
    return posts and entry["posted_minor"] != 0 and not entry["reversed"]


def read_database(path):
    """Transactions and what waits for issuers. The file is opened read-only, its log file included."""
    link = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    link.row_factory = sqlite3.Row
    try:
        sound = link.execute("PRAGMA quick_check").fetchone()[0]
        if sound != "ok":
            raise SystemExit(f"FAIL the database is damaged: {sound}")
        rows = [trimmed(row) for row in link.execute("SELECT * FROM txn ORDER BY id")]
        saf = [trimmed(row) for row in link.execute("SELECT * FROM saf ORDER BY id")]
    finally:
        link.close()
    return rows, saf


def trimmed(row):
    """A row as a dictionary, texts without padding, ciphertexts left out."""
    return {
        name: value.strip() if isinstance(value, str) else value
        for name, value in dict(row).items()
        if not isinstance(value, bytes)
    }


def audit(books):
    """Every check; the findings."""
    findings = Findings()
    for line in books.log:
        check_seen(line, books, findings)
    for row in books.payments:
        check_row(row, books, findings)
    check_live(books, findings)
    check_queue(books, findings)
    check_numbers(books, findings)
    for name, issuer in books.issuers.items():
        check_accounts(name, issuer, books, findings)
    return findings


def place_of(line):
    """Which request a finding is about."""
    return f"terminal {line['tid']} STAN {int(line['stan']):06} {line['kind']} RRN {line.get('rrn') or '-'}"


def row_of(line, books):
    """The switch's row of what a terminal saw: by RRN where it was told one, else by trace number, kind and batch."""
    rrn = (line.get("rrn") or "").strip()
    same = [
        row
        for row in books.by_key[(line["tid"].strip(), line["mid"].strip(), int(line["stan"]))]
        if row["kind"] == line["kind"]
    ]
    if rrn:
        return next((row for row in books.by_rrn[rrn] if row["tid"] == line["tid"].strip()), None)
    in_batch = [row for row in same if line.get("batch") is not None and row["batch"] == int(line["batch"])]
    return (in_batch or same or [None])[-1]


def check_seen(line, books, findings):
    """What a terminal saw, against the switch. What the switch holds is compared with the issuers row by row."""
    row, place = row_of(line, books), place_of(line)
    if line["outcome"] == "approved":
        check_approved(line, row, place, books, findings)
    elif line["outcome"] in ("declined", "reversed"):
        if row is not None and row["state"] in STANDING and line["kind"] != "balance":
            findings.add(
                f"a payment that its terminal takes for {line['outcome']} stands", place, "undone", row["state"]
            )
    elif line["outcome"] != "none":
        findings.add(f"an unknown outcome {line['outcome']!r} in the terminals' log", place)


def check_approved(line, row, place, books, findings):
    """An approval that a terminal saw is in the switch's file as it was told, and stands once at the issuer."""
    if row is None:
        findings.add("an approved payment is lost: the switch has no row of it", place)
        return
    if row["state"] not in STANDING:
        findings.add("an approved payment is lost", place, "approved", row["state"])
    if line["kind"] in SILENT_KINDS:
        return
    rows = [
        ("kind", line["kind"], row["kind"]),
        ("amount", line["amount_minor"], row["amount"]),
        ("STAN", int(line["stan"]), row["stan"]),
    ]
    if line.get("auth_code"):
        rows.append(("authorization id", line["auth_code"].strip(), row["auth_code"]))
    for what, want, got in rows:
        if want != got:
            findings.add(f"the {what} is not what the terminal was told", place, want, got)
    amounts = [entry["posted_minor"] for entry in books.postings(row)]
    if amounts != [line["amount_minor"]]:
        findings.add("an approved payment does not stand once at its issuer", place, [line["amount_minor"]], amounts)


def check_row(row, books, findings):
    """State and postings of each row agree, whatever a terminal saw."""
    place = f"row {row['id']} {row['kind']} {row['state']} RRN {row['rrn']}"
    if row["state"] in OPEN:
        findings.add("an outcome is open", place)
    elif row["state"] not in STANDING | UNDONE:
        findings.add("an unknown state", place)
    if row["kind"] in SILENT_KINDS:
        return
    if row["issuer"] not in books.issuers:
        findings.add("no books of its issuer were given", place)
        return
    amounts = [entry["posted_minor"] for entry in books.postings(row)]
    if row["state"] in STANDING and amounts != [row["amount"]]:
        findings.add("a standing payment is not posted exactly once", place, [row["amount"]], amounts)
    if row["state"] not in STANDING and amounts:
        findings.add("a payment that is undone stands at its issuer", place, [], amounts)


def check_live(books, findings):
    """Nothing stands at an issuer that the switch does not know; one RRN, one trace number, one posting."""
    for (name, rrn), entries in books.live.items():
        rows = [row for row in books.by_rrn[rrn] if row["issuer"] == name]
        if entries and not rows:
            findings.add("an issuer holds a payment that the switch does not know", f"{name} RRN {rrn}")
        if len(entries) > 1:
            findings.add("a payment is posted twice", f"{name} RRN {rrn}", 1, len(entries))
    for name, issuer in books.issuers.items():
        seen = Counter(
            (e["mti"][:3], e["stan"], e["de7"], e["acquirer"]) for e in issuer["journal"] if e["code"] in APPROVED
        )
        for (mti, stan, _, _), count in seen.items():
            if count > 1:
                findings.add("an issuer posted one message twice", f"{name} {mti}x STAN {stan}", 1, count)


def check_queue(books, findings):
    """Every reversal and advice has reached its issuer, and every undone request has its reversal."""
    for entry in books.saf:
        if entry["state"] in ("waiting", "parked"):
            findings.add(
                "a message waits for its issuer",
                f"{entry['issuer']} {entry['what']} of row {entry['txn']}: {entry['state']}",
            )
    reversed_rows = {entry["txn"] for entry in books.saf if entry["what"] == "reversal"}
    for row in books.payments:
        if row["state"] == "timed-out" and row["kind"] not in SILENT_KINDS and row["id"] not in reversed_rows:
            findings.add("an unknown outcome without a reversal", f"row {row['id']} RRN {row['rrn']}")


def check_numbers(books, findings):
    """RRNs and trace numbers of a link are never used twice; nor is a terminal's key approved twice."""
    for rrn, count in Counter((row["day"], row["rrn"]) for row in books.rows).items():
        if count > 1:
            findings.add("an RRN was used twice in one day", f"{rrn[0]} {rrn[1]}", 1, count)
    for (issuer, stan), owners in link_numbers(books).items():
        if len(owners) > 1:
            findings.add("a trace number of a link was used twice", f"{issuer} {stan:06}", 1, len(owners))
    keys = Counter((row["tid"], row["mid"], row["batch"], row["stan"]) for row in books.payments)
    for (tid, _, batch, stan), count in keys.items():
        if count > 1:
            findings.add("a terminal's request has two rows", f"terminal {tid} batch {batch} STAN {stan:06}", 1, count)


def link_numbers(books):
    """Which messages used each trace number of a link. An advice's is kept in its queue entry and in its row; the row
    of a terminal's reversal shows its original's."""
    owners = defaultdict(set)
    for row in books.payments:
        if row["link_stan"] is not None:
            owners[(row["issuer"], row["link_stan"])].add(("row", row["id"]))
    for entry in books.saf:
        if entry["stan"] is not None:
            owner = ("row", entry["txn"]) if entry["what"] == "advice" else ("queue", entry["id"])
            owners[(entry["issuer"], entry["stan"])].add(owner)
    return owners if sum(map(len, owners.values())) < WRAP else {}


def check_accounts(name, issuer, books, findings):
    """An account has moved by its entries, and by what stands in the switch for its card."""
    moved, held = Counter(), Counter()
    for entry in issuer["journal"]:
        moved[entry["account"]] += entry["balance_minor"]
        held[entry["account"]] += entry["held_minor"]
    taken = Counter()
    for row in books.payments:
        if row["issuer"] == name and row["state"] == "approved":
            taken[row["card_masked"]] += SIGN.get(row["kind"], 0) * (row["amount"] or 0)
    masks = Counter(account["pan"] for account in issuer["accounts"])
    for account in issuer["accounts"]:
        place, opening = f"{name} account {account['account']}", account["opening_minor"]
        if opening + moved[account["account"]] != account["balance_minor"]:
            findings.add(
                "an account is not the sum of its entries",
                place,
                opening + moved[account["account"]],
                account["balance_minor"],
            )
        if held[account["account"]] != account["held_minor"]:
            findings.add(
                "an account's holds are not the sum of its entries",
                place,
                held[account["account"]],
                account["held_minor"],
            )
        if masks[account["pan"]] == 1 and opening - taken[account["pan"]] != account["balance_minor"]:
            findings.add(
                "an account has not moved by what stands in the switch",
                place,
                opening - taken[account["pan"]],
                account["balance_minor"],
            )
    check_shared(name, issuer, taken, masks, findings)


def check_shared(name, issuer, taken, masks, findings):
    """Cards that look the same when masked are held to their common sum; cards without account to nothing."""
    for mask, count in masks.items():
        same = [account for account in issuer["accounts"] if account["pan"] == mask]
        gone = sum(account["opening_minor"] - account["balance_minor"] for account in same)
        if count > 1 and gone != taken[mask]:
            findings.add("accounts have not moved by what stands in the switch", f"{name} {mask}", taken[mask], gone)
    for mask, minor in taken.items():
        if minor and mask not in masks:
            findings.add("money stands for a card that has no account", f"{name} {mask}", 0, minor)


def report(books):
    """Prints the verdict; the exit code."""
    findings = audit(books)
    if not books.log or not books.payments:
        findings.add("nothing was audited: no requests, or no rows")
    for line in findings.lines:
        print(line)
    if findings.lines:
        return 1
    outcomes = Counter(line["outcome"] for line in books.log)
    states = Counter(row["state"] for row in books.payments)
    text = " · ".join(
        f"{name} {count}" for name, count in sorted((*outcomes.items(), *((f"rows {s}", c) for s, c in states.items())))
    )
    print(f"OK requests {len(books.log)} · {text} · entries {sum(len(i['journal']) for i in books.issuers.values())}")
    return 0


def read_log(path):
    """A JSON-lines file; a last line that a crash cut short is left out."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def main(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db")
    parser.add_argument("--issuer", action="append", default=[])
    parser.add_argument("--terminals")
    parser.add_argument("--self-test", action="store_true")
    given = parser.parse_args(arguments)
    if given.self_test:
        sys.dont_write_bytecode = True
        from crash_selftest import self_test

        return self_test()
    if not (given.db and given.issuer and given.terminals):
        parser.error("--db, --issuer and --terminals are needed")
    issuers = [json.loads(Path(path).read_text(encoding="utf-8")) for path in given.issuer]
    return report(Books(read_database(given.db), issuers, read_log(given.terminals)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
