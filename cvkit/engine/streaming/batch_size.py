"""Choose the number of images per batch while an inference command runs."""

from collections.abc import Callable

import torch

TRIALS = 3  # full batches per size whose time is measured; the first one, which is slow on a GPU, does not count
MIN_GAIN = 0.05  # by which a doubled batch must be faster per image
ON_GPU, ON_PROCESSOR = 32, 4  # images per batch at the start
MAX_BATCH = 256  # images per batch, because those that wait take memory of the machine


def default_batch_size(device: torch.device) -> int:
    """Return the number of images per batch of an inference command if ``--batch-size`` is auto."""
    return ON_GPU if device.type == "cuda" else ON_PROCESSOR


class BatchSize:
    """The number of images per batch: halved if memory does not suffice, doubled while that makes a command faster.

    The results do not depend on it, up to rounding.

    Attributes:
        images: The number.
    """

    def __init__(self, images: int, can_double: Callable[[], bool] | None = None) -> None:
        """Start with a number of images.

        Args:
            images: The number.
            can_double: Returns whether memory suffices for twice as many; None if the number must not grow.
        """
        self.images = images
        self._can_double = can_double
        self._seconds: list[float] = []
        self._before: tuple[int, float] | None = None  # the smaller size, and its seconds per image

    def add_time(self, images: int, seconds: float) -> None:
        """Take the time of a batch into account."""
        if self._can_double is None or images != self.images:
            return
        self._seconds.append(seconds / images)
        if len(self._seconds) <= TRIALS:
            return
        fastest = min(self._seconds[1:])
        self._seconds = []
        if self._before is not None and fastest > (1 - MIN_GAIN) * self._before[1]:
            self.images = self._before[0]
            self._can_double = None
        elif 2 * self.images > MAX_BATCH or not self._can_double():
            self._can_double = None
        else:
            self._before = (self.images, fastest)
            self.images *= 2

    def out_of_memory(self, images: int) -> bool:
        """Halve the number after a batch did not fit into memory, and return whether it has changed."""
        self._can_double = None
        smaller = max(1, min(self.images, images // 2))
        self.images, changed = smaller, smaller < self.images
        return changed
