"""Encode images as JPEG files."""

import io

import numpy as np


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """Encode an (H, W, 3) uint8 image as a JPEG file of a quality from 1 to 95."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()
