"""The wire record: its lines read, decoded and paired into questions and answers.

Order in the record is trusted within a link only: two links are recorded by two parties.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from wire_codec import ASCII, EDC, UNIONPAY, Frame, Undecodable, content_faults, decode, response_mti

# Notes that announce octets which need not be a message; the switch may answer them.
PARDONS = ("malformed", "raw octets", "stopped mid-frame", "truncated")


def masked(text):
    """A card number for people: first six, last four."""
    return f"{text[:6]}{'*' * max(len(text) - 10, 0)}{text[-4:]}" if text else "none"


class Findings:
    """What is wrong, one line each."""

    def __init__(self):
        self.lines = []

    def add(self, what, frame=None, expected=None, found=None):
        """`frame` may be a frame or a text that names the place."""
        line = f"FAIL {what}"
        if isinstance(frame, Frame):
            line += f" · {frame.link} frame {frame.number} {frame.mti or 'unread'}"
        elif frame:
            line += f" · {frame}"
        if expected is not None or found is not None:
            line += f" · expected {expected}, found {found}"
        self.lines.append(line)


@dataclass
class Record:
    """Frames by link, notes of keys by link, cards by number, and what could not be paired."""

    frames: dict = field(default_factory=lambda: defaultdict(list))
    keys: dict = field(default_factory=lambda: defaultdict(list))
    cards: dict = field(default_factory=dict)
    count: int = 0

    def links(self, kind):
        """Names of the links of a kind, `terminal` or `issuer`."""
        return sorted(link for link in self.frames if link.startswith(kind + ":"))


def read_lines(path):
    """The lines of a JSON-lines file with their numbers, from 1."""
    with open(path, encoding="utf-8") as file:
        return [(number, json.loads(line)) for number, line in enumerate(file, 1) if line.strip()]


def load(lines, findings):
    """Reads the record and pairs its frames."""
    record, pardoned = Record(), set()
    unasked = defaultdict(int)
    for number, line in lines:
        link = line.get("link", "")
        if "hex" not in line:
            take_note(record, line, number, link, pardoned, unasked)
            continue
        if not line["hex"]:
            continue
        frame = Frame(number, line.get("us", 0), link, line["from"], line["dialect"], bytes.fromhex(line["hex"]))
        frame.malformed = link in pardoned and frame.sender != "switch"
        if frame.malformed:
            pardoned.discard(link)
        record.count += 1
        read_frame(frame, findings)
        record.frames[link].append(frame)
    for link, frames in record.frames.items():
        pair(frames, unasked[link], findings)
    return record


def take_note(record, line, number, link, pardoned, unasked):
    """Keys and cards are kept; a pardon holds for the next frame of its link."""
    note = line.get("note", "")
    if note == "keys":
        record.keys[link].append((number, line))
    elif note == "card":
        record.cards[line["pan"]] = line
    elif note.startswith("malformed") or note.startswith("truncated"):
        pardoned.add(link)
        unasked[link] += 1
    elif note.startswith(PARDONS):
        unasked[link] += 1


def read_frame(frame, findings):
    """Decodes a frame; one that is malformed on purpose may fail."""
    try:
        decode(frame)
    except (Undecodable, ValueError) as fault:
        if not frame.malformed:
            findings.add(f"a frame does not decode: {fault}", frame)
        return
    faults = content_faults(frame)
    for de in faults if not frame.malformed else []:
        findings.add(f"DE {de} holds characters that it may not", frame)
    if faults:
        frame.mti = ""


def is_request(frame):
    """An even function digit asks."""
    return len(frame.mti) == 4 and frame.mti[2] in "02468"


def pair(frames, unasked, findings):
    """Joins each answer to the latest question that it fits; further answers to a question are kept with it."""
    asked = []
    for frame in frames:
        if not frame.mti:
            continue
        if is_request(frame):
            asked.append(frame)
            continue
        fits = [q for q in asked if q.sender != frame.sender and answers(frame, q)]
        open_ones = [q for q in fits if q.reply is None]
        question = (open_ones or fits or [None])[-1]
        if question is None:
            if frame.sender == "switch" and frame.link.startswith("terminal:"):
                unasked -= 1
                if unasked < 0:
                    findings.add("an answer to nothing that was asked", frame)
                elif frame.mti[1] in "12" and approves(frame):
                    findings.add("what could not be read was approved", frame)
            continue
        frame.request = question
        if question.reply is None:
            question.reply = frame
        elif frame.link.startswith("terminal:"):
            findings.add("a second answer to one request", frame, "one answer", f"also frame {question.reply.number}")


def answers(reply, request):
    """MTI and trace number; towards an issuer also DE 7. An issuer may normalise the rest."""
    if reply.mti != response_mti(request.mti):
        return False
    named = (7, 11) if request.link.startswith("issuer:") else (11, 41)
    return all(same(request.get(de), reply.get(de)) for de in named)


def same(one, other):
    """Equal, or one of them absent."""
    return one is None or other is None or one.strip() == other.strip()


APPROVED = {
    UNIONPAY: {"00", "10", "11", "16", "A2", "A4", "A5", "A6"},
    EDC: {"00", "08", "10", "11"},
    ASCII: {"00", "08", "10", "11", "16", "85"},
}


def approves(frame):
    """Whether an answer approves, in its dialect's words."""
    return frame is not None and frame.code in APPROVED[frame.dialect]
