"""Looks for secrets in what a running process has written in its memory, as root: what a core image of it would hold,
whatever the process says about core images.

    memory_image.py PID    a secret a line on standard input, `name hexadecimal-octets`

An octet string is looked for as it is and, when it is of whole words of eight octets, as a machine that has the lowest
octet first keeps such words; that of an `Lmk` also as the data keys that are derived from it. Prints a line
`name address` for every place, then `searched N octets`. Exit 1 when nothing could be read.
"""

import hashlib
import hmac
import sys

CHUNK = 1 << 22
KEY = 32


def writable(pid):
    """What the program came with is no secret of its user: its constants are the program's file."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            span, mode = line.split()[:2]
            if "w" in mode:
                first, last = (int(end, 16) for end in span.split("-"))
                yield first, last


def derived(lmk):
    """NIST SP 800-108, 4.1, with HMAC-SHA256: one step."""
    for label in (b"PAN sealing", b"PAN look-up"):
        yield hmac.digest(lmk, b"\0\0\0\1" + label + b"\0" + b"\0\0\1\0", hashlib.sha256)


def read_secrets(lines):
    secrets = {}
    for line in lines:
        name, digits = line.split()
        octets = bytes.fromhex(digits)
        secrets[octets] = name
        if len(octets) % 8 == 0:
            secrets[b"".join(octets[at : at + 8][::-1] for at in range(0, len(octets), 8))] = name
        if name == "Lmk" and len(octets) == KEY:
            secrets.update((key, "DataKey") for key in derived(octets))
    return secrets


def main(pid):
    secrets = read_secrets(sys.stdin)
    overlap = max(map(len, secrets), default=1) - 1
    searched = 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for first, last in writable(pid):
            kept, at = b"", first
            while at < last:
                try:
                    memory.seek(at)
                    part = memory.read(min(CHUNK, last - at))
                except (OSError, ValueError):
                    break
                if not part:
                    break
                window, start = kept + part, at - len(kept)
                # Most of what is reserved was never touched.
                for octets, name in secrets.items() if window.strip(b"\0") else ():
                    place = window.find(octets)
                    while place >= 0:
                        if place + len(octets) > len(kept):
                            print(f"{name} {start + place:x}")
                        place = window.find(octets, place + 1)
                kept = window[-overlap:] if overlap else b""
                at += len(part)
                searched += len(part)
    print(f"searched {searched} octets")
    return 0 if searched else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
