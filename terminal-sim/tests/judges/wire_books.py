"""The books of switch, terminals and settlement, compared with what the frames tell."""

import io
import json
import re
from collections import defaultdict
from pathlib import Path

from wire_agreement import batch_items, totals
from wire_codec import EDC, UNIONPAY, Frame
from wire_record import masked, read_lines
from wire_story import ADVICES, CREDITS, DEBITS, VOIDS

CLEARED = DEBITS | {"refund"}
# ISO 4217 of the currencies that a demonstration uses; books may name them either way.
ALPHA = {"156": "CNY", "840": "USD", "978": "EUR", "344": "HKD", "392": "JPY", "414": "KWD", "826": "GBP", "446": "MOP"}


def currency(value):
    """Three digits, however a book writes it."""
    text = f"{value:03d}" if isinstance(value, int) else str(value or "")
    return next((number for number, alpha in ALPHA.items() if alpha == text), text)


def number(value):
    """STAN or batch as a number; books may write them with zeros."""
    return None if value in (None, "") else int(value)


def check_switch(path, story, findings):
    """One row for each payment that reached an issuer, with state, amount, codes; no other row. Returns the rows."""
    rows = [line for _, line in read_lines(path)]
    payments = [row for row in rows if row["kind"] != "reversal"]
    by_rrn = defaultdict(list)
    for row in payments:
        by_rrn[(row["tid"].strip(), row["rrn"].strip())].append(row)
    left = {id(row): row for row in payments}
    for payment in story.payments:
        found = by_rrn.get((payment.tid, payment.rrn), []) if payment.rrn else []
        if payment.ask is not None or payment.approval:
            check_row(path.name, payment, found, findings)
        for row in found:
            left.pop(id(row), None)
    for row in left.values():
        if row["state"] not in ("declined", "timed-out", "reversed"):
            findings.add(f"row {row['id']} ({row['kind']}, {row['state']}) is no payment on the wire", path.name)
    check_references(path.name, rows, story, findings)
    return rows


def check_row(place, payment, found, findings):
    """A payment's row says what the wire says."""
    if len(found) != 1:
        findings.add(f"{len(found)} rows of RRN {payment.rrn} where one belongs", payment.first)
        return
    row, label = found[0], f"{place} row {found[0]['id']}"
    for what, want, got in identity(payment, row) + at_issuer(payment, row) + outcome(payment, row):
        if want != got:
            findings.add(f"the {what} of a row is not the wire's", label, want, got)
    allowed = states(payment)
    if row["state"] not in allowed:
        findings.add("the state of a row is not the wire's", label, " or ".join(sorted(allowed)), row["state"])


def told(row, name, want, what=None):
    """A comparison of a column that a row may leave out: (what, expected, found)."""
    got = row.get(name)
    if got is None:
        return []
    return [(what or name.replace("_", " "), want, got.strip() if isinstance(got, str) else got)]


def identity(payment, row):
    """What the terminal said."""
    frame = payment.first
    rows = [("kind", payment.kind, row["kind"]), ("STAN", payment.stan, number(row["stan"]))]
    rows.append(("merchant", frame.get(42, "").strip(), row["mid"].strip()))
    if payment.batch is not None:
        rows.append(("batch", payment.batch, number(row["batch"])))
    rows += told(row, "dialect", frame.dialect) + told(row, "processing_code", frame.get(3))
    rows += told(row, "card", masked(frame.pan)) + told(row, "entry_mode", frame.get(22))
    if payment.kind != "balance":
        rows += told(row, "requested_minor", frame.minor)
    return rows


def at_issuer(payment, row):
    """Where it went."""
    ask = payment.ask
    if ask is None:
        return []
    rows = [("issuer", ask.issuer, row["issuer"].strip())]
    if ask.first.get(49) and row.get("currency") is not None and payment.kind != "balance":
        rows.append(("currency", ask.first.get(49), currency(row["currency"])))
    if payment.kind not in ADVICES:
        rows += told(row, "link_stan", ask.first.get(11))
        if ask.answer and ask.answer.get(37):
            rows += told(row, "issuer_rrn", ask.answer.get(37).strip())
    return rows


def outcome(payment, row):
    """What came of it: amount, authorization id, response code, what was refunded of it."""
    rows = []
    if payment.kind != "balance" and (payment.approval or row.get("amount_minor") is not None):
        allowed = {payment.minor} if payment.approval or not payment.ask else {payment.minor, payment.ask.minor}
        if row.get("amount_minor") not in allowed:
            rows.append(("amount", payment.minor, row.get("amount_minor")))
    if payment.approval:
        rows.append(
            (
                "authorization id",
                payment.approval.get(38) or payment.first.get(38),
                (row.get("auth_code") or "").strip() or None,
            )
        )
    if payment.replies:
        rows += told(row, "code", payment.replies[0].code, "response code")
    refunds = [p for p in payment.claims if p.kind == "refund" and p.approval and not (p.ask and p.ask.undos)]
    refunds = [p for p in refunds if states(p) == {"approved"}]
    return rows + told(row, "refunded_minor", sum(p.minor for p in refunds))


def states(payment):
    """Where a payment may stand, by what the frames show."""
    ask = payment.ask
    taken = payment.approval is not None
    if payment.kind in ADVICES:
        taken = True
    if not taken:
        declined = ask is None or (ask.approval is None and ask.answer is not None)
        return {"declined"} if declined else {"timed-out", "reversed", "declined"}
    if ask is not None and ask.undos:
        return {"reversed"}
    standing = {p.kind for p in payment.claims if p.approval and not (p.ask and p.ask.undos)}
    if standing & VOIDS:
        return {"voided"}
    if "pre-auth-cancel" in standing:
        return {"cancelled"}
    if standing & {"completion", "completion-advice"}:
        return {"completed"}
    return {"approved"}


def check_references(place, rows, story, findings):
    """References lead to the row that is meant; what undoes something has its terminal and its amount."""
    by_id = {row["id"]: row for row in rows}
    meant = {(p.tid, p.rrn): p.original.rrn for p in story.payments if p.original is not None and p.approval}
    for row in rows:
        named = by_id.get(row.get("original"))
        want = meant.get((row["tid"].strip(), row["rrn"].strip()))
        if row.get("original") is not None and named is None:
            findings.add(f"row {row['id']} refers to a row that is missing", place)
        elif want is not None and (named is None or named["rrn"].strip() != want):
            findings.add(
                f"row {row['id']} refers to another payment than the terminal", place, want, named and named["rrn"]
            )
        claimant = by_id.get(row.get("claimed_by"), {"original": row["id"]} if row.get("claimed_by") is None else {})
        if claimant.get("original") != row["id"]:
            findings.add(f"row {row['id']} is claimed by a row that does not refer to it", place)
        if named is None or row["kind"] not in VOIDS | {"reversal"}:
            continue
        more = ("stan", "batch", "requested_minor", "card", "issuer", "currency", "processing_code", "dialect")
        for name in ("tid", "mid", "amount_minor") + (more if row["kind"] == "reversal" else ()):
            if row.get(name) is not None and row[name] != named.get(name):
                findings.add(
                    f"row {row['id']} undoes another {name} than it refers to", place, named.get(name), row[name]
                )


def check_terminals(path, story, findings):
    """Each terminal's items and totals, recomputed."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for terminal in content["terminals"] if isinstance(content, dict) else content:
        batches = terminal.get("batches") or [terminal]
        link = f"terminal:{terminal['tid'].strip()}"
        items = [item for batch in batches for item in batch.get("items", [])]
        check_items(path.name, link, items, story, findings)
        spoken = {p.first.dialect for p in story.payments if p.first.link == link}
        if spoken and spoken != {terminal["dialect"]}:
            findings.add("a terminal speaks another dialect", f"{path.name} {link}", spoken, terminal["dialect"])
        for batch in batches:
            if batch.get("totals"):
                check_batch(path.name, link, terminal["dialect"], batch, story, findings)


def check_items(place, link, items, story, findings):
    """Each item is a payment on the wire with that outcome, and each approved payment that counts is an item."""
    mine = [p for p in story.payments if p.first.link == link]
    left = {
        id(p): p
        for p in mine
        if p.approval and p.kind in DEBITS | CREDITS and not p.reversals and p.kind not in ADVICES
    }
    for item in items:
        label = f"{place} {link} item {item['stan']}"
        fits = [p for p in mine if p.stan == number(item["stan"]) and p.kind == item["kind"]]
        exact = [p for p in fits if not item.get("rrn") or p.rrn == item["rrn"].strip()]
        payment = (exact or fits or [None])[-1]
        if payment is None:
            findings.add("an item is no payment on the wire", label)
            continue
        left.pop(id(payment), None)
        approved = payment.approval is not None and not payment.reversals or payment.kind in ADVICES
        rows = [("approval", approved, bool(item.get("approved", True)))]
        if approved:
            rows.append(("amount", payment.minor, item["minor"]))
        if item.get("rrn"):
            rows.append(("RRN", payment.rrn, item["rrn"].strip()))
        for what, want, got in rows:
            if want != got:
                findings.add(f"the {what} of an item is not the wire's", label, want, got)
    if items:
        for payment in left.values():
            findings.add("a terminal's books lack an approved payment", payment.first)


def check_batch(place, link, dialect, batch, story, findings):
    """Totals by the terminal's convention, from the frames: of the batch named, else of the latest one."""
    want = side_totals(link, dialect, number(batch.get("batch")), story)
    got = tuple((batch["totals"][side]["count"], batch["totals"][side]["minor"]) for side in ("debit", "credit"))
    if want != got:
        findings.add("a terminal's totals are not the wire's", f"{place} {link} batch {batch.get('batch')}", want, got)


def side_totals(link, dialect, wanted, story):
    """The totals of a batch; a batch without number is the last one settled, or all there is."""
    settled = story.settlements.get(link, [])
    end = 10**12
    mine = [p for p in story.payments if p.first.link == link]
    if dialect == EDC:
        epochs = {number(frame.get(60)[:6]): epoch for epoch, frame in reversed(settled)}
        last = settled[-1][0] if settled else 0
        epoch = epochs.get(wanted, last + 1 if wanted is not None and settled else last)
        probe = Frame(end, 0, link, "terminal", EDC, b"")
        return totals(batch_items(link, mine, probe, epoch), EDC)
    probe = Frame(end, 0, link, "terminal", dialect, b"")
    if dialect == UNIONPAY:
        last = number(settled[-1][1].get(60)[2:8]) if settled else max((p.batch for p in mine), default=0)
        probe.fields[60] = f"00{wanted if wanted is not None else last:06d}201"
    return totals(batch_items(link, mine, probe, 0), dialect)


def check_clearing(folder, story, rows, findings):
    """Each record of the clearing files is a payment that cleared, and the sums are those of the wire."""
    files = sorted(Path(folder).rglob("*.ipm"))
    if not files:
        findings.add("no clearing file", str(folder))
        return
    by_rrn = {payment.rrn: payment for payment in story.payments if payment.rrn}
    sums, presented = defaultdict(int), {}
    for path in files:
        for record in ipm_records(path, findings):
            check_presentment(path.name, record, by_rrn, sums, findings)
            if not record.get("PDS0025"):
                presented[record.get("DE37", "").strip()] = day_of_file(path)
    for row in (row for row in rows if "cleared_day" in row):
        want, got = presented.get(row["rrn"].strip()), row["cleared_day"] and number_of_day(row["cleared_day"])
        if want != got:
            findings.add(f"row {row['id']} is in another day's file than it says", str(folder), want, got)
    last = max(day_of_file(path) for path in files)
    expected = cleared_sums(story, rows, last)
    for key in sorted(set(sums) | set(expected)):
        if sums.get(key, 0) != expected.get(key, 0):
            findings.add(
                f"the clearing files of {key[0]} in {key[1]} do not add up",
                str(folder),
                expected.get(key, 0),
                sums.get(key, 0),
            )


def day_of_file(path):
    """The business day in a file's name, or else its folder's."""
    found = re.search(r"(\d{8})$", path.stem) or re.search(r"(\d{8})$", path.parent.name)
    return int(found.group(1)) if found else 0


def ipm_records(path, findings):
    """The presentments of a file, in whichever of the two encodings and framings it is written."""
    from cardutil.mciipm import IpmReader

    raw = path.read_bytes()
    for encoding in ("cp500", "latin_1"):
        for blocked in (False, True):
            try:
                records = list(IpmReader(io.BytesIO(raw), encoding=encoding, blocked=blocked))
            except Exception:
                continue
            if records and records[0].get("MTI") == "1644" and records[-1].get("MTI") == "1644":
                return [record for record in records if record["MTI"] == "1240"]
    findings.add("a clearing file does not read", path.name)
    return []


def check_presentment(place, record, by_rrn, sums, findings):
    """A record's card, amount and authorization id are the payment's; its sum goes to issuer and currency."""
    payment = by_rrn.get(record.get("DE37", "").strip())
    label = f"{place} RRN {record.get('DE37')}"
    if payment is None or payment.ask is None:
        findings.add("a clearing record is no payment on the wire", label)
        return
    minor, kind = int(record["DE4"]), "refund" if record["DE3"].startswith("20") else "debit"
    authorized = payment.approval.get(38) if payment.approval else payment.first.get(38)
    code = (record.get("DE38") or "").strip() or None
    rows = [
        ("amount", payment.minor, minor),
        ("card", masked(payment.ask.first.pan), masked(record.get("DE2"))),
        ("side", "refund" if payment.kind == "refund" else "debit", kind),
        ("terminal", payment.tid, record.get("DE41", "").strip()),
        ("currency", payment.ask.first.get(49), record.get("DE49")),
    ]
    if code:
        rows.append(("authorization id", authorized, code))
    for what, want, got in rows:
        if want != got:
            findings.add(f"the {what} of a clearing record is not the wire's", label, want, got)
    if payment.kind not in CLEARED:
        findings.add(f"a {payment.kind} is in a clearing file", label)
    if f"-{payment.ask.issuer}-" not in place:
        findings.add("a clearing record is in another issuer's file", label, payment.ask.issuer, place)
    sign = -1 if kind == "refund" else 1
    if (record.get("PDS0025") or "").startswith("R"):
        sign = -sign
    sums[(payment.ask.issuer, record.get("DE49"))] += sign * minor


def cleared_sums(story, rows, last):
    """What must have cleared by the last settled day: by issuer and currency, debit less credit."""
    day_of = {(row["tid"].strip(), row["rrn"].strip()): day(row) for row in rows}
    undone_on = defaultdict(list)
    names = {row["id"]: row for row in rows}
    for row in rows:
        if row["kind"] == "reversal" and row.get("original") in names:
            undone_on[names[row["original"]]["rrn"].strip()].append(day(row))
    sums = defaultdict(int)
    for payment in story.payments:
        if stands(payment, day_of, undone_on, last):
            sign = -1 if payment.kind == "refund" else 1
            sums[(payment.ask.issuer, payment.ask.first.get(49))] += sign * payment.minor
    return sums


def stands(payment, day_of, undone_on, last):
    """Cleared and, by the end of the last settled day, neither reversed nor voided."""
    ask = payment.ask
    if ask is None or payment.kind not in CLEARED or day_of.get((payment.tid, payment.rrn), last + 1) > last:
        return False
    if payment.kind not in ADVICES and payment.approval is None:
        return False
    if ask.undos and min(undone_on.get(payment.rrn, [0])) <= last:
        return False
    voids = [p for p in payment.claims if p.kind in VOIDS and p.approval]
    return not any(holds(void, day_of, undone_on, last) for void in voids)


def holds(void, day_of, undone_on, last):
    """A void of that day or before, not itself reversed by then."""
    if day_of.get((void.tid, void.rrn), last + 1) > last:
        return False
    return not (void.ask and void.ask.undos and min(undone_on.get(void.rrn, [0])) <= last)


def day(row):
    """The business day of a row."""
    return number_of_day(row["day"])


def number_of_day(text):
    """A business day as a number, however it is written."""
    return int(re.sub(r"\D", "", str(text)))
