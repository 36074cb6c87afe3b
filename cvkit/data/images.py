"""Read an image file into RGB, whatever it holds, and refuse what cannot be trusted."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cvkit.errors import DataError, first_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

MAX_PIXELS = 178_000_000
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, section 4.6.4
_TURNS = {  # what brings an image stored in an orientation upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")


def open_image(path: Path, max_pixels: int) -> "Image.Image":
    """Open an image without decoding it; raises DataError for what is no image or has too many pixels."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, below: PIL's own only warns
    # PIL warns of odd metadata in images that it reads well. Not catch_warnings: that is not safe beside other threads.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        image = Image.open(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder, not an image.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image ({_what_it_is(path)}).") from error
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error, 120)}).") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise DataError(
            f"{path}: {width}x{height} has {width * height:,} pixels, more than --max-pixels {max_pixels:,} allows."
        )
    return image


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Greyscale, palette, 16-bit and CMYK images become RGB; transparency is laid on white. Raises DataError for a file
    that is missing, no image, damaged, or larger than ``max_pixels``.
    """
    image = open_image(path, max_pixels)
    try:
        with image:
            return np.asarray(_to_rgb(image))
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    image = _upright(image)
    if image.mode in _SIXTEEN_BIT or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # Mode I is 32 bits wide, and holds 8-bit values as often as 16-bit ones.
        eight_bits = image.mode == "F" or (image.mode == "I" and values.max(initial=0) <= 255)
        grey = np.clip(values * (1.0 if eight_bits else 255 / 65535) + 0.5, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _upright(image: "Image.Image") -> "Image.Image":
    """Turn an image by its EXIF orientation, and by nothing else of its EXIF, which is often damaged."""
    from PIL import Image

    image.load()  # in a PNG the orientation may stand after the pixels
    turn = _TURNS.get(_orientation(image))
    return image.transpose(Image.Transpose[turn]) if turn else image


def _orientation(image: "Image.Image") -> int:
    found = image.getexif().get(_ORIENTATION_TAG, 1)
    return found if isinstance(found, int) else 1


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the (height, width) of an image as it stands upright; only a PNG without EXIF ahead is decoded."""
    try:
        with open_image(path, max_pixels) as image:
            width, height = image.size
            turned = _orientation(image) in (5, 6, 7, 8)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error
    return (width, height) if turned else (height, width)


def read_map(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a saliency map as (H, W) float32 >= 0.

    Images give 0..1 by their bit depth (8-bit / 255, 16-bit / 65535; colour becomes its luma, ITU-R 601), upright by
    their EXIF orientation; ``.npy`` files and images of floats keep their own scale. Raises DataError for what is no
    map: another shape, negative or non-finite values.
    """
    if path.suffix.lower() == ".npy":
        return _checked_map(path, read_array(path))
    image = open_image(path, max_pixels)
    try:
        with image:
            upright = _upright(image)
            if upright.mode == "F":
                values = np.asarray(upright)
            elif upright.mode in _SIXTEEN_BIT:
                values = np.asarray(upright, dtype=np.float32) / 65535
            else:
                values = np.asarray(upright.convert("L"), dtype=np.float32) / 255
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error
    return _checked_map(path, values)


def read_array(path: Path) -> np.ndarray:
    """Read a ``.npy`` file of numbers; pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except Exception as error:
        raise DataError(f"{path}: not a readable .npy array ({first_line(error, 120)}).") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise DataError(f"{path}: holds no array of numbers.")
    return array


def _checked_map(path: Path, array: np.ndarray) -> np.ndarray:
    shape = array.shape
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):  # (1, H, W) and (H, W, 1) are maps too
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"{path}: a map has two dimensions (height, width), this array has shape {shape}.")
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all() or array.min(initial=0) < 0:
        raise DataError(f"{path}: a map holds finite values of 0 or more, this one does not.")
    return array


def resize_image(image: np.ndarray, size: tuple[int, int]) -> "torch.Tensor":
    """Bring (H, W, 3) uint8 to (3, h, w) uint8, bilinear with antialiasing."""
    import torch
    from PIL import Image

    if image.shape[:2] != size:
        image = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))  # a copy: PIL's arrays cannot be written


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring an (H, W) float map to (h, w), bilinear with antialiasing (so that its mean stays)."""
    from PIL import Image

    if values.shape == size:
        return values
    resized = Image.fromarray(values.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _what_it_is(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        return "an empty file"
    return "text" if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head) else "unknown content"
