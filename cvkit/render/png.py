"""Encode arrays as PNG files, fast enough to keep up with a network that predicts maps."""

import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cvkit.render.colour import to_uint8, to_uint16

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types (PNG specification, section 11.2.1)
UP_FILTER = (
    2  # each byte is stored as its difference from the byte above (section 9.2), which turns a smooth map into runs
)


def encode_png(array: NDArray[Any], bits: Literal[8, 16] = 8, compress_level: int = 1) -> bytes:
    """Encode an array as a PNG file.

    Args:
        array: (H, W) or (H, W, 3). Floats are in 0..1 and rounded to the nearest level; uint8 (for 8 bits) and uint16
            (for 16 bits) are stored unchanged.
        bits: Bits per channel.
        compress_level: From 1 (fastest, and small enough for smooth maps) to 9.

    Raises:
        ValueError: The shape, the dtype or the number of bits is another one.
    """
    pixels = _pixels(array, bits)
    height, width = pixels.shape[:2]
    colour = GREY if pixels.ndim == 2 else RGB
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    # For the differences of 8-bit images, run-length encoding is smaller and faster than zlib's fastest search.
    # The noisy low bytes of 16-bit maps have few runs.
    strategy = zlib.Z_RLE if bits == 8 and compress_level == 1 else zlib.Z_DEFAULT_STRATEGY
    packer = zlib.compressobj(compress_level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    body = packer.compress(_filtered_rows(pixels).data) + packer.flush()
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
    stored[:, 0] = UP_FILTER
    stored[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=stored[1:, 1:])  # modulo 256, as the filter is defined
    return stored


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))
