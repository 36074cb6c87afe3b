"""Maps that know nothing of an image, or as much as people do: what a saliency model is read against."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from cvkit.data.images import resize_map
from cvkit.tasks.saliency.data import fixations as fix
from cvkit.tasks.saliency.data.fixations import Fixations

CENTRE_SIGMA = 0.25  # of each side: near the best in CC, NSS and KL on photographs of OSIE
OBSERVER_SPREAD = 0.1  # of the mass of a map made of few observers
MEAN_SIZE = (240, 320)  # the size maps are averaged at
KEPT_SIZES = 16  # of which the sum of all fixations is kept: a data set may have as many sizes as images


def centre_prior(size: tuple[int, int]) -> np.ndarray:
    """Return a Gaussian at the image's centre, stretched to its shape: (H, W) float32, 0..1."""
    height, width = size
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * CENTRE_SIGMA**2))


def observer_map(counts: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return the map that some observers' (H, W) fixation counts make of an image: (H, W) float32, 0..1.

    Blurred as a human map is, with OBSERVER_SPREAD of its mass laid out as the centre prior. Without that, a place that
    none of a few observers looked at would have probability zero, and KL and IG would be those of the zeros.
    """
    blurred = fix.blur(counts, sigma_px)
    prior = centre_prior((counts.shape[0], counts.shape[1]))
    share = prior / prior.sum() * OBSERVER_SPREAD
    if blurred.any():
        share = share + blurred / blurred.sum() * (1 - OBSERVER_SPREAD)
    return (share / share.max()).astype(np.float32)


class MeanMap:
    """The mean of many maps, each of them brought to sum 1 and to one size first."""

    def __init__(self) -> None:
        self.total = np.zeros(MEAN_SIZE, dtype=np.float64)
        self.count = 0

    def add(self, values: np.ndarray) -> None:
        """Add an (H, W) map; an empty one adds nothing."""
        share = self._share(values)
        self.total += share
        self.count += int(share.any())

    def at(self, size: tuple[int, int], without: np.ndarray | None = None) -> np.ndarray:
        """Return the mean map at (H, W), 0..1; ``without`` leaves one of the added maps out."""
        total = self.total if without is None else self.total - self._share(without)
        resized = np.clip(resize_map(total.astype(np.float32), size), 0, None)
        return resized / max(float(resized.max()), 1e-12)

    @staticmethod
    def _share(values: np.ndarray) -> np.ndarray:
        small = resize_map(values, MEAN_SIZE).astype(np.float64)
        return small / max(small.sum(), 1e-12)


def halves(points: Fixations, seed: tuple[int, ...]) -> tuple[Fixations, Fixations] | None:
    """Part the fixations of an image by subject into two random halves; None with fewer than two subjects."""
    if points.subject is None:
        return None
    subjects = np.unique(points.subject)
    if len(subjects) < 2:
        return None
    order = np.random.default_rng(seed).permutation(subjects)
    first = np.isin(points.subject, order[: len(order) // 2])
    return points.where(first), points.where(~first)


class Negatives:
    """The fixations of the other images: what shuffled AUC takes as negatives."""

    def __init__(self, points: Sequence[Fixations], sizes: Sequence[tuple[int, int]], *, some: int | None, seed: int):
        self.points, self.sizes, self.some, self.seed = points, sizes, some, seed
        self._totals: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def for_image(self, index: int) -> np.ndarray | None:
        """Return (H, W) int32 counts of the fixations of other images, brought to the size of image ``index``.

        All of the others, or ``some`` of them drawn at random by (seed, index). None when there are no others.
        """
        size, count = self.sizes[index], len(self.points)
        if count < 2:
            return None
        if self.some is not None and self.some < count - 1:
            others = np.delete(np.arange(count), index)
            chosen = np.random.default_rng((self.seed, index)).choice(others, self.some, replace=False)
            return self._sum(chosen.tolist(), size)
        if size not in self._totals:
            self._totals[size] = self._sum(range(count), size)
            if len(self._totals) > KEPT_SIZES:
                self._totals.popitem(last=False)
        return self._totals[size] - self._sum([index], size)

    def _sum(self, chosen: Sequence[int], size: tuple[int, int]) -> np.ndarray:
        """Count the fixations of the chosen images in one go: the cost is that of the points, not of the images."""
        places = [fix.places(self.points[i], self.points[i].size or self.sizes[i], size) for i in chosen]
        rows, columns = (np.concatenate(parts) for parts in zip(*places, strict=True))
        counted = np.bincount(rows * size[1] + columns, minlength=size[0] * size[1])
        return counted.astype(np.int32).reshape(size)
