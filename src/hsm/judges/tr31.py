"""Key blocks by psec.

wrap: version, KBPK, header fields, key, masked length, pad, id and data of each optional block; the block.
unwrap: KBPK, block; header fields, key, and id and data of each optional block, or "refused".
"""
import sys
from psec import tr31

for line in sys.stdin:
    what, *words = line.rstrip("\n").split("\t")
    if what == "wrap":
        version, kbpk, fields, key, masked, pad, *optional = words
        pad = bytes.fromhex(pad)
        tr31._urandom = lambda octets: pad[:octets]
        header = tr31.Header(version, fields[:2], fields[2], fields[3], fields[4:6], fields[6])
        for block, data in zip(optional[::2], optional[1::2]):
            header.blocks[block] = data
        print(tr31.wrap(bytes.fromhex(kbpk), header, bytes.fromhex(key), int(masked)))
    else:
        kbpk, text = words
        try:
            header, key = tr31.unwrap(bytes.fromhex(kbpk), text)
        except ValueError:
            print("refused")
            continue
        fields = [header.key_usage, header.algorithm, header.mode_of_use, header.version_num, header.exportability]
        optional = [word for pair in header.blocks.items() for word in pair]
        print("\t".join(["".join(fields), key.hex(), *optional]))
