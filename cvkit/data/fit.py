"""Fit an image to the input of a classifier, and map results back to the image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cvkit.catalog import Preprocessing
from cvkit.data.images import resize_map
from cvkit.data.scaling import min_max

if TYPE_CHECKING:
    import torch

_MAX_RESIZED_PIXELS = 2**26  # only very long and narrow images exceed it


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of an image that a network processes.

    Edges are in pixels of the image, from its upper left corner. They lie outside of the image if the preprocessing
    pads it.
    """

    top: float
    left: float
    bottom: float
    right: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The edges (top, left, bottom, right) rounded to whole pixels; the box is at least one pixel in size."""
        top, left = round(self.top), round(self.left)
        return top, left, max(top + 1, round(self.bottom)), max(left + 1, round(self.right))


def fit_crop(image: np.ndarray, preprocessing: Preprocessing) -> "tuple[torch.Tensor, Window]":
    """Resize an image and crop its centre, as the preprocessing of the weights prescribes.

    The arithmetic is that of torchvision on PIL images (``transforms.functional.resize`` and ``center_crop``), which
    timm's evaluation transforms use as well, and that of timm (``ResizeKeepRatio``, ``CenterCropOrPad``) for the crop
    mode ``border`` and for crops that are not square. The pixels are equal.

    Args:
        image: (H, W, 3) uint8.
        preprocessing: Size and interpolation of the weights.

    Returns:
        The network's input, (3, h, w) uint8, and the window of the image that it shows.
    """
    height, width = image.shape[:2]
    tall, wide = _resized(height, width, preprocessing)
    top, left = _offset(tall, preprocessing.crop[0]), _offset(wide, preprocessing.crop[1])
    window = Window(
        top=top * height / tall,
        left=left * width / wide,
        bottom=(top + preprocessing.crop[0]) * height / tall,
        right=(left + preprocessing.crop[1]) * width / wide,
    )
    if tall * wide > _MAX_RESIZED_PIXELS:
        return _to_tensor(_cut(*_resize_middle(image, (tall, wide), (top, left), preprocessing), preprocessing)), window
    resized = _resize(image, (tall, wide), preprocessing.interpolation)
    return _to_tensor(_cut(resized, (top, left), preprocessing)), window


def fit_squash(image: np.ndarray, preprocessing: Preprocessing) -> "tuple[torch.Tensor, Window]":
    """Resize a whole image to the input size, without keeping its aspect ratio.

    Args:
        image: (H, W, 3) uint8.
        preprocessing: Size and interpolation of the weights.

    Returns:
        The network's input, (3, h, w) uint8, and the window, which is the whole image.
    """
    height, width = image.shape[:2]
    return _to_tensor(_resize(image, preprocessing.crop, preprocessing.interpolation)), Window(
        top=0, left=0, bottom=height, right=width
    )


def place_map(values: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """Resize a map of the network's input to its window in the image, bilinear, and scale it to 0..1.

    Args:
        values: (h, w) float.
        window: The window of the image that the network's input shows.
        size: (H, W) of the image in pixels.

    Returns:
        (H, W) float32, scaled by the minimum and maximum inside the window, and 0 outside. All zeros if the map is
        constant.
    """
    height, width = size
    top, left, bottom, right = window.box
    scaled = min_max(resize_map(values, (max(1, bottom - top), max(1, right - left))))
    if (top, left, bottom, right) == (0, 0, height, width):
        return scaled
    placed = np.zeros(size, dtype=np.float32)
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    placed[rows, columns] = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return placed


def _resized(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    if not isinstance(preprocessing.resize, int):
        if preprocessing.mode == "squash":
            return preprocessing.resize
        ratios = height / preprocessing.resize[0], width / preprocessing.resize[1]
        ratio = max(ratios) if preprocessing.mode == "border" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    long = int(preprocessing.resize * max(height, width) / min(height, width))
    return (preprocessing.resize, long) if height <= width else (long, preprocessing.resize)


def _offset(side: int, crop: int) -> int:
    if side >= crop:
        return round((side - crop) / 2.0)  # to even, as torchvision rounds
    return -((crop - side) // 2)  # padded: an odd pixel is added on the right or at the bottom


def _resize_middle(
    image: np.ndarray, size: tuple[int, int], corner: tuple[int, int], preprocessing: Preprocessing
) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize only the part of an image that a crop of the resized image shows.

    Resizing a strip of 1x30000 pixels as a whole would take 8 GB. Values may differ by rounding from those of the whole
    image, because Pillow may resize rows and columns in another order.

    Args:
        image: (H, W, 3) uint8.
        size: (height, width) that the whole image would have.
        corner: (top, left) of the crop in the resized image.
        preprocessing: Crop size and interpolation.

    Returns:
        The resized part, and (top, left) of the crop in it.
    """
    from PIL import Image

    start = [max(0, edge) for edge in corner]
    stop = [min(side, edge + crop) for side, edge, crop in zip(size, corner, preprocessing.crop, strict=True)]
    down, across = (side / new for side, new in zip(image.shape, size, strict=False))
    box = (start[1] * across, start[0] * down, stop[1] * across, stop[0] * down)
    shape = (stop[1] - start[1], stop[0] - start[0])
    part = Image.fromarray(image).resize(shape, Image.Resampling[preprocessing.interpolation.upper()], box=box)
    return np.asarray(part), (corner[0] - start[0], corner[1] - start[1])


def _cut(image: np.ndarray, corner: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    (height, width), (top, left), crop = image.shape[:2], corner, preprocessing.crop
    if top >= 0 and left >= 0:
        return image[top : top + crop[0], left : left + crop[1]]
    cut = np.full((*crop, 3), preprocessing.fill, dtype=np.uint8)
    part = image[max(0, top) : min(height, top + crop[0]), max(0, left) : min(width, left + crop[1])]
    down, across = max(0, -top), max(0, -left)
    cut[down : down + part.shape[0], across : across + part.shape[1]] = part
    return cut


def _resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    from PIL import Image

    if image.shape[:2] == size:
        return image
    resampling = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resampling))


def _to_tensor(image: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
