"""Draw an embedding: planes side by side, reconstructions, a grid of decoded codes, and an interactive page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cvkit import files, render
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet, resized
from cvkit.tasks.embedding.comparison import EmbeddingScores, MethodEmbedding, format_count
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.noise import add_noise
from cvkit.tasks.embedding.projections import RANDOM_AXIS, CodePlane, first_two_dimensions
from cvkit.tasks.embedding.tables import Embedding

MAX_RECONSTRUCTIONS = 12  # test images in the picture
GRID_SIDE = 20  # decoded images per side of the grid
GRID_PERCENTILES = (1.0, 99.0)  # of the codes, which the grid spans
MAX_PAGE_IMAGES, MAX_THUMBNAIL_PX, MAX_SPRITE_PX = 20_000, 64, 8192


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The content of the pictures.

    Attributes:
        collection: The data set.
        embedder: The autoencoder.
        spaces: The codes of the autoencoder and of each projection.
        scores: EmbeddingScores by name of the space.
        title: Title of the pictures.
        seed: Seed for choices at random.
    """

    collection: Collection
    embedder: Embedder
    spaces: Sequence[MethodEmbedding]
    scores: Mapping[str, EmbeddingScores]
    title: str
    seed: int

    @cached_property
    def plane(self) -> CodePlane:
        """The plane onto which the codes of the autoencoder are projected."""
        return CodePlane(self.spaces[0].codes["train"], self.seed)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The distinct labels of all splits in ascending order, (K,) int64; empty if the data has no labels."""
        found = [part.labels for part in self.collection.splits.values() if part.labels is not None]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @property
    def classes(self) -> list[str]:
        """The class names of these labels."""
        return [self.collection.class_name(label) for label in self.labels.tolist()]


def draw(folder: Path, drawing: Drawing) -> list[Path]:
    """Write ``embedding.png``, ``reconstructions.png`` and ``latent-grid.png``, and return their paths."""
    test = drawing.collection.splits["test"]
    drawn = render.planes(
        _panels(drawing, {space.name: space.codes.get("test") for space in drawing.spaces}),
        title=f"{drawing.title}, {format_count(len(test), 'test image')}",
        labels=None if test.labels is None else np.searchsorted(drawing.labels, test.labels),
        classes=drawing.classes,
    )
    pictures = {"embedding.png": drawn}
    if drawing.embedder.decodes:
        pictures["reconstructions.png"] = _reconstructions(drawing.embedder, test, drawing.seed)
        pictures["latent-grid.png"] = _latent_grid(drawing)
    for name, content in pictures.items():
        files.write_atomic(folder / name, content)
    return [folder / name for name in pictures]


def _panels(drawing: Drawing, codes: Mapping[str, NDArray[np.float32] | None]) -> list[render.Plane]:
    """Return one panel per space that has codes, projected to two dimensions."""
    panels = []
    for space in drawing.spaces:
        values = codes[space.name]
        if values is None or not np.isfinite(values).any():
            continue
        own = space.name == "cae"
        points = drawing.plane.to_plane(values) if own else first_two_dimensions(values, drawing.seed)
        second = "component 2" if values.shape[1] > 1 else RANDOM_AXIS
        axes = drawing.plane.axes if own else ("component 1", second) if space.name == "pca" else ("", "")
        panels.append(
            render.Plane(name=space.title, about=_about(drawing.scores[space.name]), points=points, axes=axes)
        )
    return panels


def _about(scores: EmbeddingScores) -> str:
    shown = {"10-NN accuracy": scores.knn_accuracy, "trustworthiness": scores.trustworthiness}
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)


def _examples(test: ImageSet) -> NDArray[np.int64]:
    """Return the indices of the test images to show, from all classes in turn if labels are known."""
    count = min(MAX_RECONSTRUCTIONS, len(test))
    if test.labels is None:
        return np.unique(np.linspace(0, len(test) - 1, count).round().astype(np.int64))
    turns = np.zeros(len(test), np.int64)  # number of images of the same class before each image
    for label in np.unique(test.labels):
        members = np.flatnonzero(test.labels == label)
        turns[members] = np.arange(len(members))
    chosen = np.lexsort((test.labels, turns))[:count]
    return chosen[np.lexsort((turns[chosen], test.labels[chosen]))]


def _reconstructions(embedder: Embedder, test: ImageSet, seed: int) -> bytes:
    index = torch.from_numpy(_examples(test))
    clean = embedder.pixels(test.images[index])
    seen = add_noise(clean, index, embedder.noise_sigma, seed)
    rows = {"input": clean}
    if embedder.noise_sigma:
        rows[f"with noise, sigma {embedder.noise_sigma:g}"] = seen.clamp(0, 1)
    rows["reconstruction"] = torch.cat([embedder.reconstruct(part) for part in seen.split(embedder.block)])
    pictures = [[_picture(image) for image in images.cpu().numpy()] for images in rows.values()]
    return render.encode_png(render.contact_sheet(pictures, captions=list(rows), cell_px=112))


def _picture(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)


def _latent_grid(drawing: Drawing) -> bytes:
    plane = drawing.plane
    points = plane.to_plane(drawing.spaces[0].codes["train"])
    (left, low), (right, high) = np.percentile(points, GRID_PERCENTILES, axis=0)
    columns, rows = GRID_SIDE, GRID_SIDE if plane.dimensions > 1 else 1
    across, down = np.linspace(left, right, columns), np.linspace(high, low, rows)
    corners = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2).astype(np.float32)
    images = drawing.embedder.decode(torch.from_numpy(plane.to_codes(corners))).permute(0, 2, 3, 1).numpy()
    return render.latent_grid(
        images.reshape(rows, columns, *images.shape[1:]),
        title=f"{drawing.title}: the decoded plane",
        horizontal=(float(left), float(right)),
        vertical=(float(low), float(high)),
        axes_names=plane.axes,
    )


def thumbs(images: torch.Tensor, max_px: int) -> NDArray[np.uint8]:
    """Shrink (N, C, H, W) uint8 images to (N, h, w, C) thumbnails with sides of at most ``max_px`` pixels."""
    height, width = images.shape[-2:]
    scale = min(1.0, max_px / max(height, width))
    small = resized(images, (max(1, round(height * scale)), max(1, round(width * scale))))
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def sprite(collection: Collection, splits: Sequence[str]) -> tuple[bytes, tuple[int, int]]:
    """Return the images of some splits as one PNG for TensorBoard, and the (height, width) of each image in it."""
    images = torch.cat([collection.splits[name].images for name in splits])
    side = int(np.ceil(np.sqrt(len(images))))
    small = thumbs(images, max(1, min(MAX_THUMBNAIL_PX, MAX_SPRITE_PX // side)))
    whole = render.sprite(small)
    return render.encode_png(whole[..., 0] if whole.shape[-1] == 1 else whole), (small.shape[1], small.shape[2])


def write_page(folder: Path, drawing: Drawing, embedding: Embedding, splits: Sequence[str]) -> Path:
    """Write ``embedding.html`` with all embedded images, or with 20,000 of them drawn at random."""
    count = len(embedding)
    chosen = np.arange(count)
    if count > MAX_PAGE_IMAGES:
        chosen = np.sort(np.random.default_rng(drawing.seed).choice(count, MAX_PAGE_IMAGES, replace=False))
    sets = {name: drawing.collection.splits[name] for name in splits}
    codes = {space.name: _all_codes(space, sets)[chosen] for space in drawing.spaces}
    labels = np.array([-1 if label is None else label for label in embedding.labels])[chosen]
    images = torch.cat([part.images for part in sets.values()])[torch.from_numpy(chosen)]
    known = (labels >= 0).any()
    text = render.embedding_page(
        _panels(drawing, codes),
        render.PagePoints(
            images=thumbs(images, MAX_THUMBNAIL_PX),
            names=[embedding.names[number] for number in chosen.tolist()],
            splits=[embedding.splits[number] for number in chosen.tolist()],
            labels=np.where(labels < 0, -1, np.searchsorted(drawing.labels, labels)) if known else None,
            classes=drawing.classes,
        ),
        title=f"{drawing.title}, {len(chosen)} images" + (f" of {count}" if len(chosen) < count else ""),
    )
    files.write_atomic(folder / "embedding.html", text)
    return folder / "embedding.html"


def _all_codes(space: MethodEmbedding, sets: Mapping[str, ImageSet]) -> NDArray[np.float32]:
    """Concatenate the codes of some splits; codes of a split that the space does not embed are NaN."""
    width = next(iter(space.codes.values())).shape[1]
    empty = {name: np.full((len(part), width), np.nan, np.float32) for name, part in sets.items()}
    return np.concatenate([space.codes.get(name, empty[name]) for name in sets])
