"""Read image files as RGB and saliency maps as floats, and check them before decoding."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from cvkit.catalog import IMAGE_FORMATS
from cvkit.data import tiff
from cvkit.data.arrays import check_pixels, read_array
from cvkit.data.completeness import check_complete
from cvkit.data.jpeg import decode_jpeg
from cvkit.data.scaling import white_level
from cvkit.data.tiff_structure import is_tiff
from cvkit.errors import DataError
from cvkit.inputs import open_file
from cvkit.messages import first_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

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
_REDUCED_RGB = "RGB;16B"  # Pillow's decoder keeps 8 of the 16 bits, by which the transparent colour is not found
_SILENT = logging.NullHandler()


@contextmanager
def open_image(path: Path, max_pixels: int | None = None) -> Iterator["Image.Image | tiff.TiffPage"]:
    """Read the header of an image without decoding its pixels, and close the file at the end of the context.

    Args:
        path: The image file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.

    Yields:
        The image, opened by Pillow; or the header of a TIFF image that Pillow cannot read correctly.

    Raises:
        DataError: The file is missing, is no image, cannot be read, or has too many pixels.
    """
    with open_file(path) as stream:
        image = _identify(stream, path)
        check_pixels(path, (image.height, image.width), max_pixels)
        yield image


def _identify(stream: BinaryIO, path: Path) -> "Image.Image | tiff.TiffPage":
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the caller checks the size, because Pillow only warns
    # Pillow warns of odd metadata in images that it reads well. warnings.catch_warnings is not thread-safe.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(_SILENT)  # Pillow also logs what it raises
    try:
        image = Image.open(stream, formats=tuple(IMAGE_FORMATS))
    except UnidentifiedImageError as error:
        if not is_tiff(path):
            formats = ", ".join("PNM" if name == "PPM" else name for name in IMAGE_FORMATS)
            raise DataError(f"{path}: not an image ({_describe_content(stream)}); {formats} are read.") from error
        return tiff.read_header(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error, 120)}).") from error
    return tiff.read_header(path) if image.format == "TIFF" and tiff.is_misread_by_pillow(image, path) else image


def read_image(path: Path, max_pixels: int | None = None, reduce_to: int | None = None) -> np.ndarray:
    """Read an image as RGB, upright by its EXIF orientation.

    Greyscale, palette, CMYK, 16-bit and floating-point images become 8-bit RGB (``cvkit.data.scaling.white_level``
    says which sample value becomes 255); transparent pixels are blended with white; the first frame of an animation and
    the first page of a TIFF file are read.

    Args:
        path: The image file.
        max_pixels: Value of --max-pixels, checked before decoding; 178 million if None.
        reduce_to: A JPEG file may be decoded at a reduced size, which is faster; both of its sides then have at least
            this many pixels if the image has. None returns the full size.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: The file is missing, is no image, is damaged, or has too many pixels.
    """
    from PIL import Image

    with open_image(path, max_pixels) as image, _reporting_damage(path):
        if isinstance(image, tiff.TiffPage):
            return image.read_rgb()
        pixels = decode_jpeg(image, reduce_to)
        if pixels is None:
            return np.asarray(_to_rgb(image, path))
        return np.asarray(_upright(Image.fromarray(pixels), image)) if _orientation(image) != 1 else pixels


@contextmanager
def _reporting_damage(path: Path) -> Iterator[None]:
    """Turn any other exception of a decoder into a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error


def _to_rgb(image: "Image.Image", path: Path) -> "Image.Image":
    from PIL import Image

    image = _decode(image, path)
    if image.mode in _SIXTEEN_BIT or image.mode == "F":
        samples = _samples(image)
        scale = 255 / white_level(samples)
        levels = np.clip(np.nan_to_num(samples.astype(np.float64)) * scale + 0.5, 0, 255).astype(np.uint8)
        if "transparency" in image.info:  # the one level of a 16-bit PNG that is transparent
            levels[samples == image.info["transparency"]] = 255
        return Image.fromarray(levels).convert("RGB")
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


def _decode(image: "Image.Image", path: Path) -> "Image.Image":
    """Decode an image, and apply its EXIF orientation; read no other EXIF tag, because EXIF data is often damaged."""
    tiles: Any = getattr(image, "tile", ())
    reduced = any(each[3] == _REDUCED_RGB for each in tiles)
    image.load()  # in a PNG the orientation and the transparent colour may stand after the pixels
    if reduced and "transparency" in image.info:
        raise DataError(
            f"{path}: 16-bit RGB with a transparent colour is not supported; save it with an alpha channel."
        )
    check_complete(image, path)
    return _upright(image, image)


def _upright(image: "Image.Image", header: "Image.Image") -> "Image.Image":
    """Apply the EXIF orientation in a header to an image."""
    from PIL import Image

    transposition = _TRANSPOSITIONS.get(_orientation(header))
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
    with open_image(path, max_pixels) as image, _reporting_damage(path):
        if isinstance(image, tiff.TiffPage):
            return image.upright_size
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
        return _checked_map(path, read_array(path, max_pixels))
    with open_image(path, max_pixels) as image, _reporting_damage(path):
        values = image.read_map() if isinstance(image, tiff.TiffPage) else _to_map(image, path)
    return _checked_map(path, values)


def _to_map(image: "Image.Image", path: Path) -> np.ndarray:
    image = _decode(image, path)
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in _SIXTEEN_BIT:
        return _samples(image).astype(np.float32) / 65535
    return np.asarray(image.convert("L"), dtype=np.float32) / 255


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


def _describe_content(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(64)
    if not head:
        return "an empty file"
    return "text" if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head) else "unknown content"
