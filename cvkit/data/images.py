"""Read image files as RGB and saliency maps as floats, and check them before decoding."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvkit.data import tiff
from cvkit.data.scaling import white_level
from cvkit.errors import DataError, first_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

MAX_PIXELS = 178_000_000
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, section 4.6.4
_TRANSPOSITIONS = {  # the transposition that brings an image of an orientation upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")
_WIDTH_TAG, _HEIGHT_TAG, _SAMPLE_FORMAT_TAG, _PHOTOMETRIC_TAG = 256, 257, 339, 262  # TIFF 6.0
_UNSIGNED, _WHITE_IS_ZERO = 1, 0
_SILENT = logging.NullHandler()


def open_image(path: Path, max_pixels: int | None = None) -> "Image.Image | tiff.TiffPage":
    """Read the header of an image without decoding its pixels.

    Args:
        path: The image file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.

    Returns:
        The image, opened by Pillow; or the header of a TIFF image that Pillow cannot read correctly.

    Raises:
        DataError: The file is missing, is no image, cannot be read, or has too many pixels.
    """
    image = _open(path)
    pixels = image.width * image.height
    if pixels > (MAX_PIXELS if max_pixels is None else max_pixels):
        if not isinstance(image, tiff.TiffPage):
            image.close()
        # Commands without the option pass no limit.
        limit = f"the limit of {MAX_PIXELS:,}" if max_pixels is None else f"--max-pixels {max_pixels:,} allows"
        raise DataError(f"{path}: {image.width}x{image.height} has {pixels:,} pixels, more than {limit}.")
    return image


def _open(path: Path) -> "Image.Image | tiff.TiffPage":
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the caller checks the size, because Pillow only warns
    # Pillow warns of odd metadata in images that it reads well. warnings.catch_warnings is not thread-safe.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(_SILENT)  # Pillow also logs what it raises
    try:
        image = Image.open(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder, not an image.") from error
    except UnidentifiedImageError as error:
        if not tiff.is_tiff(path):
            raise DataError(f"{path}: not an image ({_describe_content(path)}).") from error
        return tiff.read_header(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error, 120)}).") from error
    if image.format == "TIFF" and tiff.is_misread_by_pillow(image, path):
        image.close()
        return tiff.read_header(path)
    return image


def read_image(path: Path, max_pixels: int | None = None) -> np.ndarray:
    """Read an image as RGB, upright by its EXIF orientation.

    Greyscale, palette, CMYK, 16-bit and floating-point images become 8-bit RGB (``cvkit.data.scaling.white_level``
    says which sample value becomes 255); transparent pixels are blended with white; the first frame of an animation and
    the first page of a TIFF file are read.

    Args:
        path: The image file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: The file is missing, is no image, is damaged, or has too many pixels.
    """
    image = open_image(path, max_pixels)
    if isinstance(image, tiff.TiffPage):
        return image.read_rgb()
    with _reporting_damage(path), image:
        return np.asarray(_to_rgb(image))


@contextmanager
def _reporting_damage(path: Path) -> Iterator[None]:
    """Turn any exception of a decoder into a DataError."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    image = _upright(image)
    if image.mode in _SIXTEEN_BIT or image.mode == "F":
        samples = _samples(image)
        scale = 255 / white_level(samples)
        levels = np.nan_to_num(samples.astype(np.float64)) * scale + 0.5
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _samples(image: "Image.Image") -> np.ndarray:
    """Return the samples of an image of mode I;16, I or F, where Pillow leaves two kinds of TIFF unconverted."""
    samples = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        return 65535 - samples
    if image.mode == "I" and tags.get(_SAMPLE_FORMAT_TAG, (_UNSIGNED,))[0] == _UNSIGNED:
        return samples.view(np.uint32)
    return samples


def _upright(image: "Image.Image") -> "Image.Image":
    """Apply the EXIF orientation of an image, and read no other EXIF tag, because EXIF data is often damaged."""
    from PIL import Image

    image.load()  # in a PNG the orientation may stand after the pixels
    transposition = _TRANSPOSITIONS.get(_orientation(image))
    return image.transpose(Image.Transpose[transposition]) if transposition else image


def _orientation(image: "Image.Image") -> int:
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return orientation if isinstance(orientation, int) else 1


def image_size(path: Path, max_pixels: int | None = None) -> tuple[int, int]:
    """Return the size of an image after its EXIF orientation is applied.

    Only a PNG without EXIF data before its pixels is decoded.

    Args:
        path: The image file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.

    Returns:
        (height, width) in pixels.

    Raises:
        DataError: The file is missing, is no image, is damaged, or has too many pixels.
    """
    image = open_image(path, max_pixels)
    if isinstance(image, tiff.TiffPage):
        return image.upright_size
    with _reporting_damage(path), image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow 11 and later swap the size of a rotated TIFF when they open it
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            width, height = int(tags[_WIDTH_TAG]), int(tags[_HEIGHT_TAG])
        rotated = _orientation(image) in (5, 6, 7, 8)
    return (width, height) if rotated else (height, width)


def read_map(path: Path, max_pixels: int | None = None) -> np.ndarray:
    """Read a saliency map, upright by its EXIF orientation.

    Integer images become 0..1 by their bit depth (8-bit / 255, 16-bit / 65535), and colour becomes its luma (ITU-R
    601). ``.npy`` files and floating-point images keep their values.

    Args:
        path: An image or a ``.npy`` file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.

    Returns:
        (H, W) float32, finite and >= 0.

    Raises:
        DataError: The file is missing or damaged, has too many pixels, has another shape, or holds values that are
            negative or not finite.
    """
    if path.suffix.lower() == ".npy":
        return _checked_map(path, read_array(path))
    image = open_image(path, max_pixels)
    if isinstance(image, tiff.TiffPage):
        return _checked_map(path, image.read_map())
    with _reporting_damage(path), image:
        upright = _upright(image)
        if upright.mode == "F":
            values = np.asarray(upright)
        elif upright.mode in _SIXTEEN_BIT:
            values = _samples(upright).astype(np.float32) / 65535
        else:
            values = np.asarray(upright.convert("L"), dtype=np.float32) / 255
    return _checked_map(path, values)


def read_array(path: Path) -> np.ndarray:
    """Read a ``.npy`` file of numbers.

    Raises:
        DataError: The file is missing or damaged, or holds pickled objects or no numbers.
    """
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
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):  # (1, H, W) or (H, W, 1)
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"{path}: a map has two dimensions (height, width), this array has shape {shape}.")
    with np.errstate(over="ignore"):  # infinite values are refused below
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all() or array.min(initial=0) < 0:
        raise DataError(f"{path}: a map holds finite values of 0 or more, this one does not.")
    return array


def resize_image(image: np.ndarray, size: tuple[int, int]) -> "torch.Tensor":
    """Resize an (H, W, 3) uint8 image to (3, h, w) uint8, bilinear with antialiasing."""
    import torch
    from PIL import Image

    if image.shape[:2] != size:
        image = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))  # Pillow's arrays are read-only


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W) float map to (h, w), bilinear with antialiasing, which keeps its mean."""
    from PIL import Image

    if values.shape == size:
        return values
    resized = Image.fromarray(values.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _describe_content(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        return "an empty file"
    return "text" if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head) else "unknown content"
