"""Read IDX files, the format of MNIST, plain or compressed by gzip."""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import DataError
from cvkit.files import is_folder
from cvkit.inputs import open_file
from cvkit.processes import free_memory

UNSIGNED_BYTE = 0x08
GZIP = b"\x1f\x8b"
_FILE = re.compile(
    r"(?P<split>.*?train|.*?t10k|.*?test)[-_.](?P<what>images|labels)[-_.]idx[1-4][-_.]ubyte(?:\.gz)?", re.I
)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Source: the description of the format on the page of the MNIST database.

    Args:
        path: The file, plain or compressed by gzip.

    Returns:
        An array of the shape that the header gives, 1 to 4 dimensions.

    Raises:
        DataError: The file cannot be read, is no IDX file, holds another type of numbers, is shorter or longer than its
            header says, or does not fit in memory.
    """
    with _open(path) as stream:
        head = stream.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
            raise DataError(f"{path}: not an IDX file (its header is broken).")
        if head[2] != UNSIGNED_BYTE:
            raise DataError(f"{path}: holds numbers of IDX type 0x{head[2]:02x}; only unsigned bytes (0x08) are read.")
        lengths = stream.read(4 * head[3])
        if len(lengths) < 4 * head[3]:
            raise DataError(f"{path}: the IDX header is cut off.")
        shape = struct.unpack(f">{head[3]}I", lengths)
        count = int(np.prod(shape, dtype=object))
        if count > free_memory():
            raise DataError(f"{path}: by its header it holds {count:,} bytes, more than there is memory for.")
        content = stream.read(count + 1)
    if len(content) != count:
        more = "more" if len(content) > count else f"{len(content):,}"
        raise DataError(
            f"{path}: by its header ({'x'.join(map(str, shape))}) it holds {count:,} bytes, but has {more}."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_file(path) as plain:
            compressed = plain.read(2) == GZIP
            plain.seek(0)
            with gzip.open(plain) if compressed else plain as stream:
                yield stream  # type: ignore[misc]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed file is damaged ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def is_idx_name(name: str) -> bool:
    """Tell whether a file name follows the pattern of IDX data sets, such as ``train-images-idx3-ubyte.gz``."""
    return _FILE.fullmatch(name) is not None


def find_idx(folder: Path) -> dict[str, dict[str, Path]]:
    """Find the IDX files of a data set in a folder, in its ``raw`` or in a ``*/raw`` (the layout of torchvision).

    A file that exists plain and compressed counts once.

    Args:
        folder: The folder to search.

    Returns:
        Paths by split (``train``, ``test``) and content (``images``, ``labels``); empty if there are none.

    Raises:
        DataError: Files of two data sets lie in one folder.
    """
    for candidate in (folder, folder / "raw", *sorted(folder.glob("*/raw"))):
        splits: dict[str, dict[str, Path]] = {}
        for path in sorted(candidate.iterdir()) if is_folder(str(candidate)) else ():
            match = _FILE.fullmatch(path.name)
            if match is None or is_folder(str(path)):
                continue
            split = "train" if match["split"].lower().endswith("train") else "test"
            other = splits.setdefault(split, {}).setdefault(match["what"].lower(), path)
            if other != path and other.name != path.name.removesuffix(".gz"):
                raise DataError(
                    f"{candidate} holds several data sets ({other.name}, {path.name}): name a folder of one."
                )
        if splits:
            return splits
    return {}
