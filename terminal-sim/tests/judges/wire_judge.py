#!/usr/bin/env python3
"""Outside judge of a demonstration: recomputes it from its wire record and compares every book with that.

Usage: wire_judge.py FOLDER        the folder that `terminal-sim demo --dir FOLDER` leaves
       wire_judge.py --self-test   published vectors, a made-up story, and that story spoiled in many ways

FOLDER/record.jsonl            every frame of both sides; notes of test keys and test cards
FOLDER/books/switch.jsonl      one object a transaction
FOLDER/books/issuer-NAME.json  accounts, net_by_rrn, journal
FOLDER/books/terminals.json    a list: tid, dialect, batch, totals, items; or batches: a list of batch, totals, items
FOLDER/settlement/**/*.ipm     clearing files, named …-ISSUER-CURRENCY-yyyymmdd.ipm

Shares no code with the switch: frames by pyiso8583, cryptography by psec, clearing files by cardutil. Prints `OK` with
counts and exits 0, or one line `FAIL` for each finding and exits 1; 2 for a wrong call.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # before its parts are imported: nothing is to appear beside the sources

import wire_agreement  # noqa: E402
import wire_books  # noqa: E402
import wire_issuer  # noqa: E402
import wire_record  # noqa: E402
import wire_security  # noqa: E402
import wire_story  # noqa: E402


def judge(folder):
    """All checks; findings, and counts for the last line."""
    folder = Path(folder)
    findings = wire_record.Findings()
    record = wire_record.load(wire_record.read_lines(folder / "record.jsonl"), findings)
    wire_security.secure(record, findings)
    story = wire_story.tell(record, findings)
    wire_agreement.check(story, record.cards, findings)
    books = folder / "books"
    wire_issuer.check_books(books, story, findings)
    rows = wire_books.check_switch(books / "switch.jsonl", story, findings)
    wire_books.check_terminals(books / "terminals.json", story, findings)
    wire_books.check_clearing(folder / "settlement", story, rows, findings)
    return findings, counts(record, story, rows)


def counts(record, story, rows):
    """What was looked at: an empty record must not pass for a good one."""
    frames = [frame for frames in record.frames.values() for frame in frames]
    return {
        "frames": record.count,
        "MACs right": sum(frame.mac == "good" for frame in frames),
        "MACs refused": sum(frame.mac == "bad" for frame in frames),
        "PIN blocks": sum(frame.pin is not None for frame in frames),
        "payments": len(story.payments),
        "approved": sum(payment.approval is not None for payment in story.payments),
        "issuer messages": len(story.asks),
        "issuer reversals": sum(len(ask.undos) for ask in story.asks),
        "settlements": sum(len(settled) for settled in story.settlements.values()),
        "rows": len(rows),
    }


def report(findings, counted):
    """Prints the verdict; the exit code."""
    empty = [
        name
        for name in ("frames", "MACs right", "payments", "approved", "issuer messages", "rows")
        if not counted[name]
    ]
    for name in empty:
        findings.add(f"there are no {name}: nothing was judged")
    for line in findings.lines:
        print(line)
    if findings.lines:
        return 1
    print("OK " + " · ".join(f"{name} {count}" for name, count in counted.items()))
    return 0


def main(arguments):
    """The command line."""
    if arguments == ["--self-test"]:
        from wire_selftest import self_test

        return self_test()
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return report(*judge(arguments[0]))
    except (ArithmeticError, LookupError, TypeError, ValueError) as fault:
        print(f"FAIL something is so far from its form that it cannot be judged: {fault!r}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
