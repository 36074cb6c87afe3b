"""Compare embeddings of a data set by reconstruction error, nearest neighbours and neighbourhood preservation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.learner import noisy
from cvkit.tasks.embedding.metrics import bce, knn_accuracy, most_neighbours, mse, neighbourhoods

NEIGHBOURS = 10
TITLES = {"cae": "CAE", "pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
Codes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What is measured on the test images; None is what a projection cannot say.

    ``bce`` (nats a pixel) and ``mse`` of the reconstructions, the accuracy of a 10-nearest-neighbour classifier fitted
    on the train codes, trustworthiness and continuity (k = 10).
    """

    bce: float | None = None
    mse: float | None = None
    knn_accuracy: float | None = None
    trustworthiness: float | None = None
    continuity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Space:
    """A way to embed the data set: its name, and the codes (N, d) of the splits that it embeds."""

    name: str
    codes: Mapping[str, Codes]

    @property
    def title(self) -> str:
        """Return what people call it."""
        return TITLES[self.name]


def count_of(count: int, what: str) -> str:
    """Return a number with its noun: "1 test image", "3 test images"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def measure(
    config: CaeEmbedConfig,
    embedder: Embedder,
    collection: Collection,
    spaces: list[Space],
    pca: projections.Pca | None,
    listen: Reporter,
) -> dict[str, Scores]:
    """Return the scores of every space on the test images."""
    test = collection.splits["test"]
    errors = {"cae": _errors(config, embedder, test, embedder.reconstruct)} if embedder.decodes else {}
    if pca is not None:
        errors["pca"] = _errors(
            config,
            embedder,
            test,
            lambda pixels: torch.from_numpy(pca.reconstruct(pixels.flatten(1).cpu().numpy())).view(pixels.shape),
        )
    near = _neighbourhoods(embedder, test, spaces, listen)
    return {
        space.name: Scores(**errors.get(space.name, {}), knn_accuracy=_accuracy(space, collection), **near[space.name])
        for space in spaces
    }


def _errors(
    config: CaeEmbedConfig, embedder: Embedder, test: ImageSet, reconstruct: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, float]:
    """Return the mean errors of reconstructions, from noisy images where the autoencoder was trained on such."""
    sums = torch.zeros(2, dtype=torch.float64)
    for index in torch.arange(len(test)).split(embedder.block):
        clean = embedder.pixels(test.images[index])
        made = reconstruct(noisy(clean, index, embedder.noise_sigma, config.seed)).to(clean.device)
        sums += torch.stack([bce(made, clean).double().sum(), mse(made, clean).double().sum()]).cpu()
    return dict(zip(("bce", "mse"), (sums / len(test)).tolist(), strict=True))


def _accuracy(space: Space, collection: Collection) -> float | None:
    train, test = collection.splits["train"].labels, collection.splits["test"].labels
    if train is None or test is None or "train" not in space.codes or len(np.unique(train)) < 2:
        return None
    return knn_accuracy((space.codes["train"], train), (space.codes["test"], test), NEIGHBOURS)


def _neighbourhoods(
    embedder: Embedder, test: ImageSet, spaces: list[Space], listen: Reporter
) -> dict[str, dict[str, float]]:
    neighbours = most_neighbours(len(test), NEIGHBOURS)
    if neighbours < NEIGHBOURS:
        taken = f"take {neighbours} neighbours, not {NEIGHBOURS}" if neighbours else "are left out"
        listen(Note(f"{count_of(len(test), 'test image')}: trustworthiness and continuity {taken}"))
    if neighbours == 0:
        return {space.name: {} for space in spaces}
    device = embedder.device if embedder.device.type == "cuda" else torch.device("cpu")  # float64, which MPS lacks
    listen(Stage("trustworthiness and continuity", len(test)))
    found = neighbourhoods(
        test.images.flatten(1).to(device),
        [torch.from_numpy(space.codes["test"]).to(device) for space in spaces],
        neighbours,
        lambda done: listen(Step(done)),
    )
    listen(StageEnd())
    return {space.name: vars(each) for space, each in zip(spaces, found, strict=True)}
