"""The story that the frames tell: payments at terminals, what each became at an issuer, and whether the two agree.

A payment is joined to its message at an issuer by the RRN that the switch gave both; where the terminal got no answer,
by terminal, card, amount and kind in order of time.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Optional

from wire_codec import EDC, UNIONPAY, Frame
from wire_record import approves, is_request, masked

# UnionPay: MTI, DE 3, DE 60.1.
UNIONPAY_KINDS = {
    ("0200", "310000", "01"): "balance",
    ("0200", "000000", "22"): "sale",
    ("0200", "200000", "23"): "void",
    ("0220", "200000", "25"): "refund",
    ("0100", "030000", "10"): "pre-auth",
    ("0100", "200000", "11"): "pre-auth-cancel",
    ("0200", "000000", "20"): "completion",
    ("0220", "000000", "24"): "completion-advice",
    ("0200", "200000", "21"): "completion-void",
    ("0220", "000000", "30"): "offline-sale",
}
# Elsewhere: MTI without its last digit, the first two digits of DE 3.
EDC_KINDS = {
    ("020", "00"): "sale",
    ("020", "02"): "void",
    ("020", "22"): "void",
    ("020", "20"): "refund",
    ("010", "31"): "balance",
    ("020", "31"): "balance",
    ("022", "00"): "offline-sale",
}
ASCII_KINDS = {
    ("010", "00"): "pre-auth",
    ("010", "31"): "balance",
    ("020", "31"): "balance",
    ("020", "00"): "sale",
    ("020", "02"): "void",
    ("020", "20"): "refund",
}
# Towards an issuer also whether DE 25 is 06.
ISSUER_KINDS = {
    ("010", "31", False): "balance",
    ("020", "00", False): "sale",
    ("020", "02", False): "void",
    ("020", "20", False): "refund",
    ("010", "00", True): "pre-auth",
    ("010", "02", True): "pre-auth-cancel",
    ("020", "00", True): "completion",
    ("022", "00", True): "completion-advice",
    ("020", "02", True): "completion-void",
    ("022", "00", False): "offline-sale",
}
ADVICES = {"completion-advice", "offline-sale"}
DEBITS = {"sale", "completion", "completion-advice", "offline-sale"}
CREDITS = {"void", "refund", "completion-void"}
VOIDS = {"void", "completion-void"}
# The last word on an advice or a reversal: done, or nothing to do it to.
FINAL = {"00", "08", "10", "11", "16", "21", "25", "12", "94"}


@dataclass(eq=False)
class Payment:
    """One transaction at a terminal; a repeat of the request belongs to it."""

    first: Frame
    kind: str
    requests: list = field(default_factory=list)
    reversals: list = field(default_factory=list)
    ask: Optional["Ask"] = None
    original: Optional["Payment"] = None
    claims: list = field(default_factory=list)
    epoch: int = 0

    @property
    def replies(self):
        """Answers that came."""
        return [request.reply for request in self.requests if request.reply]

    @property
    def approval(self):
        """The first answer that approves."""
        return next((reply for reply in self.replies if approves(reply)), None)

    @property
    def minor(self):
        """What was approved, or else asked."""
        return self.approval.minor if self.approval and self.approval.get(4) else self.first.minor

    @property
    def tid(self):
        """DE 41."""
        return self.first.get(41, "").strip()

    @property
    def stan(self):
        """DE 11."""
        return int(self.first.get(11) or 0)

    @property
    def batch(self):
        """DE 60.2 in UnionPay; elsewhere the terminal does not say."""
        return int(self.first.get(60)[2:8]) if self.first.dialect == UNIONPAY else None

    @property
    def rrn(self):
        """The RRN at the issuer, or the one that the terminal was told."""
        told = next((reply.get(37) for reply in self.replies if reply.get(37)), None)
        return (self.ask.rrn if self.ask else told or "").strip()

    @property
    def is_reversed(self):
        """The terminal asked for its reversal and was told that it is done."""
        return any(reply_ends(reversal) for reversal in self.reversals)


def reply_ends(reversal):
    """Whether the answer to a terminal's reversal says that it is undone."""
    return reversal.reply is not None and reversal.reply.code == "00"


@dataclass(eq=False)
class Undo:
    """A reversal at an issuer with its repeats."""

    first: Frame
    frames: list = field(default_factory=list)
    replies: list = field(default_factory=list)

    @property
    def done(self):
        """The issuer has said its last word."""
        return any(reply.code in FINAL for reply in self.replies)


@dataclass(eq=False)
class Ask:
    """One message at an issuer, with its repeats, its answers and its reversals."""

    first: Frame
    kind: str
    frames: list = field(default_factory=list)
    replies: list = field(default_factory=list)
    undos: list = field(default_factory=list)
    original: Optional["Ask"] = None
    payment: Optional[Payment] = None

    @property
    def issuer(self):
        """Its name."""
        return self.first.link.split(":", 1)[1]

    @property
    def rrn(self):
        """DE 37."""
        return self.first.get(37, "").strip()

    @property
    def answer(self):
        """The first answer that fits the question; what contradicts it counts as none."""
        return next((reply for reply in self.replies if usable(reply, self.first)), None)

    @property
    def approval(self):
        """An approval, whether or not it came in time."""
        return next((reply for reply in self.replies if approves(reply)), None)

    @property
    def minor(self):
        """What was approved, or else asked."""
        return self.approval.minor if self.approval and self.approval.get(4) else self.first.minor


def usable(reply, request):
    """DE 39 is there, DE 2 is the same, DE 4 is the same or, in a partial approval, less."""
    if not reply.code or (reply.get(2) and request.get(2) and reply.get(2) != request.get(2)):
        return False
    if not reply.get(4) or not request.get(4):
        return reply.code != "10"
    return reply.minor == request.minor or (reply.code == "10" and reply.minor < request.minor)


def kind_at_terminal(frame):
    """What a terminal asks for; `None` for what is no payment."""
    if frame.mti[1] not in "12" or not is_request(frame):
        return None
    code = frame.get(3, "")
    if frame.dialect == UNIONPAY:
        return UNIONPAY_KINDS.get((frame.mti, code, frame.get(60, "")[:2]))
    table = EDC_KINDS if frame.dialect == EDC else ASCII_KINDS
    return table.get((frame.mti[:3], code[:2]))


def key_of(frame):
    """What tells a message on an issuer link: MTI (not as a repeat), DE 11, DE 7, DE 32 in eleven digits."""
    return f"{frame.mti[:3]}0{frame.get(11, '')}{frame.get(7, '')}{frame.get(32, '').zfill(11)}"


@dataclass
class Story:
    """Everything that happened."""

    payments: list = field(default_factory=list)
    asks: list = field(default_factory=list)
    settlements: dict = field(default_factory=lambda: defaultdict(list))


def tell(record, findings):
    """Builds the story and joins its two sides."""
    story = Story()
    for link in record.links("terminal"):
        story.payments += payments_of(link, record.frames[link], story.settlements, findings)
    for link in record.links("issuer"):
        story.asks += asks_of(record.frames[link], findings)
    join(story, findings)
    for payment in story.payments:
        payment.original = original_of(payment, story.payments)
    return story


def payments_of(link, frames, settlements, findings):
    """A terminal's payments and reversals in order. An epoch is a batch of a terminal that does not number them."""
    payments, epoch = {}, 0
    for frame in frames:
        if not frame.mti or frame.malformed or frame.sender != "terminal":
            continue
        if frame.mti[1] == "5":
            settlements[link].append((epoch, frame))
            epoch += closes(frame)
        elif frame.mti[1] == "4" and frame.mac == "good":
            undone = reversed_by(frame, payments.values())
            if undone:
                undone.reversals.append(frame)
        elif frame.mti[1] in "12" and frame.mac == "good":
            kind = kind_at_terminal(frame)
            if kind is None:
                check_unknown(frame, findings)
                continue
            key = (frame.mti[:3], frame.get(3), frame.get(4), frame.get(11), frame.get(60), frame.pan, epoch)
            payment = payments.setdefault(key, Payment(frame, kind, epoch=epoch))
            payment.requests.append(frame)
    return list(payments.values())


def check_unknown(frame, findings):
    """What the judge has no name for must not be approved."""
    if approves(frame.reply):
        findings.add("an unknown transaction was approved", frame)


def closes(frame):
    """Whether a settlement exchange closes an EDC batch: agreed, or the trailer after an upload."""
    if frame.dialect != EDC or frame.reply is None:
        return 0
    codes = ("00", "77") if frame.get(3, "").startswith("92") else ("00",)
    return int(frame.reply.code in codes)


def reversed_by(frame, payments):
    """The latest payment with the reversal's trace number (and batch); DE 90 names it in ASCII."""
    stan = int(frame.get(90)[4:10]) if frame.get(90) else int(frame.get(11) or 0)
    batch = int(frame.get(60)[2:8]) if frame.dialect == UNIONPAY else None
    fits = [p for p in payments if p.stan == stan and p.batch == batch and p.first.get(3) == frame.get(3)]
    return fits[-1] if fits else None


def asks_of(frames, findings):
    """Messages at one issuer: payments by their key, reversals by their DE 90."""
    asks, undos = {}, {}
    for frame in frames:
        if frame.sender != "switch" or not frame.mti or not is_request(frame):
            continue
        if frame.mti[1] in "12":
            take_ask(frame, asks, findings)
        elif frame.mti[1] == "4":
            take_undo(frame, asks, undos, findings)
    for frame in frames:
        question = frame.request
        if question is None or frame.sender != "issuer":
            continue
        if question.mti[1] in "12" and key_of(question) in asks:
            asks[key_of(question)].replies.append(frame)
        elif question.mti[1] == "4" and key_of(question) in undos:
            undos[key_of(question)].replies.append(frame)
    return list(asks.values())


def take_ask(frame, asks, findings):
    """A first sending, or a repeat that must be marked as one and be the same otherwise."""
    known = asks.get(key_of(frame))
    if known is None:
        kind = ISSUER_KINDS.get((frame.mti[:3], frame.get(3, "")[:2], frame.get(25) == "06"))
        if kind is None:
            findings.add("a message to an issuer of no known kind", frame)
            return
        known = asks[key_of(frame)] = Ask(frame, kind)
        known.original = asks.get(frame.get(90)[:31]) if frame.get(90) else None
        if frame.get(90) and known.original is None:
            findings.add("DE 90 names no message of this link", frame)
    elif frame.mti[3] != "1":
        findings.add("an issuer is asked twice with one trace number and no repeat mark", frame)
    elif frame.get(4) != known.first.get(4) or frame.get(2) != known.first.get(2):
        findings.add("a repeat differs from what it repeats", frame)
    known.frames.append(frame)


def take_undo(frame, asks, undos, findings):
    """A reversal: DE 90 = MTI, DE 11, DE 7 and acquirer of an earlier message, the same card and amount."""
    ask = asks.get(frame.get(90, "")[:31])
    if ask is None:
        findings.add("a reversal's DE 90 names no message of this link", frame)
        return
    if frame.get(90)[31:] != "0" * 11:
        findings.add("DE 90 names a forwarder", frame)
    if frame.get(2) != ask.first.get(2):
        findings.add("a reversal of another card", frame, masked(ask.first.get(2)), masked(frame.get(2)))
    if frame.minor not in (ask.first.minor, ask.minor):
        findings.add("a reversal of another amount", frame, ask.minor, frame.minor)
    known = undos.get(key_of(frame))
    if known is None:
        known = undos[key_of(frame)] = Undo(frame)
        if ask.undos:
            findings.add("a second reversal of one message, not marked as the first one's repeat", frame)
        ask.undos.append(known)
    elif frame.mti[3] != "1":
        findings.add("a reversal is repeated without its mark", frame)
    known.frames.append(frame)


def join(story, findings):
    """Payments to asks: by RRN first, then what is left by terminal, card, amount and kind."""
    by_rrn = defaultdict(list)
    for ask in story.asks:
        by_rrn[ask.rrn].append(ask)
    for asks in by_rrn.values():
        if len(asks) > 1:
            findings.add("one RRN is at an issuer more than once", asks[1].first, "one message", f"{len(asks)}")
    for payment in story.payments:
        told = [reply.get(37).strip() for reply in payment.replies if reply.get(37)]
        for ask in (ask for rrn in told for ask in by_rrn.get(rrn, []) if ask.payment is None):
            if ask.first.get(41, "").strip() == payment.tid and payment.ask is None:
                payment.ask, ask.payment = ask, payment
    for leaves_open in (is_open, lambda payment: True):
        for payment in sorted(story.payments, key=lambda p: p.first.number):
            if payment.ask is None and leaves_open(payment):
                join_by_content(payment, story.asks)
    for ask in story.asks:
        if ask.payment is None:
            findings.add("an issuer was asked what no terminal asked", ask.first)


def is_open(payment):
    """It has no answer, or an approval: an issuer's message is due. A refused one is joined last."""
    return payment.approval is not None or any(request.reply is None for request in payment.requests)


def join_by_content(payment, asks):
    """The first free message that came after the request and says the same."""
    for ask in asks:
        fits = ask.payment is None and ask.kind == payment.kind and ask.first.minor == payment.first.minor
        here = ask.first.get(41, "").strip() == payment.tid and ask.first.pan == payment.first.pan
        if fits and here and ask.first.number > payment.first.number:
            payment.ask, ask.payment = ask, payment
            return


def original_of(payment, payments):
    """Which earlier payment a void, refund, cancel or completion names: by DE 90, else as the terminal says."""
    if payment.ask and payment.ask.original:
        return payment.ask.original.payment
    if payment.kind not in VOIDS | {"refund", "pre-auth-cancel", "completion", "completion-advice"}:
        return None
    frame = payment.first
    earlier = [p for p in payments if p.first.link == frame.link and p.first.number < frame.number]
    if frame.dialect == UNIONPAY and frame.get(61):
        batch, stan = int(frame.get(61)[:6]), int(frame.get(61)[6:12])
        earlier = [p for p in earlier if p.batch == batch and p.stan == stan]
    elif frame.get(37):
        earlier = [p for p in earlier if p.rrn == frame.get(37).strip()]
    else:
        earlier = []
    return earlier[-1] if earlier else None
