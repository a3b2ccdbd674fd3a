#!/usr/bin/env python3
"""Which architectures a library holds, read off the section .nv_fatbin.

    fatbin.py LIBRARY ARCHITECTURE…     each needs machine code, the last one PTX as well; exit status 1: missing
"""
import struct
import sys

MAGIC, PTX, ELF = 0xBA55ED50, 1, 2


def section(data, wanted):
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    strings = headers[names][4]
    for header in headers:
        start = strings + header[0]
        if data[start:data.index(b"\0", start)].decode() == wanted:
            return data[header[4]:header[4] + header[5]]
    sys.exit(f"there is no section {wanted}")


def entries(data):
    at = 0
    while at + 16 <= len(data):
        magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 8
            continue
        part, end = at + header, at + header + size
        while part < end:
            kind, _, length, payload = struct.unpack_from("<HHIQ", data, part)
            architecture, = struct.unpack_from("<I", data, part + 28)
            yield kind, architecture
            part += length + payload
        at = end


library = open(sys.argv[1], "rb").read()
found = set(entries(section(library, ".nv_fatbin")))
wanted = {(ELF, int(a)) for a in sys.argv[2:]} | {(PTX, int(sys.argv[-1]))}
print("machine code:", sorted(a for k, a in found if k == ELF), "PTX:", sorted(a for k, a in found if k == PTX))
sys.exit(not wanted <= found)
