"""Ciphers by psec: operation, key, initial value or nothing, data; octets in hexadecimal."""
import sys
from psec import aes, des

OPERATIONS = {
    "aes ecb encrypt": lambda key, iv, data: aes.encrypt_aes_ecb(key, data),
    "aes ecb decrypt": lambda key, iv, data: aes.decrypt_aes_ecb(key, data),
    "aes cbc encrypt": aes.encrypt_aes_cbc,
    "aes cbc decrypt": aes.decrypt_aes_cbc,
    "des ecb encrypt": lambda key, iv, data: des.encrypt_tdes_ecb(key, data),
    "des ecb decrypt": lambda key, iv, data: des.decrypt_tdes_ecb(key, data),
    "des cbc encrypt": des.encrypt_tdes_cbc,
    "des cbc decrypt": des.decrypt_tdes_cbc,
    "des check value": lambda key, iv, data: des.generate_kcv(key, 8),
    "des parity": lambda key, iv, data: des.adjust_key_parity(key),
}

for line in sys.stdin:
    operation, key, iv, data = line.rstrip("\n").split("\t")
    print(OPERATIONS[operation](bytes.fromhex(key), bytes.fromhex(iv), bytes.fromhex(data)).hex())
