"""Decode JPEG photographs with simplejpeg, which takes two thirds of Pillow's time and gives the same pixels."""

import os
from typing import TYPE_CHECKING

import numpy as np

from cvkit.data.completeness import may_be_fill

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 2**28  # of a file that is read into memory at once; Pillow reads larger ones in parts
# libjpeg-turbo decodes faster at 1/8, 1/4 and 1/2 of the size (0.71, 0.81 and 0.92 ms for 800x600 pixels) than at full
# size (1.17 ms), but more slowly at 5/8, 6/8 and 7/8 (1.55 to 2.34 ms).
DIVISORS = (8, 4, 2)


def decode_jpeg(image: "Image.Image", reduce_to: int | None = None) -> np.ndarray | None:
    """Decode a colour JPEG image whose header Pillow has read.

    Args:
        image: The image, opened by Pillow and not yet decoded.
        reduce_to: Decode at 1/8, 1/4 or 1/2 of the size if both sides then have at least this many pixels; None
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
    height, width = _reduced(image, reduce_to)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            stream.read(), "RGB", min_height=height, min_width=width, min_factor=1, strict=True
        )
    except ValueError:  # the decoder reports damage, and Pillow decides whether the image can be read all the same
        return None
    return pixels if pixels.shape == (height, width, 3) and not may_be_fill(pixels[-1, -1]) else None


def _reduced(image: "Image.Image", reduce_to: int | None) -> tuple[int, int]:
    """Return the (height, width) at which to decode an image."""
    sizes = [(-(-image.height // divisor), -(-image.width // divisor)) for divisor in DIVISORS]
    fitting = (size for size in sizes if reduce_to is not None and min(size) >= reduce_to)
    return next(fitting, (image.height, image.width))
