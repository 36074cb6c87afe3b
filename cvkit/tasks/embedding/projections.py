"""Project images for the comparison with an autoencoder: PCA, t-SNE and UMAP, as implemented by their libraries."""

import importlib.util
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import UsageError

Floats = NDArray[np.float32]
MAX_FIT_BYTES = 256 << 20  # of float32 images that PCA is fitted on; if there are more, on a random sample
BLOCK_SIZE = 2048  # images that PCA transforms at once
RANDOM_AXIS = "(at random)"  # label of an axis with random coordinates
MIN_IMAGES = 5  # for t-SNE and UMAP


def flatten_images(images: NDArray[np.uint8]) -> Floats:
    """Return images (N, ...) uint8 as rows (N, D) float32 in 0..1."""
    values = images.reshape(len(images), -1).astype(np.float32)
    values /= np.float32(255)  # in place, to save memory
    return values


class Pca:
    """A principal component analysis of images, fitted by scikit-learn.

    Attributes:
        components: Number of components. If there are fewer images or pixels, the remaining codes are 0.
        fitted_on: Number of images that it was fitted on.
    """

    def __init__(self, images: NDArray[np.uint8], components: int, seed: int) -> None:
        """Fit the components.

        Args:
            images: (N, ...) uint8.
            components: Number of components.
            seed: Seed of the sample of images and of the randomised solver.
        """
        from sklearn.decomposition import PCA

        flat = images.reshape(len(images), -1)
        limit = max(components, MAX_FIT_BYTES // (4 * flat.shape[1]))
        if len(flat) > limit:
            flat = flat[np.sort(np.random.default_rng(seed).choice(len(flat), limit, replace=False))]
        self.fitted_on = len(flat)
        self.components = components
        self._fitted = min(components, *flat.shape)
        with np.errstate(invalid="ignore", divide="ignore"):  # explained variance ratios of equal images
            self._pca: Any = PCA(n_components=self._fitted, random_state=short_seed(seed)).fit(flatten_images(flat))

    def encode(self, images: NDArray[np.uint8]) -> Floats:
        """Return the codes (N, components) float32 of images (N, ...) uint8."""
        codes = np.zeros((len(images), self.components), np.float32)
        for begin in range(0, len(images), BLOCK_SIZE):
            part = flatten_images(images[begin : begin + BLOCK_SIZE])
            codes[begin : begin + len(part), : self._fitted] = self._pca.transform(part)
        return codes

    def reconstruct(self, images: Floats) -> Floats:
        """Return the reconstructions (N, D) float32 of images (N, D) in 0..1; values may lie outside 0..1."""
        return np.asarray(self._pca.inverse_transform(self._pca.transform(images)), np.float32)


class CodePlane:
    """A two-dimensional view of codes (N, d).

    The coordinates are the codes themselves for d = 2, the code and a random number for d = 1, and the first two
    principal components of the codes for d > 2.

    Attributes:
        dimensions: Dimension d of the codes.
        seed: Seed of the random coordinates and of PCA.
        axes: Labels of the two coordinates.
    """

    def __init__(self, codes: Floats, seed: int) -> None:
        self.dimensions = codes.shape[1]
        self.seed = seed
        self.axes = ("z0", RANDOM_AXIS if self.dimensions == 1 else "z1")
        self._pca: Any = None
        if self.dimensions > 2:
            from sklearn.decomposition import PCA

            self.axes = ("component 1 of the codes", "component 2 of the codes")
            self._pca = PCA(n_components=2, random_state=short_seed(seed)).fit(codes)

    def to_plane(self, codes: Floats) -> Floats:
        """Return the points (N, 2) float32 of codes (N, d)."""
        if self._pca is not None:
            return np.asarray(self._pca.transform(codes), np.float32)
        return first_two_dimensions(codes, self.seed)

    def to_codes(self, points: Floats) -> Floats:
        """Return the codes (N, d) float32 of points (N, 2)."""
        if self._pca is not None:
            return np.asarray(self._pca.inverse_transform(points), np.float32)
        return np.ascontiguousarray(points[:, : self.dimensions])


def first_two_dimensions(codes: Floats, seed: int) -> Floats:
    """Return the first two dimensions (N, 2) of codes (N, d); for d = 1 the second is uniformly random in -1..1."""
    if codes.shape[1] > 1:
        return codes[:, :2]
    random = np.random.default_rng(seed).uniform(-1, 1, len(codes)).astype(np.float32)
    return np.column_stack([codes[:, 0], random])


def can_project(images: NDArray[np.uint8]) -> bool:
    """Return whether t-SNE and UMAP work on images (N, ...): five or more are needed, and not all equal."""
    return len(images) >= MIN_IMAGES and bool((images != images[:1]).any())


def short_seed(seed: int) -> int:
    """Return a seed of 32 bits for scikit-learn and umap-learn; one that is not longer stays as it is."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def tsne(images: NDArray[np.uint8], seed: int) -> Floats:
    """Project images into two dimensions by t-SNE, with perplexity 30 or less for few images and PCA initialisation.

    Source: van der Maaten and Hinton 2008, Visualizing data using t-SNE; scikit-learn's implementation.

    Args:
        images: (N, ...) uint8, for which ``can_project`` is true.
        seed: Seed of the random state.

    Returns:
        Points, (N, 2) float32.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(images) - 1) / 3)
    state = short_seed(seed)
    projection = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=state, n_jobs=-1)
    return np.asarray(projection.fit_transform(flatten_images(images)), np.float32)


def require_umap() -> None:
    """Raise UsageError if UMAP is not installed."""
    if importlib.util.find_spec("umap") is None:
        raise UsageError("--compare umap needs the package umap-learn: pip install 'cvkit[umap]'.")


def umap(train: NDArray[np.uint8], test: NDArray[np.uint8], seed: int) -> tuple[Floats, Floats]:
    """Project images into two dimensions by UMAP, fitted on the train images with 15 neighbours or less for few images.

    Source: McInnes et al. 2018, UMAP, arXiv 1802.03426; implementation of umap-learn.

    Args:
        train: (N, ...) uint8, for which ``can_project`` is true.
        test: (M, ...) uint8.
        seed: Seed of the random state.

    Returns:
        Points of the train images (N, 2) and of the test images (M, 2), float32.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        state, neighbours = short_seed(seed), min(15, len(train) - 1)
        fitted = UMAP(n_components=2, n_neighbors=neighbours, random_state=state).fit(flatten_images(train))
        return np.asarray(fitted.embedding_, np.float32), np.asarray(fitted.transform(flatten_images(test)), np.float32)
