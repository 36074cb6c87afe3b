"""Find what is missing from a TIFF file, and what it holds too much of, before its pixels are decoded.

Pillow and tifffile ignore missing parts, and tifffile inflates compressed parts to any size.
"""

import lzma
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cvkit.inputs import open_file

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; the last two are BigTIFF
# Numbers of the tags that are needed to decode pixels: sections 3 to 8, 14, 15 and 18 to 19.
_PIXEL_TAGS = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339})
_WIDTH, _LENGTH, _STRIP_OFFSETS, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP = 256, 257, 273, 277, 278
_PLANAR_CONFIGURATION, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 284, 322, 323, 324
_PLANE_BY_PLANE = 2
_TYPE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes per value, or 1
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of the types of one unsigned integer, their codes in ``struct``
_UNCOMPRESSED, _DEFLATE, _LZMA = 1, (8, 32946), 34925  # values of the compression that tifffile itself can inflate
_MAX_SAMPLE_BYTES = 8
_BLOCK = 1 << 20  # bytes that are inflated at a time


def is_tiff(path: Path) -> bool:
    """Tell by its first bytes whether a file is a TIFF file."""
    with open_file(path) as stream:
        return stream.read(4) in SIGNATURES


def find_damage(path: Path) -> str:
    """Return what is cut off of the tags that describe the pixels, or "": Pillow and tifffile ignore such tags.

    Source: TIFF 6.0, section 2; BigTIFF has 64-bit offsets and counts.
    """
    with open_file(path) as stream:
        head = stream.read(16)
        order = "<" if head[:1] == b"I" else ">"
        big = head[:4] in SIGNATURES[2:]
        offset, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
        (start,) = struct.unpack_from(f"{order}{offset}", head, 8 if big else 4)
        end = path.stat().st_size
        stream.seek(min(start, end))
        number = int.from_bytes(stream.read(struct.calcsize(count)), "little" if order == "<" else "big")
        size = struct.calcsize(f"<{entry}") * number
        directory = stream.read(min(size, end))
    if len(directory) < max(1, size):
        return "the directory of tags is cut off"
    values: dict[int, int] = {}
    lengths: dict[int, int] = {}
    for tag, kind, length, value in struct.iter_unpack(f"{order}{entry}", directory):
        bytes_ = length * _TYPE_SIZES.get(kind, 1)
        if tag in _PIXEL_TAGS and bytes_ > len(value) and struct.unpack(f"{order}{offset}", value)[0] + bytes_ > end:
            return f"the value of tag {tag} is cut off"
        lengths[tag] = length
        if length == 1 and kind in _INTEGERS:
            (values[tag],) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", value)
    return _missing_segments(values, lengths)


def _missing_segments(values: Mapping[int, int], lengths: Mapping[int, int]) -> str:
    """Return which strips or tiles are missing, or "": Pillow and tifffile leave their pixels black.

    Args:
        values: Value of each tag that is one integer.
        lengths: Number of values of each tag.
    """
    width, height = values.get(_WIDTH, 0), values.get(_LENGTH, 0)
    planes = values.get(_SAMPLES_PER_PIXEL, 1) if values.get(_PLANAR_CONFIGURATION) == _PLANE_BY_PLANE else 1
    rows = min(values.get(_ROWS_PER_STRIP, height), height)
    across, down = values.get(_TILE_WIDTH, 0), values.get(_TILE_LENGTH, 0)
    needed = {
        _STRIP_OFFSETS: -(-height // rows) * planes if rows else 0,
        _TILE_OFFSETS: -(-width // across) * -(-height // down) * planes if across and down else 0,
    }
    for tag, count in needed.items():
        if tag in lengths and lengths[tag] < count:
            return f"it has {lengths[tag]} of {count} strips or tiles"
    return ""


def check_inflated_size(path: Path, tags: Mapping[str, Any]) -> None:
    """Check that no compressed strip or tile holds more bytes than the image: tifffile would inflate all of them.

    Args:
        path: The file.
        tags: The tags of its first image by name.

    Raises:
        ValueError: A strip or tile holds more bytes.
    """
    compression = int(tags.get("Compression", _UNCOMPRESSED))
    if compression not in (*_DEFLATE, _LZMA):
        return
    kind = "Tile" if "TileOffsets" in tags else "Strip"
    segments = zip(*(np.atleast_1d(tags[f"{kind}{what}"]).tolist() for what in ("Offsets", "ByteCounts")), strict=True)
    pixels = max(
        int(tags["ImageWidth"]) * int(tags["ImageLength"]),
        int(tags.get("TileWidth", 0)) * int(tags.get("TileLength", 0)),
    )
    limit = pixels * int(tags.get("SamplesPerPixel", 1)) * _MAX_SAMPLE_BYTES
    with open_file(path) as stream:
        for offset, length in segments:
            stream.seek(offset)
            left = limit
            for size in _inflated_sizes(stream.read(length), compression):
                left -= size
                if left < 0:
                    raise ValueError("a strip or tile holds more bytes than the whole image")


def _inflated_sizes(data: bytes, compression: int) -> Iterator[int]:
    """Yield the sizes of the blocks into which data is inflated, until it ends."""
    if compression == _LZMA:
        lzma_decompressor = lzma.LZMADecompressor()
        while not lzma_decompressor.eof and (block := lzma_decompressor.decompress(data, _BLOCK)):
            data = b""
            yield len(block)
        return
    inflate = zlib.decompressobj()
    while data and (block := inflate.decompress(data, _BLOCK)):
        data = inflate.unconsumed_tail
        yield len(block)
