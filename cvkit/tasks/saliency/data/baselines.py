"""Baselines of saliency models: centre prior, mean map, inter-observer maps, and the negatives of shuffled AUC."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from cvkit.data.images import resize_map
from cvkit.tasks.saliency.data.fixations import Fixations, blur_counts, grid_positions

CENTRE_SIGMA = 0.25  # fraction of each side: near the optimum of CC, NSS and KL on photographs of OSIE
OBSERVER_SPREAD = 0.1  # fraction of the mass of an inter-observer map that follows the centre prior
MEAN_SIZE = (240, 320)  # (height, width) in pixels at which maps are averaged
MAX_CACHED_SIZES = 16  # image sizes for which the sum of all fixations is cached; each image may have its own


def centre_prior(size: tuple[int, int]) -> np.ndarray:
    """Return a Gaussian at the image's centre, stretched to its aspect ratio, as an (H, W) float32 map from 0 to 1."""
    height, width = size
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * CENTRE_SIGMA**2))


def observer_map(counts: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return a saliency map made of the fixations of a few observers.

    The counts are blurred as for a human map, and ``OBSERVER_SPREAD`` of the mass follows the centre prior. Without it,
    pixels that none of the few observers fixated would have probability zero and would dominate KL and IG.

    Args:
        counts: (H, W) fixation counts.
        sigma_px: Standard deviation of the blur in pixels.

    Returns:
        (H, W) float32 from 0 to 1.
    """
    blurred = blur_counts(counts, sigma_px)
    prior = centre_prior((counts.shape[0], counts.shape[1]))
    mass = prior / prior.sum() * OBSERVER_SPREAD
    if blurred.any():
        mass = mass + blurred / blurred.sum() * (1 - OBSERVER_SPREAD)
    return (mass / mass.max()).astype(np.float32)


class MeanMap:
    """Mean of maps that are first resized to one size and divided by their sum."""

    def __init__(self) -> None:
        self.total = np.zeros(MEAN_SIZE, dtype=np.float64)
        self.count = 0

    def add(self, values: np.ndarray) -> None:
        """Add an (H, W) map; an all-zero map adds nothing."""
        normalised = self._normalise(values)
        self.total += normalised
        self.count += int(normalised.any())

    def at(self, size: tuple[int, int], without: np.ndarray | None = None) -> np.ndarray:
        """Return the mean map.

        Args:
            size: (height, width) of the map in pixels.
            without: One of the added maps, to be left out of the mean.

        Returns:
            (H, W) float32 from 0 to 1.
        """
        total = self.total if without is None else self.total - self._normalise(without)
        resized = np.clip(resize_map(total.astype(np.float32), size), 0, None)
        return resized / max(float(resized.max()), 1e-12)

    @staticmethod
    def _normalise(values: np.ndarray) -> np.ndarray:
        small = resize_map(values, MEAN_SIZE).astype(np.float64)
        return small / max(small.sum(), 1e-12)


def split_subjects(points: Fixations, seed: tuple[int, ...]) -> tuple[Fixations, Fixations] | None:
    """Split the fixations of an image into those of two random halves of the subjects.

    Args:
        points: Fixations with subjects.
        seed: Seed of the random split.

    Returns:
        The fixations of the two halves, or None if there are fewer than two subjects.
    """
    if points.subject is None:
        return None
    subjects = np.unique(points.subject)
    if len(subjects) < 2:
        return None
    order = np.random.default_rng(seed).permutation(subjects)
    first = np.isin(points.subject, order[: len(order) // 2])
    return points.where(first), points.where(~first)


class Negatives:
    """Fixations of the other images, which shuffled AUC takes as negatives.

    Args:
        points: Fixations of each image.
        sizes: (height, width) of each image in pixels.
        max_images: Number of other images to draw at random for an image; None for all of them.
        seed: Seed of the random draw.
    """

    def __init__(
        self, points: Sequence[Fixations], sizes: Sequence[tuple[int, int]], *, max_images: int | None, seed: int
    ) -> None:
        self.points, self.sizes, self.max_images, self.seed = points, sizes, max_images, seed
        self._lock = threading.Lock()
        self._totals: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def for_image(self, index: int) -> np.ndarray | None:
        """Return the fixation counts of other images at the size of image ``index``.

        The random draw depends on (seed, index) only.

        Returns:
            (H, W) int32, or None if there are no other images.
        """
        size, count = self.sizes[index], len(self.points)
        if count < 2:
            return None
        if self.max_images is not None and self.max_images < count - 1:
            others = np.delete(np.arange(count), index)
            chosen = np.random.default_rng((self.seed, index)).choice(others, self.max_images, replace=False)
            return self._sum(chosen.tolist(), size)
        return self._total(size) - self._sum([index], size)

    def _total(self, size: tuple[int, int]) -> np.ndarray:
        """Return the fixation counts of all images at a size; threads share them."""
        with self._lock:
            if size not in self._totals:
                self._totals[size] = self._sum(range(len(self.points)), size)
                if len(self._totals) > MAX_CACHED_SIZES:
                    self._totals.popitem(last=False)
            return self._totals[size]

    def _sum(self, chosen: Sequence[int], size: tuple[int, int]) -> np.ndarray:
        """Count the fixations of the chosen images at once, at a cost that depends on their number alone."""
        cells = [grid_positions(self.points[i], self.points[i].size or self.sizes[i], size) for i in chosen]
        rows, columns = (np.concatenate(parts) for parts in zip(*cells, strict=True))
        counted = np.bincount(rows * size[1] + columns, minlength=size[0] * size[1])
        return counted.astype(np.int32).reshape(size)
