"""Writes the UCI handwritten digits as images: data/digits/{train,test}/<digit>.png.

1,797 pictures of 8 x 8 pixels (UCI ML repository, "Optical Recognition of Handwritten Digits", the copy that
scikit-learn carries). Each file is a sheet of one digit, 16 pictures a row: few files travel faster.

The bytes never change, whatever zlib or Pillow is installed: DVC pins them by their md5.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

COLUMNS, TILE = 16, 8
TEST_EVERY = 5  # each fifth picture is for the test


def main() -> None:
    root = Path(__file__).parent / "data" / "digits"
    digits = load_digits()
    pictures = (digits.images * 15).astype(np.uint8)  # 0..16 -> 0..240
    is_test = np.arange(len(pictures)) % TEST_EVERY == 0
    for split, chosen in (("train", ~is_test), ("test", is_test)):
        for digit in range(10):
            file = root / split / f"{digit}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(sheet(pictures[chosen & (digits.target == digit)])))
    print(f"{root}: {len(pictures)} pictures in 20 sheets")


def sheet(tiles: np.ndarray) -> np.ndarray:
    """(n, 8, 8) -> (rows * 8, 128); what is missing in the last row stays black."""
    rows = -(-len(tiles) // COLUMNS)
    full = np.zeros((rows * COLUMNS, TILE, TILE), np.uint8)
    full[: len(tiles)] = tiles
    return full.reshape(rows, COLUMNS, TILE, TILE).swapaxes(1, 2).reshape(rows * TILE, COLUMNS * TILE)


def png(gray: np.ndarray) -> bytes:
    """An 8-bit grayscale PNG whose pixels are stored, not compressed: no library's choice is in the bytes."""
    height, width = gray.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in gray)  # filter 0 on each line
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stored(lines)) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def stored(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of one stored block (RFC 1951, 3.2.4), which holds at most 65,535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"a sheet of {len(data)} bytes does not fit one stored block")
    block = b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    return b"\x78\x01" + block + struct.pack(">I", zlib.adler32(data))


if __name__ == "__main__":
    main()
