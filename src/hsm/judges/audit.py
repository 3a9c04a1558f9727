"""Checks the chain of an audit file: hashlib and json only, written apart from the product.

    audit.py FILE    exit 0 and the number of records, or exit 3 and the first line that is wrong
"""

import hashlib
import json
import sys


def main(path):
    previous, records = "0" * 64, 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                record = json.loads(raw)
                covered = raw[: raw.rindex(b',"hash":"')]
                whole = raw.endswith(b'"}\n')
                good = (
                    whole
                    and hashlib.sha256(covered).hexdigest() == record["hash"]
                    and record["previous"] == previous
                    and record["sequence"] == number
                )
            except (ValueError, KeyError, TypeError):
                good = False
            if not good:
                print(f"line {number}")
                return 3
            previous, records = record["hash"], records + 1
    print(records)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
