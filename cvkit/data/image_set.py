"""Images held in memory as one array of bytes, whose batches cost no call an image."""

from collections.abc import Callable, Sequence
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
from cvkit.errors import DataError
from cvkit.processes import free_memory, local_processes

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL's
RESIZED_AT_ONCE = 1024
HEADERS_AT_ONCE = 64
MEMORY_SHARE = 0.4  # of what is free: reducing and dividing images holds them twice for a moment


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images of one size in memory.

    ``images`` (N, C, H, W) uint8, C 1 or 3; ``labels`` (N,) int64 or None; ``names`` what each image is called.
    """

    images: Tensor
    labels: NDArray[np.int64] | None
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Return where the images are."""
        return self.images.device

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``image`` (B, C, H, W) uint8 and ``index`` (B,) int64 of these images."""
        del epoch
        index = torch.from_numpy(indices).to(self.device, non_blocking=True)
        return {"image": self.images.index_select(0, index), "index": index}

    def take(self, chosen: NDArray[np.int64]) -> "ImageSet":
        """Return the images of these numbers alone."""
        labels = None if self.labels is None else self.labels[chosen]
        images = self.images[torch.from_numpy(chosen)]
        return ImageSet(images=images, labels=labels, names=[self.names[i] for i in chosen])

    def at(self, device: torch.device) -> "ImageSet":
        """Return the same images on a device, where they take less than a quarter of its free memory."""
        if device.type != "cuda" or self.images.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
            return self
        return replace(self, images=self.images.to(device))


@dataclass(frozen=True)
class Failed:
    """An image that could not be read: its name, the kind of failure and the message."""

    name: str
    kind: str
    message: str


def as_images(array: NDArray[np.uint8]) -> Tensor:
    """Return an array (N, H, W) or (N, H, W, C), C 1 or 3, as (N, C, H, W); raises DataError for other shapes."""
    if array.ndim == 3:
        return torch.from_numpy(array.copy())[:, None]
    if array.ndim == 4 and array.shape[-1] in (1, 3):
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    raise DataError(f"an array of shape {'x'.join(map(str, array.shape))} does not hold images.")


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (N, C, H, W) uint8 images to a (height, width), bilinear with antialiasing."""
    if images.shape[-2:] == size:
        return images
    whole = torch.empty((*images.shape[:2], *size), dtype=torch.uint8)
    for begin in range(0, len(images), RESIZED_AT_ONCE):
        part = images[begin : begin + RESIZED_AT_ONCE].float()
        small = F.interpolate(part, size=size, mode="bilinear", antialias=True)
        whole[begin : begin + len(part)] = small.round_().clamp_(0, 255)
    return whole


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Return (N, C, H, W) uint8 images with 1 (grey: the luma of ITU-R 601) or 3 channels."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    grey = torch.empty((len(images), 1, *images.shape[-2:]), dtype=torch.uint8)
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    for begin in range(0, len(images), RESIZED_AT_ONCE):
        part = images[begin : begin + RESIZED_AT_ONCE].float()
        grey[begin : begin + len(part)] = (part * weights).sum(1, keepdim=True).round_()
    return grey


def is_grey(images: Tensor) -> bool:
    """Tell whether all (N, 3, H, W) images are grey."""
    return all(bool((part == part[:, :1]).all()) for part in images.split(RESIZED_AT_ONCE))


def common_size(
    paths: Sequence[LabelledImage], max_pixels: int, threads: int, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[int, int] | None:
    """Return the (height, width) that all images have, or None; those whose header cannot be read do not count."""

    def size_of(image: LabelledImage) -> tuple[int, int] | None:
        try:
            return image_size(image.path, max_pixels)
        except DataError:
            return None

    seen: set[tuple[int, int]] = set()
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(paths), HEADERS_AT_ONCE):
            some = paths[begin : begin + HEADERS_AT_ONCE]
            seen.update(size for size in pool.map(size_of, some) if size is not None)
            if len(seen) > 1:
                break
            on_progress(begin + len(some))
    return seen.pop() if len(seen) == 1 else None


def read_photographs(
    found: Sequence[LabelledImage],
    size: tuple[int, int],
    *,
    max_pixels: int,
    threads: int,
    on_progress: Callable[[int], None],
) -> tuple[ImageSet, list[Failed]]:
    """Read images into memory in threads, RGB, brought to a (height, width); and list those that cannot be read.

    Raises DataError when they do not fit in memory.
    """
    needed = len(found) * 3 * size[0] * size[1]
    if needed * local_processes() > free_memory() * MEMORY_SHARE:
        raise DataError(
            f"{len(found):,} images of {size[0]}x{size[1]} take {needed / 2**30:.1f} GiB, more than is free: "
            "take a smaller --size, or fewer with --limit."
        )
    images = torch.empty((len(found), 3, *size), dtype=torch.uint8)
    read = partial(_read_into, images, size, max_pixels)
    failures: list[Failed] = []
    usable: list[int] = []
    pool = ThreadPoolExecutor(threads)
    try:
        for number, failure in enumerate(pool.map(read, range(len(found)), found)):
            if failure is None:
                usable.append(number)
            else:
                failures.append(failure)
            on_progress(number + 1)
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for the files still to come
    if failures:
        for place, number in enumerate(usable):  # moved together in place: a copy would take as much again
            if place != number:
                images[place] = images[number]
        images = images[: len(usable)]
    kept = [found[number] for number in usable]
    known = all(image.label is not None for image in kept)
    labels = np.array([image.label for image in kept], dtype=np.int64) if known else None
    return ImageSet(images=images, labels=labels, names=[str(image.path) for image in kept]), failures


def _read_into(
    images: Tensor, size: tuple[int, int], max_pixels: int, number: int, found: LabelledImage
) -> Failed | None:
    try:
        images[number] = resize_image(read_image(found.path, max_pixels), size)
    except DataError as error:
        return Failed(str(found.path), error.kind, str(error))
    return None
