"""Encode images as JPEG files."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """Return an (H, W, 3) uint8 image as a JPEG file, for people to look at."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()
