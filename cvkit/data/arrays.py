"""Read arrays from ``.npy`` files, and limit the size of images and arrays before they are decoded."""

import math
import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from cvkit.errors import DataError
from cvkit.inputs import open_file
from cvkit.messages import first_line

MAX_PIXELS = 178_000_000


def check_pixels(path: Path, size: tuple[int, int], max_pixels: int | None) -> None:
    """Raise DataError if an image or map of ``size`` (height, width) has more pixels than ``--max-pixels`` allows."""
    height, width = size
    if height * width > (MAX_PIXELS if max_pixels is None else max_pixels):
        # Commands without the option pass no limit.
        limit = f"the limit of {MAX_PIXELS:,}" if max_pixels is None else f"--max-pixels {max_pixels:,} allows"
        raise DataError(f"{path}: {width}x{height} has {height * width:,} pixels, more than {limit}.")


def read_array(path: Path, max_values: int | None = None) -> np.ndarray:
    """Read a ``.npy`` file of numbers.

    Args:
        path: The file.
        max_values: Largest number of values, checked before the array is read; 178 million if None.

    Raises:
        DataError: The file is missing or damaged, or holds pickled objects, no numbers or too many values.
    """
    with open_file(path) as stream:
        try:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read_header(stream)
            if dtype.hasobject:
                raise ValueError("it holds pickled objects")
            if dtype.kind not in "buif":
                raise DataError(f"{path}: holds no array of numbers.")
            check_pixels(path, shape if len(shape) == 2 else (1, math.prod(shape)), max_values)
            if stream.seek(0, os.SEEK_END) < math.prod(shape) * dtype.itemsize:
                raise ValueError("the array is cut off")
            stream.seek(0)
            return npy.read_array(stream, allow_pickle=False)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path}: not a readable .npy array ({first_line(error, 120)}).") from error
