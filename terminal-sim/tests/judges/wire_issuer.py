"""An issuer's books from the frames of its link alone, and their comparison with the books that it kept.

A message moves money when the issuer approved it, once however often it came; a reversal takes back what still stands.
Whether an issuer posted what it never answered cannot be seen on the wire: there only the sum with its reversal counts.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from wire_record import masked
from wire_story import key_of


@dataclass
class Effect:
    """What a message did to its account, minor units."""

    balance: int = 0
    held: int = 0

    def back(self):
        """The opposite."""
        return Effect(-self.balance, -self.held)


class Model:
    """The books of one issuer as the wire tells them."""

    def __init__(self, asks):
        self.asks = asks
        self.effects = {}
        self.standing = {}
        self.by_pan = defaultdict(Effect)
        self.net = defaultdict(int)
        events = [(ask.first.number, ask, None) for ask in asks]
        events += [(undo.first.number, ask, undo) for ask in asks for undo in ask.undos]
        for _, ask, undo in sorted(events, key=lambda event: event[0]):
            self.post(ask) if undo is None else self.undo(ask, undo)

    def post(self, ask):
        """An approved message; what it names is taken."""
        effect = self.effect_of(ask) if ask.approval else Effect()
        self.book(ask, ask.first, effect)
        moved = effect != Effect()
        self.standing[ask] = "posted" if moved else "idle"
        taken = self.named(ask)
        if moved and taken is not None:
            self.standing[taken] = "taken"
            self.reinstate(taken)

    def undo(self, ask, undo):
        """An accepted reversal of what stands; a reversed void lets its sale stand again."""
        accepted = any(reply.code == "00" for reply in undo.replies)
        effect = Effect()
        if accepted and self.standing.get(ask) == "posted":
            effect = self.effects[key_of(ask.first)].back()
            self.standing[ask] = "reversed"
            self.reinstate(ask)
        self.book(ask, undo.first, effect)

    def reinstate(self, ask):
        """What the message had taken stands again."""
        taken = self.named(ask)
        if taken is not None and self.standing.get(taken) == "taken":
            self.standing[taken] = "posted"

    def book(self, ask, frame, effect):
        """Adds an effect to the account and to the RRN of what it is about."""
        self.effects[key_of(frame)] = effect
        self.by_pan[ask.first.pan].balance += effect.balance
        self.by_pan[ask.first.pan].held += effect.held
        self.net[ask.rrn] -= effect.balance

    def effect_of(self, ask):
        """Sign and account side of each kind."""
        minor, named = ask.minor, self.named(ask)
        if ask.kind in ("sale", "offline-sale"):
            return Effect(-minor, 0)
        if ask.kind == "refund":
            return Effect(minor, 0)
        if ask.kind == "pre-auth":
            return Effect(0, minor)
        if ask.kind in ("completion", "completion-advice"):
            return Effect(-minor, self.effects[key_of(named.first)].back().held if named else 0)
        if ask.kind in ("void", "pre-auth-cancel", "completion-void") and named:
            return self.effects[key_of(named.first)].back()
        return Effect()

    def named(self, ask):
        """The message that a void, cancel or completion is about: DE 90, else the card's hold with its DE 38."""
        if ask.kind in ("refund", "sale", "offline-sale", "pre-auth", "balance"):
            return None
        if ask.original is not None or not ask.kind.startswith("completion"):
            return ask.original
        holds = [a for a in self.asks if a.kind == "pre-auth" and a.first.pan == ask.first.pan and a.approval]
        fits = [a for a in holds if a.approval.get(38) and a.approval.get(38) == ask.first.get(38)]
        return fits[-1] if fits else None


def check_books(folder, story, findings):
    """Compares every `issuer-NAME.json`; an issuer on the wire without books is a finding too."""
    seen = set()
    for path in sorted(Path(folder).glob("issuer-*.json")):
        books = json.loads(path.read_text(encoding="utf-8"))
        name = books.get("issuer", path.stem.removeprefix("issuer-"))
        seen.add(name)
        asks = [ask for ask in story.asks if ask.issuer == name]
        check_issuer(path.name, books, asks, findings)
    for name in sorted({ask.issuer for ask in story.asks} - seen):
        findings.add("an issuer has no books", f"issuer:{name}")


def check_issuer(place, books, asks, findings):
    """Balances, the sums by RRN, the journal."""
    model = Model(asks)
    for account in books.get("accounts", []):
        check_account(place, account, model, findings)
    masks = [account["pan"] for account in books.get("accounts", [])]
    for pan, effect in model.by_pan.items():
        if effect != Effect() and masked(pan) not in masks:
            findings.add(f"no account of card {masked(pan)}", place)
    check_net(place, books.get("net_by_rrn", {}), model, findings)
    check_journal(place, books, model, findings)


def check_account(place, account, model, findings):
    """Opening balance and all that moved it."""
    cards = [pan for pan in model.by_pan if masked(pan) == account["pan"]]
    moved = sum(model.by_pan[pan].balance for pan in cards)
    held = sum(model.by_pan[pan].held for pan in cards)
    label = f"{place} account {account.get('account')}"
    rows = [
        ("balance", account["opening_minor"] + moved, account["balance_minor"]),
        ("held amount", held, account["held_minor"]),
        ("available amount", account["balance_minor"] - account["held_minor"], account["available_minor"]),
    ]
    for what, expected, found in rows:
        if expected != found:
            findings.add(f"the {what} is not what the wire says", label, expected, found)


def check_net(place, net, model, findings):
    """What each RRN took from its cardholder."""
    for rrn in sorted(set(net) | {rrn for rrn, minor in model.net.items() if minor}):
        expected, found = model.net.get(rrn.strip(), 0), net.get(rrn, 0)
        if expected != found:
            findings.add(f"RRN {rrn} moved another sum than the wire says", place, expected, found)


def check_journal(place, books, model, findings):
    """Each entry against its message and answers; then the entries against the balances."""
    entries = books.get("journal", [])
    by_key = {}
    for ask in model.asks:
        by_key[key_of(ask.first)] = (ask, ask.first, ask.replies)
        by_key.update({key_of(undo.first): (ask, undo.first, undo.replies) for undo in ask.undos})
    posted = defaultdict(lambda: [0, 0])
    labels = {account["account"]: account for account in books.get("accounts", [])}
    for place_in, entry in enumerate(entries):
        check_entry(place, entry, by_key, model, findings)
        check_names(f"{place} entry {place_in}", entry, (place_in, entries), (labels, by_key), findings)
        sums = posted[entry.get("account")]
        sums[0] += entry["balance_minor"]
        sums[1] += entry["held_minor"]
    for account in books.get("accounts", []):
        moved, held = posted[account["account"]]
        if account["opening_minor"] + moved != account["balance_minor"] or held != account["held_minor"]:
            label = f"{place} account {account['account']}"
            findings.add(
                "the journal does not add up to the balance",
                label,
                account["balance_minor"],
                account["opening_minor"] + moved,
            )
    check_missing(place, entries, by_key, findings)


def entry_key(entry):
    """The key of the message that an entry is about."""
    return f"{entry['mti'][:3]}0{entry['stan']}{entry['de7']}{entry['acquirer'].zfill(11)}"


def check_entry(place, entry, by_key, model, findings):
    """One entry: amounts, codes and effect are those on the wire."""
    label = f"{place} entry {entry.get('order')}"
    known = by_key.get(entry_key(entry))
    if known is None:
        findings.add("the journal holds a message that is not on the wire", label)
        return
    ask, frame, replies = known
    rows = [("RRN", frame.get(37, "").strip(), entry["rrn"].strip()), ("DE 4", frame.minor, entry["amount_minor"])]
    effect = model.effects[key_of(frame)]
    moved = bool(entry["balance_minor"] or entry["held_minor"])
    rows.append(("posted amount", ask.minor if moved else 0, entry["posted_minor"]))
    if ask.replies:
        rows += [
            ("balance change", effect.balance, entry["balance_minor"]),
            ("held change", effect.held, entry["held_minor"]),
        ]
    if replies:
        rows.append(("DE 39", replies[0].code, entry["code"]))
        if replies[0].get(38) or entry.get("auth_code"):
            rows.append(("DE 38", replies[0].get(38), entry.get("auth_code")))
    for what, expected, found in rows:
        if expected != found:
            findings.add(f"an entry's {what} is not the wire's", label, expected, found)


# The issuer's words for the kinds; a reversal is one whatever it reverses.
WORDS = {"pre-auth": "preauthorization", "pre-auth-cancel": "cancel"}


def check_names(label, entry, position, known, findings):
    """Order, MTI, kind, account, card and currency of an entry; whom it names, and whether it was reversed."""
    (order, entries), (labels, by_key) = position, known
    if entry_key(entry) not in by_key:
        return
    ask, frame, _ = by_key[entry_key(entry)]
    kind = "reversal" if frame.mti[1] == "4" else WORDS.get(ask.kind, ask.kind.replace("-", "_"))
    account = labels.get(entry.get("account"), {})
    named = entries[entry["original"]] if entry.get("original") in range(len(entries)) else None
    about = frame.get(90)[:31] if frame.get(90) and entry.get("original") is not None else None
    undone = [e for e in entries if e.get("original") == order and e["kind"] == "reversal"]
    rows = [
        ("order", order, entry.get("order", order)),
        ("MTI", frame.mti, entry["mti"]),
        ("kind", kind, entry["kind"]),
        ("card", masked(frame.pan), entry.get("pan") or masked(frame.pan)),
        (
            "account's card",
            masked(frame.pan),
            account.get("pan", masked(frame.pan) if entry.get("account") is None else None),
        ),
        ("original", about, entry_key(named) if named and about else about and "none"),
        ("mark as reversed", any(e["balance_minor"] or e["held_minor"] for e in undone), bool(entry.get("reversed"))),
    ]
    for what, expected, found in rows:
        if expected != found:
            findings.add(f"an entry's {what} is not the wire's", label, expected, found)


def check_missing(place, entries, by_key, findings):
    """Approved messages that the journal lacks or holds twice."""
    count = defaultdict(int)
    for entry in entries:
        count[entry_key(entry)] += 1
    for key, (_, frame, replies) in by_key.items():
        approved = any(reply.code in ("00", "08", "10", "11", "16") for reply in replies)
        if approved and count[key] == 0:
            findings.add("the journal lacks an approved message", frame)
        if count[key] > 1:
            findings.add("the journal holds a message twice", frame, 1, count[key])
