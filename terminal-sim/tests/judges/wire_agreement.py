"""Whether terminal and issuer agree on each payment: amount, card, PIN, outcome, reversal; then each batch's totals."""

from wire_codec import EDC, UNIONPAY
from wire_record import approves, masked
from wire_story import ADVICES, CREDITS, DEBITS, FINAL, VOIDS


def check(story, cards, findings):
    """Every payment, every message at an issuer, every settlement."""
    index_claims(story)
    for payment in story.payments:
        check_payment(payment, findings)
        check_pin(payment, cards, findings)
    for ask in story.asks:
        check_ask(ask, findings)
        if ask.payment:
            check_same(ask.payment, ask, findings)
    for link, settlements in story.settlements.items():
        check_settlements(link, settlements, story.payments, findings)


def check_same(payment, ask, findings):
    """What the issuer is asked is what the terminal asked. Card data of a void may come from the store."""
    frame, asked = payment.first, ask.first
    rows = [
        ("kind", payment.kind, ask.kind),
        ("amount", frame.minor, asked.minor),
        ("card", masked(frame.pan), masked(asked.pan)),
        ("terminal", payment.tid, asked.get(41, "").strip()),
        ("merchant", frame.get(42, "").strip(), asked.get(42, "").strip()),
        ("currency", frame.get(49) or asked.get(49), asked.get(49)),
        ("entry mode", frame.get(22), asked.get(22)),
    ]
    if payment.kind not in ADVICES:
        rows += [
            ("chip data", True, frame.get(55) == asked.get(55)),
            ("PIN block", bool(frame.get(52)), bool(asked.get(52))),
        ]
        if frame.track != asked.track:
            findings.add("the track is not the terminal's", asked)
    if payment.kind == "balance":
        rows = [row for row in rows if row[0] not in ("amount", "currency")]
    rows.append(("account type", True, asked.get(3)[2:] in ("0000", frame.get(3)[2:])))
    if asked.get(38):
        earlier = payment.original.approval.get(38) if payment.original and payment.original.approval else None
        rows.append(("authorization id", frame.get(38) or earlier, asked.get(38)))
    for what, expected, found in rows:
        if expected != found:
            findings.add(f"the issuer is told another {what} than the terminal said", asked, expected, found)
    if frame.pan != asked.pan and masked(frame.pan) == masked(asked.pan):
        findings.add("the issuer is told another card than the terminal said", asked)


def check_pin(payment, cards, findings):
    """Terminal and issuer see one PIN, and it is the card's; a wrong one is for the issuer to refuse."""
    for frame in payment.requests:
        if not frame.get(52):
            continue
        if frame.pin is None:
            if payment.ask is not None:
                findings.add("a PIN block that does not open went to an issuer", frame)
            continue
        card = cards.get(frame.pan)
        if card is None or card.get("pin") is None:
            findings.add("no note tells this card's PIN", frame)
        elif frame.pin != card["pin"] and payment.approval:
            findings.add("a wrong PIN was approved", frame)
        elif (
            frame.pin != card["pin"]
            and payment.ask
            and payment.ask.answer
            and payment.ask.answer.code not in ("55", "75", "38")
        ):
            findings.add("a wrong PIN was not called so", payment.ask.answer, "55", payment.ask.answer.code)
        elif frame.pin == card["pin"] and payment.ask and payment.ask.answer and payment.ask.answer.code == "55":
            findings.add("a right PIN was called wrong", payment.ask.answer)
        if payment.ask and payment.ask.first.pin != frame.pin:
            findings.add("terminal and issuer see different PINs", payment.ask.first)


def check_payment(payment, findings):
    """What the terminal was told, against what the issuer said."""
    ask = payment.ask
    if payment.kind in ADVICES:
        check_advice(payment, findings)
    elif payment.approval:
        check_approval(payment, ask, findings)
    if ask is None and any(refused_rightly_sealed(request) for request in payment.requests):
        findings.add("a right MAC or PIN block was refused", payment.first)
    for reversal in payment.reversals:
        check_terminal_reversal(payment, reversal, findings)


def refused_rightly_sealed(request):
    """63 where no issuer was asked means a wrong MAC or PIN block, and there is neither."""
    opened = not request.get(52) or request.pin is not None
    return request.reply is not None and request.reply.code == "63" and opened and request.dialect != UNIONPAY


def check_advice(payment, findings):
    """An accepted advice reaches its issuer and is answered for good."""
    if not any(reply.code == "00" for reply in payment.replies):
        return
    if payment.ask is None:
        findings.add("an accepted advice never reached an issuer", payment.first)
    elif not any(reply.code in FINAL for reply in payment.ask.replies):
        findings.add("an accepted advice has no final answer of its issuer", payment.ask.first)


def check_approval(payment, ask, findings):
    """Every approval at a terminal is one of an issuer, to the minor unit."""
    if ask is None or not (ask.answer and approves(ask.answer)):
        findings.add("a terminal was told of an approval that no issuer gave", payment.approval)
        return
    for reply in (reply for reply in payment.replies if approves(reply)):
        given = ask.answer
        if payment.kind != "balance" and reply.minor != ask.minor:
            findings.add("another amount approved than the issuer's", reply, ask.minor, reply.minor)
        if reply.get(38) and given.get(38) and reply.get(38) != given.get(38):
            findings.add("another authorization id than the issuer's", reply, given.get(38), reply.get(38))
        if reply.get(37, "").strip() != ask.rrn:
            findings.add("another RRN than at the issuer", reply, ask.rrn, reply.get(37))
        if (reply.code == "10") != (given.code == "10"):
            findings.add("partial and full approval confused", reply, given.code, reply.code)


def check_terminal_reversal(payment, reversal, findings):
    """A reversal that the terminal was told is done reached the issuer, unless nothing stood any more."""
    ask, reply = payment.ask, reversal.reply
    if reply is None or reply.code != "00" or ask is None or payment.kind == "balance":
        return
    stood = ask.approval is not None and not claimed(payment)
    if stood and not ask.undos:
        findings.add("a reversed payment stands at its issuer", reversal)


def claimed(payment):
    """Whether a void, cancel or completion of it was approved, or a refund: then a reversal has nothing to undo."""
    return any(p.approval and not p.is_reversed for p in payment.claims)


def index_claims(story):
    """Lets each payment know who names it."""
    for payment in story.payments:
        payment.claims = []
    for payment in story.payments:
        if payment.original is not None:
            payment.original.claims.append(payment)


def check_ask(ask, findings):
    """No approval stands at an issuer that no terminal took; no reversal comes unasked; each has its last word."""
    payment = ask.payment
    if ask.kind == "balance":
        return
    taken = payment is not None and (payment.approval is not None or ask.kind in ADVICES)
    asked_back = payment is not None and bool(payment.reversals)
    unknown = ask.answer is None
    if not taken and not ask.undos and (ask.approval or unknown):
        what = "an approval that no terminal took" if ask.approval else "a request without an answer"
        findings.add(f"{what} was never reversed", ask.first)
    if taken and ask.undos and not asked_back:
        findings.add("a payment was reversed behind the terminal's back, or approved too late", ask.undos[0].first)
    for undo in ask.undos:
        if not undo.done:
            findings.add("a reversal has no final answer", undo.first)
        if ask.answer and not approves(ask.answer) and not asked_back and ask.approval is None:
            findings.add("a declined payment was reversed", undo.first)


def check_settlements(link, settlements, payments, findings):
    """Totals of each settlement request, from the frames alone."""
    numbers, told = {}, {}
    for epoch, frame in settlements:
        if frame.dialect == EDC:
            # The same batch number again is the same question, even after the batch has closed.
            epoch = numbers.setdefault(frame.get(60, "")[:6], epoch)
            if frame.get(63) != told.setdefault(epoch, frame.get(63)):
                findings.add("a terminal's trailer has other totals than its first request", frame)
            if frame.get(3, "").startswith("96") and frame.reply and frame.reply.code != "00":
                findings.add("the end of an upload is not accepted", frame.reply, "00", frame.reply.code)
        items = batch_items(link, payments, frame, epoch)
        check_totals(frame, totals(items, frame.dialect), findings)


def batch_items(link, payments, frame, epoch):
    """What the terminal has in the batch that the frame is about."""
    number = int(frame.get(60)[2:8]) if frame.dialect == UNIONPAY else None
    here = [p for p in payments if p.first.link == link and p.first.number < frame.number]
    mine = [p for p in here if (p.batch == number if number is not None else p.epoch == epoch)]
    return [p for p in mine if counts(p, frame.number)]


def counts(payment, before):
    """An advice counts at once; anything else when it was approved and no reversal was sent."""
    if payment.kind not in DEBITS | CREDITS:
        return False
    if payment.kind in ADVICES:
        return True
    approved = any(approves(reply) and reply.number < before for reply in payment.replies)
    return approved and not any(reversal.number < before for reversal in payment.reversals)


def totals(items, dialect):
    """(count, minor) of debit and credit: gross, but in EDC neither a void nor what it voids."""
    if dialect == EDC:
        voided = [p.original for p in items if p.kind in VOIDS]
        items = [p for p in items if p.kind not in VOIDS and p not in voided]
    sums = []
    for side in (DEBITS, CREDITS):
        of_side = [p.minor for p in items if p.kind in side]
        sums.append((len(of_side), sum(of_side)))
    return tuple(sums)


def check_totals(frame, ours, findings):
    """The answer agrees exactly when the terminal's figures are the judge's."""
    if frame.reply is None:
        return
    claimed_totals = unionpay_totals(frame.get(48)) if frame.dialect == UNIONPAY else edc_totals(frame.get(63))
    right = claimed_totals == ours
    if frame.dialect == UNIONPAY:
        right = right and not frame.get(48)[31:61].strip("0")
        check_unionpay_result(frame, ours, right, findings)
    elif frame.get(3, "").startswith("92") and frame.reply.code in ("00", "77", "95"):
        if (frame.reply.code == "00") != right:
            shown = f"{'00' if right else '95'} for {ours}"
            findings.add("the batch's result is wrong", frame.reply, shown, f"{frame.reply.code} for {claimed_totals}")


def check_unionpay_result(frame, ours, right, findings):
    """DE 48 of the 0510: the host's totals and 1 agreed, 2 different; 3 decides nothing."""
    de48 = frame.reply.get(48, "")
    if len(de48) < 31:
        findings.add("a settlement answer without totals", frame.reply)
        return
    result, host = de48[30], unionpay_totals(de48)
    if result == "3":
        return
    if (result == "1") != right:
        findings.add("the batch's result is wrong", frame.reply, f"{1 if right else 2} for {ours}", f"{result}")
    if host != ours:
        findings.add("the host's totals are wrong", frame.reply, ours, host)


def unionpay_totals(de48):
    """Debit amount 12, count 3, credit amount 12, count 3; result 1."""
    if not de48 or len(de48) < 31:
        return None
    return (int(de48[12:15]), int(de48[:12])), (int(de48[27:30]), int(de48[15:27]))


def edc_totals(de63):
    """Six pairs of count 3 and amount 12: sale and refund of credit, debit and other cards."""
    if not de63 or len(de63) % 30:
        return None
    pairs = [(int(de63[at : at + 3]), int(de63[at + 3 : at + 15])) for at in range(0, len(de63), 15)]
    sides = [pairs[0::2], pairs[1::2]]
    return tuple((sum(c for c, _ in side), sum(m for _, m in side)) for side in sides)
