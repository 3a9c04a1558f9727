"""Keys, MACs, PIN blocks and tracks of every frame, recomputed; nothing is believed that the switch says of itself.

A terminal link has generations of working keys: static ones from a note, or one for each UnionPay sign-on answer,
opened here under the TMK. Until a terminal's first MAC under a new generation the earlier ones count as well (its
sign-on answer may have been lost); from then on they do not.
"""

from wire_codec import ASCII, EDC, UNIONPAY
from wire_crypto import BadKeys, clear_pin, clear_track, retail_mac, unionpay_mac, working_keys
from wire_record import approves, is_request

# What a terminal is answered without a MAC: it cannot check one, or nothing was believed.
BARE = {
    UNIONPAY: {"A0", "99", "97", "77", "A7", "30", "03", "96"},
    EDC: {"63", "89", "77", "03", "30", "96"},
    ASCII: {"63", "58", "03", "30", "96"},
}
BAD_MAC = {UNIONPAY: "A0", EDC: "63", ASCII: "63"}
BAD_PIN = {UNIONPAY: "99", EDC: "63", ASCII: "63"}


class Session:
    """The key generations of one link."""

    def __init__(self, tmk):
        self.tmk = tmk
        self.generations = []
        self.proven = 0

    def add(self, keys):
        """A generation, unless it is the newest one said again (a note after its sign-on answer)."""
        known = [g for g in self.generations if all(g.get(name) == key for name, key in keys.items())]
        if not known:
            self.generations.append(keys)

    def matching(self, frame):
        """The generation under which the frame's MAC is right, newest first."""
        make = unionpay_mac if frame.dialect == UNIONPAY else retail_mac
        for place in range(len(self.generations) - 1, self.proven - 1, -1):
            tak = self.generations[place].get("tak") or self.generations[place].get("zak")
            if tak and make(tak, frame.mac_data) == frame.mac_octets:
                return place
        return None

    def key(self, frame, name):
        """A key of the generation that the frame's MAC matched."""
        return None if frame.generation is None else self.generations[frame.generation].get(name)


def noted(line):
    """The keys of a note as octets."""
    names = ("tpk", "tak", "tdk", "zpk", "zak")
    return {name: bytes.fromhex(line[name]) for name in names if line.get(name)}


def secure(record, findings):
    """Checks every link; afterwards frames carry their PAN, track and PIN in clear."""
    for link in record.links("terminal"):
        terminal_link(record, link, findings)
    for link in record.links("issuer"):
        issuer_link(record, link, findings)


def terminal_link(record, link, findings):
    """Walks a terminal's frames in order, notes of keys between them."""
    notes = list(record.keys[link])
    tmk = next((bytes.fromhex(line["tmk"]) for _, line in notes if line.get("tmk")), None)
    session = Session(tmk)
    for frame in record.frames[link]:
        while notes and notes[0][0] < frame.number:
            add_noted(session, notes.pop(0)[1], link, findings)
        if not frame.mti or frame.malformed:
            continue
        if frame.sender == "terminal":
            terminal_frame(frame, session, findings)
        else:
            reply_frame(frame, session, findings)
    for _, line in notes:
        add_noted(session, line, link, findings)


def add_noted(session, line, link, findings):
    """A UnionPay terminal notes what it took from DE 62: that must be what the judge found there."""
    keys = noted(line)
    if line.get("tmk") and session.generations and keys not in session.generations:
        findings.add("a terminal works with keys that no sign-on answer brought", link)
    session.add(keys)


def terminal_frame(frame, session, findings):
    """A request: its MAC, then its card data in clear."""
    if not frame.mac_field:
        frame.mac = "absent"
    else:
        frame.generation = session.matching(frame)
        frame.mac = "bad" if frame.generation is None else "good"
        session.proven = session.proven if frame.generation is None else frame.generation
    if frame.mac == "good" or not needs_mac(frame):
        open_card(frame, session, findings)
    if needs_mac(frame) and frame.mac != "good":
        check_refused(frame, BAD_MAC[frame.dialect], "MAC", findings)
    elif frame.get(52) and frame.pin is None:
        check_refused(frame, BAD_PIN[frame.dialect], "PIN block", findings)


def needs_mac(frame):
    """Authorizations, financial messages, reversals; UnionPay script results."""
    return frame.mti[1] in "124" or (frame.dialect == UNIONPAY and frame.mti[1] == "6")


def check_refused(frame, code, what, findings):
    """A wrong or missing MAC or an unreadable PIN block is answered so."""
    if frame.reply is None:
        findings.add(f"a wrong {what} was not answered", frame, code, "nothing")
    elif frame.reply.code != code and not (what == "MAC" and frame.reply.code in BARE[frame.dialect]):
        findings.add(f"a wrong {what} was not refused", frame, code, frame.reply.code)


def open_card(frame, session, findings):
    """DE 2, DE 35 (through the TDK where DE 53 says so) and DE 52 in clear."""
    track = frame.get(35)
    if track and frame.dialect == UNIONPAY and frame.get(53, "000")[2] == "1":
        tdk = session.key(frame, "tdk")
        track = clear_track(tdk, track) if tdk else None
        if track is None:
            findings.add("an encrypted track without a TDK in force", frame)
    if track:
        frame.track = track.replace("=", "D")
        if "D" not in frame.track:
            findings.add("a track without separator: wrong key or wrong place", frame)
    frame.pan = frame.get(2) or (frame.track.split("D")[0] if frame.track else None)
    tpk = session.key(frame, "tpk")
    if frame.get(52) and frame.pan and tpk:
        frame.pin = clear_pin(tpk, bytes.fromhex(frame.get(52)), frame.pan)


def reply_frame(frame, session, findings):
    """An answer: keys of a sign-on, then its MAC under the generation of its request."""
    if frame.dialect == UNIONPAY and frame.mti == "0810" and frame.code == "00":
        take_sign_on(frame, session, findings)
    request = frame.request
    if request is None:
        return
    if request.malformed:
        if needs_mac(request) and approves(frame):
            findings.add("a malformed message was approved", frame)
        return
    if frame.mac_field:
        frame.generation = session.matching(frame)
        frame.mac = "bad" if frame.generation is None else "good"
        if frame.mac == "bad":
            findings.add("the switch's MAC is wrong", frame)
        elif request.generation is not None and frame.generation != request.generation:
            findings.add("an answer under another key generation than its request", frame)
        if request.mac != "good" and needs_mac(request):
            findings.add("an answer with a MAC to a request without a right one", frame)
    elif needs_mac(request) and (approves(frame) or frame.code not in BARE[frame.dialect]):
        findings.add("an answer without the MAC that it must carry", frame, "DE 64", "none")
    if request.mac == "good" and frame.dialect == UNIONPAY and frame.code == BAD_MAC[UNIONPAY]:
        findings.add("a right MAC was refused", frame)
    check_echo(frame, request, findings)


def take_sign_on(frame, session, findings):
    """DE 62 of a sign-on answer under the TMK; the form is the one that was asked for in DE 60.3."""
    form = frame.get(60, "")[8:11]
    if form not in ("001", "003", "004"):
        return
    if session.tmk is None:
        findings.add("a sign-on without a note of the TMK", frame)
    elif 62 not in frame.fields:
        findings.add("a sign-on answer without keys", frame)
    else:
        try:
            session.add(working_keys(form, bytes.fromhex(frame.get(62)), session.tmk))
        except BadKeys as fault:
            findings.add(f"DE 62: {fault}", frame)


def check_echo(frame, request, findings):
    """What comes back: TPDU swapped, header but for its processing digit, DE 3, 4, 11, 24, 41, 42, 49, 60."""
    swapped = request.tpdu[:1] + request.tpdu[3:5] + request.tpdu[1:3]
    if frame.tpdu != swapped:
        findings.add("the TPDU is not the request's, swapped", frame, swapped.hex(), frame.tpdu.hex())
    masks = (0xFF, 0xFF, 0xF0, 0xFF, 0xFF, 0xFF)
    if any((a ^ b) & mask for a, b, mask in zip(frame.header, request.header, masks)):
        findings.add("the header is not the request's", frame, request.header.hex(), frame.header.hex())
    for de in (3, 11, 24, 41, 42, 49) + ((60, 62) if frame.dialect == EDC else ()):
        if de in frame.fields and de in request.fields and frame.get(de) != request.get(de):
            findings.add(f"DE {de} is not the request's", frame, request.get(de), frame.get(de))
    if frame.dialect == UNIONPAY and 60 in frame.fields:
        # A sign-on answer brings the terminal's batch number in DE 60.2.
        cut = (lambda text: text[:2] + text[8:]) if frame.mti == "0810" else (lambda text: text)
        if cut(frame.get(60)) != cut(request.get(60, "")):
            findings.add("DE 60 is not the request's", frame, request.get(60), frame.get(60))
    must = [3, 11, 41] if needs_mac(request) and request.mac == "good" else []
    for de in must:
        if de in request.fields and de not in frame.fields:
            findings.add(f"DE {de} is not echoed", frame)
    if 4 in frame.fields and 4 in request.fields and frame.code != "10" and frame.minor != request.minor:
        findings.add("DE 4 is not the request's", frame, request.minor, frame.minor)


def issuer_link(record, link, findings):
    """MACs of an issuer link where it has a ZAK, and PIN blocks under its ZPK."""
    session = Session(None)
    for _, line in record.keys[link]:
        session.add(noted(line))
    zpk = next((g["zpk"] for g in session.generations if "zpk" in g), None)
    has_zak = any("zak" in g for g in session.generations)
    for frame in record.frames[link]:
        if not frame.mti or frame.malformed:
            continue
        if frame.mac_field:
            frame.generation = session.matching(frame)
            frame.mac = "bad" if frame.generation is None else "good"
            if frame.mac == "bad":
                findings.add(
                    "a MAC on an issuer link is wrong" if has_zak else "a MAC without a note of its ZAK", frame
                )
        elif has_zak and needs_mac(frame):
            findings.add("an issuer link with a ZAK carries a message without MAC", frame, "DE 128", "none")
        open_issuer_card(frame, zpk, findings)


def open_issuer_card(frame, zpk, findings):
    """Towards an issuer tracks are clear; a PIN block must open with the PAN of its message."""
    frame.track = frame.get(35).replace("=", "D") if frame.get(35) else None
    frame.pan = frame.get(2) or (frame.track.split("D")[0] if frame.track else None)
    if not frame.get(52):
        return
    if zpk is None:
        findings.add("a PIN block without a note of the ZPK", frame)
        return
    frame.pin = clear_pin(zpk, bytes.fromhex(frame.get(52)), frame.pan or "")
    if frame.pin is None and is_request(frame):
        findings.add("a PIN block does not open under the ZPK", frame)
