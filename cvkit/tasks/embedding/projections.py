"""Projections that an autoencoder's codes are compared with: PCA, t-SNE and UMAP, as their libraries have them."""

import importlib.util
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import UsageError

Floats = NDArray[np.float32]
FITTED_BYTES = 256 << 20  # PCA is fitted on at most so many bytes of images, drawn at random beyond that
BLOCK = 2048
AT_RANDOM = "(at random)"  # an axis that means nothing
FEWEST = 5  # images that a layout by neighbours needs


def pixels(images: NDArray[np.uint8]) -> Floats:
    """Return images (N, ...) uint8 as rows (N, pixels) float32 in 0..1."""
    values = images.reshape(len(images), -1).astype(np.float32)
    values /= np.float32(255)  # in place: there may be much of it
    return values


class Pca:
    """Principal components of images (N, pixels) uint8, fitted by scikit-learn.

    With fewer images or pixels than ``components`` the codes beyond are zero. ``fitted_on`` is the number of images
    that it was fitted on.
    """

    def __init__(self, images: NDArray[np.uint8], components: int, seed: int) -> None:
        from sklearn.decomposition import PCA

        flat = images.reshape(len(images), -1)
        most = max(components, FITTED_BYTES // (4 * flat.shape[1]))
        if len(flat) > most:
            flat = flat[np.sort(np.random.default_rng(seed).choice(len(flat), most, replace=False))]
        self.fitted_on = len(flat)
        self.components = components
        self._found = min(components, *flat.shape)
        with np.errstate(invalid="ignore", divide="ignore"):  # shares of a variance of 0, which nobody asks for
            self._pca: Any = PCA(n_components=self._found, random_state=seed).fit(pixels(flat))

    def encode(self, images: NDArray[np.uint8]) -> Floats:
        """Return codes (N, components) float32 of images (N, ...) uint8."""
        codes = np.zeros((len(images), self.components), np.float32)
        for begin in range(0, len(images), BLOCK):
            part = pixels(images[begin : begin + BLOCK])
            codes[begin : begin + len(part), : self._found] = self._pca.transform(part)
        return codes

    def reconstruct(self, images: Floats) -> Floats:
        """Return images (N, pixels) float, noisy or not, as the plane of the components has them: beyond 0..1 too."""
        return np.asarray(self._pca.inverse_transform(self._pca.transform(images)), np.float32)


class CodePlane:
    """A plane to look at codes (N, d) in: the codes themselves for d of 2, else their two main components.

    Codes of one number are laid out on a line, with chance up and down. ``axes`` are what the coordinates are called.
    """

    def __init__(self, codes: Floats, seed: int) -> None:
        self.dimensions = codes.shape[1]
        self.seed = seed
        self.axes = ("z0", AT_RANDOM if self.dimensions == 1 else "z1")
        self._pca: Any = None
        if self.dimensions > 2:
            from sklearn.decomposition import PCA

            self.axes = ("component 1 of the codes", "component 2 of the codes")
            self._pca = PCA(n_components=2, random_state=seed).fit(codes)

    def to_plane(self, codes: Floats) -> Floats:
        """Return points (N, 2) of codes (N, d)."""
        if self._pca is not None:
            return np.asarray(self._pca.transform(codes), np.float32)
        return first_two(codes, self.seed)

    def to_codes(self, points: Floats) -> Floats:
        """Return codes (N, d) of points (N, 2) of the plane."""
        if self._pca is not None:
            return np.asarray(self._pca.inverse_transform(points), np.float32)
        return np.ascontiguousarray(points[:, : self.dimensions])


def first_two(codes: Floats, seed: int) -> Floats:
    """Return the first two numbers (N, 2) of codes (N, d); beside a single one, chance."""
    if codes.shape[1] > 1:
        return codes[:, :2]
    up = np.random.default_rng(seed).uniform(-1, 1, len(codes)).astype(np.float32)
    return np.column_stack([codes[:, 0], up])


def can_lay_out(images: NDArray[np.uint8]) -> bool:
    """Tell whether t-SNE and UMAP can make anything of these images: five or more, and not all alike."""
    return len(images) >= FEWEST and bool((images != images[:1]).any())


def tsne(images: NDArray[np.uint8], seed: int) -> Floats:
    """Return the plane (N, 2) of images (N, ...) uint8 by t-SNE (van der Maaten & Hinton 2008), if ``can_lay_out``."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(images) - 1) / 3)
    plane = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=-1)
    return np.asarray(plane.fit_transform(pixels(images)), np.float32)


def need_umap() -> None:
    """Raise UsageError where UMAP is not installed."""
    if importlib.util.find_spec("umap") is None:
        raise UsageError("--compare umap needs umap-learn, which is not here: pip install 'cvkit[umap]'.")


def umap(train: NDArray[np.uint8], test: NDArray[np.uint8], seed: int) -> tuple[Floats, Floats]:
    """Return the planes of train and test images by UMAP (McInnes et al. 2018), fitted on train, if ``can_lay_out``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        fitted = UMAP(n_components=2, n_neighbors=min(15, len(train) - 1), random_state=seed).fit(pixels(train))
        return np.asarray(fitted.embedding_, np.float32), np.asarray(fitted.transform(pixels(test)), np.float32)
