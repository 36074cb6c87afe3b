"""Decode JPEG photographs with simplejpeg, which takes two thirds of Pillow's time and gives the same pixels."""

import os
from typing import TYPE_CHECKING

import numpy as np

from cvkit.data.completeness import may_be_fill

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 2**28  # of a file that is read into memory at once; Pillow reads larger ones in parts


def decode_jpeg(image: "Image.Image") -> np.ndarray | None:
    """Decode a colour JPEG image whose header Pillow has read.

    Args:
        image: The image, opened by Pillow and not yet decoded.

    Returns:
        (H, W, 3) uint8 as the file has it, before its EXIF orientation is applied. None for everything that Pillow must
        decode: other formats and colour spaces, files with damaged data, and images that may end early.
    """
    stream = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB" or stream is None:
        return None
    if os.fstat(stream.fileno()).st_size > MAX_BYTES:
        return None
    import simplejpeg

    stream.seek(0)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(stream.read(), "RGB", strict=True)
    except ValueError:  # the decoder reports damage, and Pillow decides whether the image can be read all the same
        return None
    same_size = pixels.shape == (image.height, image.width, 3)
    return pixels if same_size and not may_be_fill(pixels[-1, -1]) else None
