"""From a photograph to a classifier's input, and where that input lies in the photograph."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cvkit.catalog import Preprocessing
from cvkit.data.images import resize_map
from cvkit.data.scaling import min_max

if TYPE_CHECKING:
    import torch

_MOST_RESIZED = 2**26  # pixels of a resized image; more come of very long and narrow ones only


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a photograph that a network sees: edges in pixels of the photograph, from its upper left corner.

    Edges may lie outside the photograph where the preprocessing pads.
    """

    top: float
    left: float
    bottom: float
    right: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The edges (top, left, bottom, right) rounded to whole pixels; it is never smaller than one."""
        top, left = round(self.top), round(self.left)
        return top, left, max(top + 1, round(self.bottom)), max(left + 1, round(self.right))


def fit_crop(image: np.ndarray, way: Preprocessing) -> "tuple[torch.Tensor, Window]":
    """Return an image (H, W, 3) uint8 resized and cropped as the weights want it, (3, h, w) uint8, and its window.

    The arithmetic is torchvision's on PIL images (``transforms.functional.resize`` and ``center_crop``), which timm's
    evaluation transforms use as well, so that the pixels are the same.
    """
    height, width = image.shape[:2]
    tall, wide = _resized(height, width, way)
    top, left = _offset(tall, way.crop[0]), _offset(wide, way.crop[1])
    window = Window(
        top=top * height / tall,
        left=left * width / wide,
        bottom=(top + way.crop[0]) * height / tall,
        right=(left + way.crop[1]) * width / wide,
    )
    if tall * wide > _MOST_RESIZED:
        return _to_tensor(_cut(*_resize_middle(image, (tall, wide), (top, left), way), way.crop)), window
    resized = _resize(image, (tall, wide), way.interpolation)
    return _to_tensor(_cut(resized, (top, left), way.crop)), window


def fit_squash(image: np.ndarray, way: Preprocessing) -> "tuple[torch.Tensor, Window]":
    """Return the whole image (H, W, 3) uint8 brought to the input size, (3, h, w) uint8, and its window: all of it."""
    height, width = image.shape[:2]
    return _to_tensor(_resize(image, way.crop, way.interpolation)), Window(top=0, left=0, bottom=height, right=width)


def place_map(values: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """Lay a map (h, w) float over its window in a photograph of ``size`` (H, W), bilinear; zero outside.

    The result (H, W) float32 is scaled to 0..1 by its least and largest value inside the window; a constant map is all
    zeros.
    """
    height, width = size
    top, left, bottom, right = window.box
    laid = min_max(resize_map(values, (max(1, bottom - top), max(1, right - left))))
    if (top, left, bottom, right) == (0, 0, height, width):
        return laid
    placed = np.zeros(size, dtype=np.float32)
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    placed[rows, columns] = laid[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return placed


def _resized(height: int, width: int, way: Preprocessing) -> tuple[int, int]:
    if not isinstance(way.resize, int):
        return way.resize
    long = int(way.resize * max(height, width) / min(height, width))
    return (way.resize, long) if height <= width else (long, way.resize)


def _offset(side: int, crop: int) -> int:
    if side >= crop:
        return round((side - crop) / 2.0)  # to even, as torchvision rounds
    return -((crop - side) // 2)  # padded: what is odd goes to the right and to the bottom


def _resize_middle(
    image: np.ndarray, size: tuple[int, int], corner: tuple[int, int], way: Preprocessing
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return what the crop at ``corner`` sees of the image resized to ``size``, and where the crop begins in that.

    A strip of 1x30000 pixels would else become one of 8 GB. The rounding is not quite that of the whole: PIL may go
    through rows and columns in another order.
    """
    from PIL import Image

    start = [max(0, edge) for edge in corner]
    stop = [min(side, edge + crop) for side, edge, crop in zip(size, corner, way.crop, strict=True)]
    down, across = (side / new for side, new in zip(image.shape, size, strict=False))
    box = (start[1] * across, start[0] * down, stop[1] * across, stop[0] * down)
    shape = (stop[1] - start[1], stop[0] - start[0])
    part = Image.fromarray(image).resize(shape, Image.Resampling[way.interpolation.upper()], box=box)
    return np.asarray(part), (corner[0] - start[0], corner[1] - start[1])


def _cut(image: np.ndarray, corner: tuple[int, int], crop: tuple[int, int]) -> np.ndarray:
    (height, width), (top, left) = image.shape[:2], corner
    if top >= 0 and left >= 0:
        return image[top : top + crop[0], left : left + crop[1]]
    cut = np.zeros((*crop, 3), dtype=np.uint8)
    part = image[max(0, top) : min(height, top + crop[0]), max(0, left) : min(width, left + crop[1])]
    down, across = max(0, -top), max(0, -left)
    cut[down : down + part.shape[0], across : across + part.shape[1]] = part
    return cut


def _resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    from PIL import Image

    if image.shape[:2] == size:
        return image
    way = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), way))


def _to_tensor(image: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
