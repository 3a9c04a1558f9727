"""MACs of ISO/IEC 9797-1 by psec: algorithm, padding method, key, data."""
import sys
from psec import mac

for line in sys.stdin:
    algorithm, padding, key, data = line.rstrip("\n").split("\t")
    padding, key, data = int(padding), bytes.fromhex(key), bytes.fromhex(data)
    if algorithm == "1":
        found = mac.generate_cbc_mac(key, data, padding)
    else:
        found = mac.generate_retail_mac(key[:8], key[8:], data, padding)
    print(found.hex().upper())
