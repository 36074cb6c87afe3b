"""Read numbers, cells and structs from MATLAB files of version 5 to 7.2, which data sets of fixations use.

``scipy.io.loadmat`` reads more kinds of content, but damaged files can make it crash the process.

Source: MAT-File Format, The MathWorks, chapter 1 ("Level 5 MAT-Files").
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import DataError
from cvkit.inputs import open_file
from cvkit.messages import first_line

MatValue: TypeAlias = "NDArray | list[dict[str, MatValue]] | None"

_HEADER_BYTES, _ORDERS = 128, {b"IM": "<", b"MI": ">"}
_VERSION_7_3 = 0x0200  # an HDF5 file
# Tables 1-1 and 1-3: data types of elements, and classes of arrays. uint8 with the flag of logical arrays is bool.
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STRUCT = 2
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_LOGICAL_FLAG = 0x0200
_MAX_BYTES = 2**28  # of an inflated variable
_MAX_DEPTH = 16  # of structs inside structs


def read_mat(path: Path) -> dict[str, MatValue]:
    """Read the variables of a MATLAB file.

    Args:
        path: The file.

    Returns:
        By name: an array of numbers or booleans, a list with one dictionary per entry of a struct array, or None for
        other content (text, cells, sparse arrays, objects).

    Raises:
        DataError: The file cannot be opened, is damaged, or is of version 4 or 7.3.
    """
    with open_file(path) as stream:
        content = stream.read()
    try:
        order = _ORDERS[content[126:128]]
        if struct.unpack_from(f"{order}H", content, 124)[0] == _VERSION_7_3:
            raise DataError(f"{path}: a MATLAB 7.3 file; save it with -v7 to read it here.")
        return dict(_variables(_Elements(content[_HEADER_BYTES:], order)))
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{path}: not a readable .mat file (no MATLAB file of version 5 to 7.2).") from error
    except Exception as error:
        raise DataError(f"{path}: not a readable .mat file ({first_line(error, 120)}).") from error


class _Elements:
    """A sequence of data elements, each with its data type, in the byte order of the file (``<`` or ``>``)."""

    def __init__(self, content: bytes, order: str) -> None:
        self.content, self.order, self.at = content, order, 0

    def __bool__(self) -> bool:
        return self.at < len(self.content)

    def next(self) -> tuple[int, bytes]:
        """Return the data type and the data of the next element."""
        kind, size = struct.unpack_from(f"{self.order}II", self.content, self.at)
        begin = self.at + 8
        if kind >> 16:  # up to 4 bytes of data stand in the place of the size
            kind, size, begin = kind & 0xFFFF, kind >> 16, self.at + 4
        data = self.content[begin : begin + size]
        if len(data) < size or (begin == self.at + 4 and size > 4):
            raise ValueError("an element is cut off")
        self.at = begin + size + (0 if kind == _COMPRESSED else -(begin + size) % 8)
        return kind, data

    def numbers(self) -> NDArray:
        """Return the next element as an array of numbers, (n,)."""
        kind, data = self.next()
        if kind not in _TYPES:
            raise ValueError(f"numbers of the unknown type {kind}")
        return np.frombuffer(data, f"{self.order}{_TYPES[kind]}")


def _variables(elements: _Elements) -> Iterator[tuple[str, MatValue]]:
    while elements:
        kind, data = elements.next()
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, _MAX_BYTES)
            if inflate.unconsumed_tail:
                raise ValueError(f"a variable has more than {_MAX_BYTES:,} bytes")
            if not inflate.eof:
                raise ValueError("a compressed variable is cut off")
            kind, data = _Elements(data, elements.order).next()
        if kind != _MATRIX:
            raise ValueError(f"an element of the unknown type {kind}")
        yield _read_matrix(_Elements(data, elements.order), 0)


def _read_matrix(parts: _Elements, depth: int) -> tuple[str, MatValue]:
    """Return the name and the value of an array."""
    if not parts:  # an empty entry of a struct
        return "", np.zeros((0, 0))
    flags = int(parts.numbers()[0])
    shape = tuple(parts.numbers().tolist())
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of the shape {shape}")
    name = parts.next()[1].decode("latin-1")
    kind = flags & 0xFF
    if kind in _NUMERIC:
        values = parts.numbers().reshape(shape, order="F")
        return name, values.astype("?" if flags & _LOGICAL_FLAG else _NUMERIC[kind])
    return name, _read_struct(parts, math.prod(shape), depth) if kind == _STRUCT else None


def _read_struct(parts: _Elements, count: int, depth: int) -> MatValue:
    """Return the entries of a struct array as dictionaries."""
    if depth == _MAX_DEPTH:
        raise ValueError("structs inside structs are too deep")
    length = int(parts.numbers()[0])
    names = parts.next()[1]
    fields = [names[k : k + length].split(b"\0")[0].decode("latin-1") for k in range(0, len(names), max(1, length))]
    if count * len(fields) * 8 > len(parts.content):  # each value has 8 bytes or more
        raise ValueError(f"a struct of {count} entries is cut off")
    entries = []
    for _ in range(count if fields else 0):
        entries.append({field: _read_matrix(_Elements(parts.next()[1], parts.order), depth + 1)[1] for field in fields})
    return entries
