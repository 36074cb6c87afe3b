"""Encode arrays as PNG files, fast enough to keep up with a network that predicts maps."""

import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cvkit.render.colour import to_uint8, to_uint16

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types (PNG specification, section 11.2.1)
# Filters (section 9.2): each byte is stored as its difference from the same byte of the pixel on the left, or above it,
# which turns a smooth map into runs.
SUB_FILTER, UP_FILTER = 1, 2


def encode_png(array: NDArray[Any], bits: Literal[8, 16] = 8) -> bytes:
    """Encode an array as a PNG file.

    The data is compressed by ISA-L at its level 1. Maps of 800x600 pixels take 0.4 ms (8 bits) and 1.3 ms (16 bits);
    zlib at its fastest takes 2.9 and 9 ms for files of about the same size.

    Args:
        array: (H, W) or (H, W, 3). Floats are in 0..1 and rounded to the nearest level; uint8 (for 8 bits) and uint16
            (for 16 bits) are stored unchanged.
        bits: Bits per channel.

    Raises:
        ValueError: The shape, the dtype or the number of bits is another one.
    """
    from isal import isal_zlib

    pixels = _pixels(array, bits)
    height, width = pixels.shape[:2]
    colour = GREY if pixels.ndim == 2 else RGB
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = isal_zlib.compress(_filtered_rows(pixels).data, 1)
    return b"".join((SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", body), _chunk(b"IEND", b"")))


def _pixels(array: NDArray[Any], bits: int) -> NDArray[Any]:
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
        raise ValueError(f"a PNG is made from an array (H, W) or (H, W, 3): {array.shape}")
    if bits not in (8, 16):
        raise ValueError(f"a PNG has 8 or 16 bits a channel: {bits}")
    if np.issubdtype(array.dtype, np.floating):
        return to_uint8(array) if bits == 8 else to_uint16(array)
    if array.dtype != np.dtype(f"uint{bits}"):
        raise ValueError(f"a PNG of {bits} bits is made from floats 0..1 or uint{bits}: {array.dtype}")
    return array


def _filtered_rows(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the rows in the layout of PNG: (H, 1 + bytes per row), the filter number first, big-endian samples."""
    samples = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    rows = samples.view(np.uint8).reshape(pixels.shape[0], -1)
    stored = np.empty((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    # The differences are modulo 256. For maps of 16 bits, SUB makes files smaller by a quarter than UP; for maps of
    # 8 bits, UP makes them slightly smaller.
    if pixels.dtype.itemsize == 2:
        step = rows.shape[1] // pixels.shape[1]  # bytes per pixel
        stored[:, 0] = SUB_FILTER
        stored[:, 1 : 1 + step] = rows[:, :step]
        np.subtract(rows[:, step:], rows[:, :-step], out=stored[:, 1 + step :])
    else:
        stored[:, 0] = UP_FILTER
        stored[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=stored[1:, 1:])
    return stored


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))
