#!/usr/bin/env python3
"""Outside judge of the CSV files of a settled day: shares no code with the switch.

Usage: csv_judge.py FOLDER --basis-points N

Exit 0 and "OK files=… rows=…" when every rule holds, exit 1 and one line "FAIL …" for each that does not.

Rules: each file's last row says how many rows there are before it, their sum and the SHA-256 of every byte before it;
a clearing list's sum is what its rows move; a statement's fees are N basis points of each sale, rounded to the nearest
minor unit, and its totals are those of its rows; the day's file names every other file with its digest, count and
sum, and its accounts come to zero; what the issuers owe is what the clearing lists say, what the merchants get is what
the statements say.
"""
import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

HALF = Fraction(1, 2)


class Folder:
    """The files, and what was found wrong."""

    def __init__(self, path, basis_points):
        self.path, self.rate = path, Fraction(basis_points, 10_000)
        self.faults, self.rows = [], 0
        self.sums = {}
        self.counts = {}
        self.owed = defaultdict(int)
        self.paid = defaultdict(int)

    def need(self, place, what, expected, found):
        if expected != found:
            self.faults.append(f"{place}: {what}: expected {expected}, found {found}")


def table(folder, path):
    """The rows of a file as dictionaries; its trailer is checked, but for the sum, which is returned."""
    raw = path.read_bytes()
    body, last = raw[: raw[:-1].rindex(b"\n") + 1], raw[raw[:-1].rindex(b"\n") + 1 :]
    word, count, total, digest = last.decode().strip().split(",")
    header, *rows = list(csv.reader(body.decode().splitlines()))
    folder.need(path.name, "trailer", "trailer", word)
    folder.need(path.name, "rows", len(rows), int(count))
    folder.need(path.name, "SHA-256", hashlib.sha256(body).hexdigest(), digest)
    folder.rows += len(rows)
    folder.sums[path.name], folder.counts[path.name] = int(total), len(rows)
    return [dict(zip(header, row)) for row in rows], int(total)


def signed(row):
    """Positive from the cardholder; what is taken back the other way."""
    sign = {"debit": 1, "credit": -1}[row["side"]] * {"present": 1, "take-back": -1}[row["action"]]
    return sign * int(row["amount_minor"])


def clearing(folder, path):
    rows, total = table(folder, path)
    folder.need(path.name, "sum", sum(signed(row) for row in rows), total)
    folder.need(path.name, "message numbers", list(range(2, len(rows) + 2)), [int(row["message"]) for row in rows])
    folder.owed[path.name.split("-")[1]] += total
    for row in rows:
        folder.need(f"{path.name} row {row['message']}", "card", "******", row["card"][6:-4])


def statement(folder, path):
    rows, total = table(folder, path)
    payments = [row for row in rows if row["id"] != "total"]
    said = {row["kind"]: int(row["gross_minor"]) for row in rows if row["id"] == "total"}
    sums = defaultdict(int)
    for row in payments:
        gross, fee, net = (int(row[name]) for name in ("gross_minor", "fee_minor", "net_minor"))
        label, refund = f"{path.name} {row['rrn']}", row["kind"] == "refund"
        exact = 0 if refund else gross * folder.rate
        folder.need(label, "a fee to the nearest unit", True, abs(fee - exact) <= (0 if refund else HALF))
        folder.need(label, "net", gross - fee, net)
        back = "-taken-back" if row["action"] == "take-back" else ""
        sums[("refunds" if refund else "sales") + back] += abs(gross)
        sums["fees"] += fee
        sums["net"] += net
    for name in ("sales", "refunds", "sales-taken-back", "refunds-taken-back", "fees", "net"):
        folder.need(path.name, name, sums[name], said.get(name))
    folder.need(path.name, "sum", sums["net"], total)
    folder.paid[path.name.split("-")[1]] += sums["net"]


def day(folder, path):
    rows, _ = table(folder, path)
    named = {row["name"]: row for row in rows if row["what"] == "file"}
    here = {p.name for p in folder.path.iterdir() if p != path and not p.name.startswith(".")}
    folder.need(path.name, "files", sorted(here), sorted(named))
    for name in sorted(here & set(named)):
        row = named[name]
        digest = hashlib.sha256((folder.path / name).read_bytes()).hexdigest()
        folder.need(f"{path.name} {name}", "SHA-256", digest, row["sha256"])
        if name in folder.sums:
            folder.need(f"{path.name} {name}", "rows", folder.counts[name], int(row["records"]))
            folder.need(f"{path.name} {name}", "sum", folder.sums[name], int(row["debit_or_sum"]))
    accounts = {row["name"]: int(row["debit_or_sum"]) - int(row["credit"]) for row in rows if row["what"] == "account"}
    folder.need(path.name, "sum of the accounts", 0, sum(accounts.values()))
    for issuer, minor in folder.owed.items():
        folder.need(path.name, f"what {issuer} owes", minor, accounts.get(f"Recv.Issuer:{issuer}"))
    for mid, minor in folder.paid.items():
        folder.need(path.name, f"what {mid} gets", -minor, accounts.get(f"Pay.Merchant:{mid}"))


def main():
    arguments = argparse.ArgumentParser(description="Outside judge of the CSV files of a settled day.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--basis-points", type=int, required=True)
    asked = arguments.parse_args()
    folder = Folder(asked.folder, asked.basis_points)
    files = 0
    for prefix, judge in (("clearing", clearing), ("statement", statement), ("day", day)):
        found = sorted(asked.folder.glob(f"{prefix}-*.csv"))
        if not found:
            folder.faults.append(f"no {prefix} file")
        for path in found:
            files += 1
            judge(folder, path)
    for fault in folder.faults:
        print(f"FAIL {fault}")
    if folder.faults:
        return 1
    print(f"OK files={files} rows={folder.rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
