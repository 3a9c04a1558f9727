"""Looks for secrets in the memory of a running process, as root, whatever it says about core images.

    memory_image.py PID    a secret a line on standard input, `name hexadecimal-octets`

Prints a line `name address` for every place, then `searched N octets`. Each secret is looked for as octets, and as
hexadecimal digits of either case. Exit 1 when nothing could be read.
"""

import sys

CHUNK = 1 << 20


def readable(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            span, mode = line.split()[:2]
            name = line.split()[5:]
            if mode[0] == "r" and name[:1] not in (["[vvar]"], ["[vsyscall]"]):
                first, last = (int(end, 16) for end in span.split("-"))
                yield first, last


def main(pid):
    secrets = []
    for line in sys.stdin:
        name, digits = line.split()
        octets = bytes.fromhex(digits)
        forms = [octets, digits.upper().encode(), digits.lower().encode()]
        secrets += [(name, form) for form in dict.fromkeys(forms)]
    overlap = max((len(form) for _, form in secrets), default=1) - 1
    searched = 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for first, last in readable(pid):
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
                for name, form in secrets:
                    place = window.find(form)
                    while place >= 0:
                        if place + len(form) > len(kept):
                            print(f"{name} {start + place:x}")
                        place = window.find(form, place + 1)
                kept = window[-overlap:] if overlap else b""
                at += len(part)
                searched += len(part)
    print(f"searched {searched} octets")
    return 0 if searched else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
