"""Read TIFF files that Pillow cannot read or reads wrongly, through imageio and its tifffile plugin.

Pillow reads no floating-point image with several channels, no 64-bit and 16-bit floats, no 32-bit colour and no 16-bit
greyscale with alpha, and it mixes up the samples of uncompressed 16-bit images that are stored plane by plane.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cvkit.data.scaling import LUMA, white_level
from cvkit.data.tiff_structure import check_inflated_size, find_damage
from cvkit.errors import DataError
from cvkit.inputs import open_file
from cvkit.messages import first_line

if TYPE_CHECKING:
    from PIL import Image

MAX_CHANNELS = 4
# TIFF 6.0, section 8 and 18: tag numbers, and the values that are read.
_COMPRESSION, _PLANAR_CONFIGURATION, _BITS_PER_SAMPLE = 259, 284, 258
_UNCOMPRESSED, _PLANE_BY_PLANE = 1, 2
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_SILENT = logging.NullHandler()
_ALPHA = {1: "premultiplied", 2: "straight"}


@dataclass(frozen=True, kw_only=True)
class TiffPage:
    """The header of the first image of a TIFF file.

    Attributes:
        path: The file.
        height: Height in pixels as stored, before the orientation is applied.
        width: Width in pixels as stored.
        channels: Number of samples per pixel, 1 to 4.
        planar: Whether the channels are stored one after the other.
        white_is_zero: Whether the lowest value is white.
        alpha: Kind of the alpha channel, which is the last one, if there is one.
        orientation: EXIF orientation, 1 to 8.
    """

    path: Path
    height: int
    width: int
    channels: int
    planar: bool
    white_is_zero: bool
    alpha: Literal["", "straight", "premultiplied"]
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """Return the (height, width) after the orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    def read_rgb(self) -> NDArray[np.uint8]:
        """Decode the image as (H, W, 3) uint8 RGB, upright; transparent pixels are blended with white.

        ``cvkit.data.scaling.white_level`` says which sample value becomes 255. NaN becomes 0.

        Raises:
            DataError: The file is damaged, or its compression is not supported.
        """
        samples = self._read()
        white = white_level(samples)
        values = samples.astype(np.float32)
        values /= np.float32(white)
        values = np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1, out=values)
        colour = values[..., :3] if self.channels >= 3 else values[..., :1]
        if self.white_is_zero:
            colour = 1 - colour
        if self.alpha:
            alpha = values[..., -1:]
            colour = np.minimum((colour * alpha if self.alpha == "straight" else colour) + (1 - alpha), 1)
        levels = (colour * 255 + np.float32(0.5)).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))

    def read_map(self) -> NDArray[Any]:
        """Decode the image as a map (H, W), upright.

        Integers become float32 in 0..1 by the range of their type, and floats keep their values. Colour becomes its
        luma (ITU-R 601), and alpha is ignored.

        Raises:
            DataError: The file is damaged, or its compression is not supported.
        """
        samples = self._read()
        if samples.dtype.kind in "iu":
            samples = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
            samples = 1 - samples if self.white_is_zero else samples
        if self.channels >= 3:
            return samples[..., :3].astype(np.float32) @ np.array(LUMA, np.float32)
        return samples[..., 0]

    def _read(self) -> NDArray[Any]:
        """Return the samples (H, W, C) in the type of the file, upright."""
        try:
            samples = _decode(self.path)
        except Exception as error:
            reason = first_line(error, 120)
            if "imagecodecs" in str(error):  # tifffile itself has zlib, LZMA and PackBits only
                raise DataError(
                    f"{self.path}: cannot be decoded ({reason}); install it, or save the image uncompressed."
                ) from error
            raise DataError(f"{self.path}: damaged image ({reason}).") from error
        if samples.size != self.height * self.width * self.channels or samples.dtype.kind not in "buif":
            raise DataError(f"{self.path}: its first image is not a grid of pixels with real values.")
        if self.planar:
            samples = samples.reshape(self.channels, self.height, self.width).transpose(1, 2, 0)
        return _upright(samples.reshape(self.height, self.width, self.channels), self.orientation)


def is_misread_by_pillow(image: "Image.Image", path: Path) -> bool:
    """Tell whether Pillow would decode a TIFF image wrongly that it has opened.

    Pillow mixes up uncompressed 16-bit samples that are stored plane by plane, and it ignores tags that are cut off.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    planar = (
        tags.get(_PLANAR_CONFIGURATION) == _PLANE_BY_PLANE
        and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
        and max(tags.get(_BITS_PER_SAMPLE, (1,))) > 8
        and len(image.getbands()) > 1
    )
    return planar or find_damage(path) != ""


def read_header(path: Path) -> TiffPage:
    """Read the header of the first image of a TIFF file.

    Raises:
        DataError: The file is damaged, or the image is neither greyscale nor RGB.
    """
    import imageio.v3 as iio

    # tifffile logs what it then raises, which would be printed beside the report of the failure.
    logging.getLogger("tifffile").addHandler(_SILENT)
    try:
        if damage := find_damage(path):
            raise ValueError(damage)
        # A stream, because imageio takes some names for addresses.
        with open_file(path) as stream, iio.imopen(stream, "r", plugin="tifffile") as file:
            tags = file.metadata(index=..., page=0)
        height, width = int(tags["ImageLength"]), int(tags["ImageWidth"])
        channels = int(tags.get("SamplesPerPixel", 1))
        photometric = int(tags.get("PhotometricInterpretation", _BLACK_IS_ZERO))
        extra = tags.get("ExtraSamples") or ()
        extra = tuple(extra) if isinstance(extra, tuple | list) else (extra,)
        planar = int(tags.get("PlanarConfiguration", 1)) == _PLANE_BY_PLANE
        orientation = int(tags.get("Orientation", 1))
    except Exception as error:
        raise DataError(f"{path}: damaged image ({first_line(error, 120)}).") from error
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or not 1 <= channels <= MAX_CHANNELS:
        raise DataError(
            f"{path}: a TIFF image of {channels} channels and colour space {photometric} is not supported; "
            "save it as greyscale or RGB."
        )
    return TiffPage(
        path=path,
        height=height,
        width=width,
        channels=channels,
        planar=planar,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        alpha=_ALPHA.get(int(extra[-1]), "") if extra and channels in (2, 4) else "",  # type: ignore[arg-type]
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )


def _decode(path: Path) -> NDArray[Any]:
    import imageio.v3 as iio

    with open_file(path) as stream, iio.imopen(stream, "r", plugin="tifffile") as file:
        check_inflated_size(path, file.metadata(index=..., page=0))
        # One thread: the callers read several files at a time.
        return np.asarray(file.read(index=..., page=0, maxworkers=1))


def _upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (EXIF 2.3, section 4.6.4) to samples (H, W, C)."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
