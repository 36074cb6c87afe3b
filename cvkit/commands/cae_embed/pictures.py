"""The pictures of an embedding: planes side by side, reconstructions, the decoder's plane, and a page to explore."""

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

SHOWN = 12  # test images whose reconstructions are shown
GRID = 20  # images a side of the decoder's plane
CENTRAL = (1.0, 99.0)  # percentiles of the codes that the decoder's plane spans
MOST_ON_PAGE, MOST_THUMB_PX, SPRITE_PX = 20_000, 64, 8192


@dataclass(frozen=True, kw_only=True)
class Study:
    """All there is to draw: the data, the model, the spaces with their scores, and what to call it."""

    collection: Collection
    embedder: Embedder
    spaces: Sequence[MethodEmbedding]
    scores: Mapping[str, EmbeddingScores]
    title: str
    seed: int

    @cached_property
    def plane(self) -> CodePlane:
        """Return the plane that the autoencoder's codes are looked at in."""
        return CodePlane(self.spaces[0].codes["train"], self.seed)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Return the labels that any image has, each once and in order."""
        found = [part.labels for part in self.collection.splits.values() if part.labels is not None]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @property
    def classes(self) -> list[str]:
        """Return the names of these labels' classes."""
        return [self.collection.class_name(label) for label in self.labels.tolist()]


def draw(folder: Path, study: Study) -> list[Path]:
    """Write ``embedding.png``, ``reconstructions.png`` and ``latent-grid.png``, and return their paths."""
    test = study.collection.splits["test"]
    drawn = render.planes(
        _panels(study, {space.name: space.codes.get("test") for space in study.spaces}),
        title=f"{study.title}, {format_count(len(test), 'test image')}",
        labels=None if test.labels is None else np.searchsorted(study.labels, test.labels),
        classes=study.classes,
    )
    pictures = {"embedding.png": drawn}
    if study.embedder.decodes:
        pictures["reconstructions.png"] = _reconstructions(study.embedder, test, study.seed)
        pictures["latent-grid.png"] = _latent_grid(study)
    for name, content in pictures.items():
        files.write_atomic(folder / name, content)
    return [folder / name for name in pictures]


def _panels(study: Study, codes: Mapping[str, NDArray[np.float32] | None]) -> list[render.Plane]:
    """Return a panel for each space that has codes of what is to be shown, in two dimensions."""
    made = []
    for space in study.spaces:
        found = codes[space.name]
        if found is None or not np.isfinite(found).any():
            continue
        own = space.name == "cae"
        points = study.plane.to_plane(found) if own else first_two_dimensions(found, study.seed)
        second = "component 2" if found.shape[1] > 1 else RANDOM_AXIS
        axes = study.plane.axes if own else ("component 1", second) if space.name == "pca" else ("", "")
        made.append(render.Plane(name=space.title, about=_about(study.scores[space.name]), points=points, axes=axes))
    return made


def _about(scores: EmbeddingScores) -> str:
    shown = {"10-NN accuracy": scores.knn_accuracy, "trustworthiness": scores.trustworthiness}
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)


def _examples(test: ImageSet) -> NDArray[np.int64]:
    """Return the numbers of the test images to show: of all classes in turn where these are known."""
    count = min(SHOWN, len(test))
    if test.labels is None:
        return np.unique(np.linspace(0, len(test) - 1, count).round().astype(np.int64))
    turns = np.zeros(len(test), np.int64)  # how many of its class come before an image
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


def _latent_grid(study: Study) -> bytes:
    plane = study.plane
    points = plane.to_plane(study.spaces[0].codes["train"])
    (left, low), (right, high) = np.percentile(points, CENTRAL, axis=0)
    columns, rows = GRID, GRID if plane.dimensions > 1 else 1
    across, down = np.linspace(left, right, columns), np.linspace(high, low, rows)
    corners = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2).astype(np.float32)
    images = study.embedder.decode(torch.from_numpy(plane.to_codes(corners))).permute(0, 2, 3, 1).numpy()
    return render.latent_grid(
        images.reshape(rows, columns, *images.shape[1:]),
        title=f"{study.title}: the decoded plane",
        horizontal=(float(left), float(right)),
        vertical=(float(low), float(high)),
        axes_names=plane.axes,
    )


def thumbs(images: torch.Tensor, most_px: int) -> NDArray[np.uint8]:
    """Return (N, C, H, W) uint8 images as small pictures (N, h, w, C), at most ``most_px`` a side."""
    height, width = images.shape[-2:]
    scale = min(1.0, most_px / max(height, width))
    small = resized(images, (max(1, round(height * scale)), max(1, round(width * scale))))
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def sprite(collection: Collection, splits: Sequence[str]) -> tuple[bytes, tuple[int, int]]:
    """Return all images of some splits as one PNG file for TensorBoard, and the (height, width) of each in it."""
    images = torch.cat([collection.splits[name].images for name in splits])
    side = int(np.ceil(np.sqrt(len(images))))
    small = thumbs(images, max(1, min(MOST_THUMB_PX, SPRITE_PX // side)))
    whole = render.sprite(small)
    return render.encode_png(whole[..., 0] if whole.shape[-1] == 1 else whole), (small.shape[1], small.shape[2])


def write_page(folder: Path, study: Study, embedding: Embedding, splits: Sequence[str]) -> Path:
    """Write ``embedding.html``: all embedded images, or 20,000 of them drawn at random."""
    count = len(embedding)
    chosen = np.arange(count)
    if count > MOST_ON_PAGE:
        chosen = np.sort(np.random.default_rng(study.seed).choice(count, MOST_ON_PAGE, replace=False))
    sets = {name: study.collection.splits[name] for name in splits}
    codes = {space.name: _all_codes(space, sets)[chosen] for space in study.spaces}
    labels = np.array([-1 if label is None else label for label in embedding.labels])[chosen]
    images = torch.cat([part.images for part in sets.values()])[torch.from_numpy(chosen)]
    text = render.page(
        _panels(study, codes),
        title=f"{study.title}, {len(chosen)} images" + (f" of {count}" if len(chosen) < count else ""),
        images=thumbs(images, MOST_THUMB_PX),
        names=[embedding.names[number] for number in chosen.tolist()],
        splits=[embedding.splits[number] for number in chosen.tolist()],
        labels=np.where(labels < 0, -1, np.searchsorted(study.labels, labels)) if (labels >= 0).any() else None,
        classes=study.classes,
    )
    files.write_atomic(folder / "embedding.html", text)
    return folder / "embedding.html"


def _all_codes(space: MethodEmbedding, sets: Mapping[str, ImageSet]) -> NDArray[np.float32]:
    """Return the codes of some splits one after the other; NaN for a split that the space does not embed."""
    width = next(iter(space.codes.values())).shape[1]
    empty = {name: np.full((len(part), width), np.nan, np.float32) for name, part in sets.items()}
    return np.concatenate([space.codes.get(name, empty[name]) for name in sets])
