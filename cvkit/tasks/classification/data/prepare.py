"""Read every image once before training: find those that cannot be read, and fill the cache."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cvkit.data.image_set import UnreadableImage
from cvkit.errors import DataError
from cvkit.files import sha256, sha256_of
from cvkit.messages import reason
from cvkit.processes import free_memory, local_processes
from cvkit.tasks.classification.data.reading import ImageReader

CACHED_FRACTION = 4  # the cache of --cache auto takes at most one part in four of the free memory


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Images all of which have been read once.

    Attributes:
        reader: Reads the images that can be used.
        cached: These images in memory; None if they are not kept.
        failures: The other images.
        sha256: Digest of the contents and the classes of the images in their order.
    """

    reader: ImageReader
    cached: Tensor | list[Tensor] | None
    failures: list[UnreadableImage]
    sha256: str


def fits_in_memory(readers: list[ImageReader]) -> bool:
    """Return whether the cache of all images takes less than a quarter of the free memory."""
    needed = sum(reader.bytes_per_image * len(reader.images) for reader in readers)
    return needed * local_processes() * CACHED_FRACTION < free_memory()


def prepare(reader: ImageReader, *, cache: bool, threads: int, on_progress: Callable[[int], None]) -> Prepared:
    """Read every image in threads.

    Args:
        reader: Reads the images.
        cache: Whether to keep them in memory.
        threads: Number of threads.
        on_progress: Receives the number of images read so far.
    """
    images = reader.images
    cached: list[Tensor] = []
    failures: list[UnreadableImage] = []
    usable: list[int] = []
    digests: list[str] = []

    def attempt(index: int) -> tuple[Tensor | None, str] | DataError:
        try:
            pixels = reader(index)
            return (pixels if cache else None), _digest(reader, index)
        except DataError as error:
            return error

    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        for index, outcome in enumerate(pool.map(attempt, range(len(images)))):
            if isinstance(outcome, DataError):
                failures.append(UnreadableImage(images.names[index], outcome.kind, str(outcome)))
            else:
                usable.append(index)
                digests.append(f"{outcome[1]} {images.labels[index]}")
                if outcome[0] is not None:
                    cached.append(outcome[0])
            on_progress(index + 1)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the remaining files
    if failures:
        reader = replace(reader, images=images.subset(np.array(usable, dtype=np.int64)))
    digest = sha256_of("\n".join(digests).encode("ascii"))
    return Prepared(reader=reader, cached=_joined(cached) if cache else None, failures=failures, sha256=digest)


def _digest(reader: ImageReader, index: int) -> str:
    """Return the SHA-256 of an image file or of the pixels in an array."""
    images = reader.images
    if images.array is not None:
        return sha256_of(np.ascontiguousarray(images.array[index]).data)
    assert images.paths is not None
    try:
        return sha256(images.paths[index])
    except OSError as error:
        raise DataError(f"{images.paths[index]}: cannot be read ({reason(error)}).") from error


def _joined(images: list[Tensor]) -> Tensor | list[Tensor]:
    """Return images of one size as one tensor, from which batches are taken faster."""
    if images and all(image.shape == images[0].shape for image in images):
        return torch.stack(images)
    return images
