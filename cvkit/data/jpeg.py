"""Decode JPEG photographs with simplejpeg, which takes two thirds of Pillow's time and gives the same pixels."""

import os
from typing import TYPE_CHECKING

import numpy as np

from cvkit.data.completeness import may_be_fill

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 2**28  # of a file that is read into memory at once; Pillow reads larger ones in parts


def decode_jpeg(image: "Image.Image", reduce_to: int | None = None) -> np.ndarray | None:
    """Decode a colour JPEG image whose header Pillow has read.

    Args:
        image: The image, opened by Pillow and not yet decoded.
        reduce_to: Decode at the smallest scale (eighths) at which both sides have at least this many pixels; None
            decodes at full size.

    Returns:
        (H, W, 3) uint8 as the file has it or reduced, before its EXIF orientation is applied. None for everything that
        Pillow must decode: other formats and colour spaces, files with damaged data, and images that may end early.
    """
    stream = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB" or stream is None:
        return None
    if os.fstat(stream.fileno()).st_size > MAX_BYTES:
        return None
    import simplejpeg

    stream.seek(0)
    try:
        least = 0 if reduce_to is None else reduce_to
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            stream.read(), "RGB", min_height=least, min_width=least, min_factor=1, strict=True
        )
    except ValueError:  # the decoder reports damage, and Pillow decides whether the image can be read all the same
        return None
    expected = pixels.shape == (image.height, image.width, 3) or reduce_to is not None
    return pixels if expected and not may_be_fill(pixels[-1, -1]) else None
