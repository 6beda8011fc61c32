#!/usr/bin/env python3
"""Reads an .npz and a .safetensors file by their formats' descriptions; both must hold the same.

Usage: read_weights.py FILE.npz FILE.safetensors
"""

import ast
import json
import struct
import sys
import zipfile


def read_npz(path):
    tensors = {}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            data = archive.read(name)
            assert name.endswith(".npy") and data[:8] == b"\x93NUMPY\x01\x00", name
            size = struct.unpack("<H", data[8:10])[0]
            assert (10 + size) % 64 == 0 and data[9 + size:10 + size] == b"\n", name
            header = ast.literal_eval(data[10:10 + size].decode())
            assert header["descr"] == "<f8" and header["fortran_order"] is False, header
            tensors[name[:-4]] = (list(header["shape"]), data[10 + size:])
    return tensors


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        assert size % 8 == 0
        header = json.loads(file.read(size))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F64", entry
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], data[begin:end])
    return tensors


def main():
    npz, safe = read_npz(sys.argv[1]), read_safetensors(sys.argv[2])
    assert npz and npz == safe
    for name, (shape, data) in npz.items():
        count = 8
        for size in shape:
            count *= size
        assert count == len(data), name


if __name__ == "__main__":
    main()
