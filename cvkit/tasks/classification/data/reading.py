"""Read labelled images as the network needs them, for training and for scoring."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvkit.catalog import Preprocessing
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.tasks.classification.data.source import LabelledImages


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads images of a data set.

    Attributes:
        images: The images.
        preprocessing: Preprocessing of the network.
        max_pixels: Images with more pixels are refused.
        whole: Whether to return the whole image, reduced, for random crops, instead of the crop of inference. JPEG
            files are then decoded at a reduced size.
    """

    images: LabelledImages
    preprocessing: Preprocessing
    max_pixels: int
    whole: bool = False

    @property
    def bytes_per_image(self) -> int:
        """Bytes that an image takes in memory, about."""
        height, width = self.preprocessing.crop
        if self.images.array is not None and self.images.array.ndim == 3:
            return height * width
        if not self.whole:
            return 3 * height * width
        resize = self.preprocessing.resize
        return round(3 * 1.4 * (resize**2 if isinstance(resize, int) else resize[0] * resize[1]))

    def __call__(self, index: int) -> Tensor:
        """Return an image as (C, h, w) uint8; C is 1 for grey images of an array, else 3.

        Raises:
            DataError: If the file cannot be read.
        """
        array = self.images.array
        if array is None:
            assert self.images.paths is not None
            return self._fit(read_image(self.images.paths[index], self.max_pixels, reduce_to=self._reduced_side))
        if array.ndim == 4:
            return self._fit(array[index])
        return self._fit(np.repeat(array[index][..., None], 3, 2))[:1]

    def original(self, index: int) -> np.ndarray:
        """Return an image as the data has it, (H, W) or (H, W, 3) uint8, for pictures.

        Raises:
            DataError: If the file cannot be read.
        """
        if self.images.array is not None:
            return self.images.array[index]
        assert self.images.paths is not None
        return read_image(self.images.paths[index], self.max_pixels)

    @property
    def _reduced_side(self) -> int | None:
        """The shorter side to which JPEG files may be reduced when they are decoded."""
        resize = self.preprocessing.resize
        return (resize if isinstance(resize, int) else max(resize)) if self.whole else None

    def _fit(self, image: np.ndarray) -> Tensor:
        return _reduce(image, self.preprocessing) if self.whole else fit_crop(image, self.preprocessing)[0]


def _reduce(image: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """Resize a whole image to the resolution from which the network's input is cropped; a smaller one stays.

    torchvision resizes these tensors, in which the colours of a pixel are neighbours, in a seventh of Pillow's time
    (0.3 in place of 2.1 ms from 800x600 to 341x256 pixels). One value in a thousand differs, by one level.
    """
    from torchvision.transforms import v2
    from torchvision.transforms.v2.functional import resize as resized

    height, width = image.shape[:2]
    resize = preprocessing.resize
    if preprocessing.mode == "squash" and not isinstance(resize, int):
        size = resize
    else:
        sides = (resize, resize) if isinstance(resize, int) else resize
        scale = min(1.0, max(sides[0] / height, sides[1] / width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
    pixels = torch.from_numpy(image if image.flags.writeable else image.copy()).permute(2, 0, 1)
    if size == (height, width):
        return pixels
    # The other filters of Pillow are not those of torchvision. The random crops that follow are bilinear as well.
    bicubic = preprocessing.interpolation == "bicubic"
    filtering = v2.InterpolationMode.BICUBIC if bicubic else v2.InterpolationMode.BILINEAR
    return resized(pixels, list(size), filtering, antialias=True)


def as_rgb(images: Tensor) -> Tensor:
    """Return (N, C, h, w) images with three channels."""
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def stack(images: list[Tensor]) -> Tensor:
    """Return (C, h, w) images of one size as one (N, 3, h, w) tensor."""
    return as_rgb(torch.stack(images))
