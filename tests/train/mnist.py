#!/usr/bin/env python3
"""MNIST's test set (idx files, gzip) as an .npz: "x" [10000, 28, 28] and "y" [10000], uint8. Needs no NumPy.

usage: mnist.py FOLDER OUT.npz [ROWS]
"""
import gzip
import os
import struct
import sys
import zipfile


def read_idx(path):
    data = gzip.open(path).read()
    n_dims = data[3]
    shape = struct.unpack(">" + "I" * n_dims, data[4:4 + 4 * n_dims])
    return shape, data[4 + 4 * n_dims:]


def npy(shape, data, descr="|u1"):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (descr, "".join("%d, " % size for size in shape))
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def write_npz(path, arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(name + ".npy", content)


if __name__ == "__main__":
    folder, out = sys.argv[1:3]
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 10000
    shape, pixels = read_idx(os.path.join(folder, "t10k-images-idx3-ubyte.gz"))
    _, labels = read_idx(os.path.join(folder, "t10k-labels-idx1-ubyte.gz"))
    write_npz(out, {"x": npy((rows,) + shape[1:], pixels[:rows * shape[1] * shape[2]]), "y": npy((rows,), labels[:rows])})
