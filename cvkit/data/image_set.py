"""Images held in memory as one uint8 tensor, from which batches are taken by index."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cvkit.data.class_folders import LabelledImage
from cvkit.data.images import image_size, read_image, resize_image
from cvkit.data.scaling import LUMA
from cvkit.errors import DataError
from cvkit.processes import free_memory, local_processes
from cvkit.progress import Reporter, Step, ignore

IMAGES_PER_BLOCK = 1024  # converted to float at a time
HEADERS_PER_BLOCK = 64
MEMORY_FRACTION = 0.4  # of the free memory: resizing and splitting hold the images twice for a moment


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images of one size in memory.

    Attributes:
        images: (N, C, H, W) uint8, C 1 or 3.
        labels: (N,) int64, or None if the images have no labels.
        names: The name of each image: its path, or its index in an IDX file.
    """

    images: Tensor
    labels: NDArray[np.int64] | None
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """The device that holds the images."""
        return self.images.device

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return a batch of images.

        Args:
            epoch: Ignored.
            indices: (B,) int64.

        Returns:
            ``image``, (B, C, H, W) uint8, and ``index``, (B,) int64, on the device of the images.
        """
        del epoch
        index = torch.from_numpy(indices).to(self.device, non_blocking=True)
        return {"image": self.images.index_select(0, index), "index": index}

    def subset(self, indices: NDArray[np.int64]) -> "ImageSet":
        """Return a copy of the images at (n,) indices, with their labels and names."""
        labels = None if self.labels is None else self.labels[indices]
        images = self.images[torch.from_numpy(indices)]
        return ImageSet(images=images, labels=labels, names=[self.names[index] for index in indices])

    def to_device_if_small(self, device: torch.device) -> "ImageSet":
        """Return the images on a GPU if they take less than a quarter of its free memory; otherwise unchanged."""
        if device.type != "cuda" or self.images.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
            return self
        return replace(self, images=self.images.to(device))


@dataclass(frozen=True)
class UnreadableImage:
    """An image that could not be read.

    Attributes:
        name: Path of the image.
        kind: Kind of the error, as in ``failures.csv``.
        message: Message of the error.
    """

    name: str
    kind: str
    message: str


def as_images(array: NDArray[np.uint8]) -> Tensor:
    """Convert an array of images to the layout of ``ImageSet``.

    Args:
        array: (N, H, W) or (N, H, W, C), C 1 or 3.

    Returns:
        (N, C, H, W) uint8.

    Raises:
        DataError: The array has another shape.
    """
    if array.ndim == 3:
        return torch.from_numpy(array.copy())[:, None]
    if array.ndim == 4 and array.shape[-1] in (1, 3):
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    raise DataError(f"an array of shape {'x'.join(map(str, array.shape))} does not hold images.")


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W) uint8 images to (height, width), bilinear with antialiasing."""
    if images.shape[-2:] == size:
        return images
    result = torch.empty((*images.shape[:2], *size), dtype=torch.uint8)
    for begin in range(0, len(images), IMAGES_PER_BLOCK):
        block = images[begin : begin + IMAGES_PER_BLOCK].float()
        small = F.interpolate(block, size=size, mode="bilinear", antialias=True)
        result[begin : begin + len(block)] = small.round_().clamp_(0, 255)
    return result


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Convert (N, C, H, W) uint8 images to greyscale (1 channel: the luma of ITU-R 601) or RGB (3 channels)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    grey = torch.empty((len(images), 1, *images.shape[-2:]), dtype=torch.uint8)
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    for begin in range(0, len(images), IMAGES_PER_BLOCK):
        block = images[begin : begin + IMAGES_PER_BLOCK].float()
        grey[begin : begin + len(block)] = (block * weights).sum(1, keepdim=True).round_()
    return grey


def is_grey(images: Tensor) -> bool:
    """Tell whether the three channels of all (N, 3, H, W) images are equal."""
    return all(bool((block == block[:, :1]).all()) for block in images.split(IMAGES_PER_BLOCK))


def common_size(
    images: Sequence[LabelledImage], max_pixels: int, threads: int, report: Reporter = ignore
) -> tuple[int, int] | None:
    """Determine whether all images have the same size, from their headers.

    Args:
        images: The image files. Those that cannot be read do not count.
        max_pixels: Largest number of pixels to accept in a file.
        threads: Number of threads that read headers.
        report: Receives a ``Step`` after each block of headers.

    Returns:
        The common (height, width), or None if the sizes differ or no header can be read.
    """

    def size_of(image: LabelledImage) -> tuple[int, int] | None:
        try:
            return image_size(image.path, max_pixels)
        except DataError:
            return None

    sizes: set[tuple[int, int]] = set()
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(images), HEADERS_PER_BLOCK):
            block = images[begin : begin + HEADERS_PER_BLOCK]
            sizes.update(size for size in pool.map(size_of, block) if size is not None)
            if len(sizes) > 1:
                break
            report(Step(begin + len(block)))
    return sizes.pop() if len(sizes) == 1 else None


def read_images(
    sources: Sequence[LabelledImage],
    size: tuple[int, int],
    *,
    max_pixels: int,
    threads: int,
    report: Reporter = ignore,
) -> tuple[ImageSet, list[UnreadableImage]]:
    """Read image files in threads, as RGB of one size.

    Args:
        sources: The image files and their labels.
        size: (height, width) of the result.
        max_pixels: Largest number of pixels to accept in a file.
        threads: Number of threads.
        report: Receives a ``Step`` after each image.

    Returns:
        The images that can be read, in order, with labels if all of them have one; and those that cannot be read.

    Raises:
        DataError: The images do not fit in memory.
    """
    _check_memory(len(sources), size)
    images = torch.empty((len(sources), 3, *size), dtype=torch.uint8)
    failures: list[UnreadableImage] = []
    usable: list[int] = []
    pool = ThreadPoolExecutor(threads)
    try:
        read = partial(_read_into, images, size, max_pixels)
        for index, failure in enumerate(pool.map(read, range(len(sources)), sources)):
            if failure is None:
                usable.append(index)
            else:
                failures.append(failure)
            report(Step(index + 1))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the remaining files
    return _image_set(_moved_to_front(images, usable), [sources[index] for index in usable]), failures


def _check_memory(count: int, size: tuple[int, int]) -> None:
    needed = count * 3 * size[0] * size[1]
    if needed * local_processes() > free_memory() * MEMORY_FRACTION:
        raise DataError(
            f"{count:,} images of {size[0]}x{size[1]} take {needed / 2**30:.1f} GiB, more than is free: "
            "take a smaller --size, or fewer with --limit."
        )


def _image_set(images: Tensor, sources: Sequence[LabelledImage]) -> ImageSet:
    labelled = all(source.label is not None for source in sources)
    labels = np.array([source.label for source in sources], dtype=np.int64) if labelled else None
    return ImageSet(images=images, labels=labels, names=[str(source.path) for source in sources])


def _moved_to_front(images: Tensor, usable: Sequence[int]) -> Tensor:
    """Move the usable images to the front in place, because a copy would double the memory, and drop the rest."""
    if len(usable) == len(images):
        return images
    for target, index in enumerate(usable):
        if target != index:
            images[target] = images[index]
    return images[: len(usable)]


def _read_into(
    images: Tensor, size: tuple[int, int], max_pixels: int, index: int, source: LabelledImage
) -> UnreadableImage | None:
    try:
        images[index] = resize_image(read_image(source.path, max_pixels), size)
    except DataError as error:
        return UnreadableImage(str(source.path), error.kind, str(error))
    return None
