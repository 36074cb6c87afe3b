"""What an autoencoder and the projections beside it make of a data set, in codes and in numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cvkit.commands.cae_embed.training import noisy
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet
from cvkit.progress import Listener, Note, Stage, StageEnd, Step
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.embedder import Embedder
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


def codes_of(embedder: Embedder, part: ImageSet, title: str, listen: Listener) -> Codes:
    """Return the codes (N, latent_dim) of all images of a split."""
    listen(Stage(title, len(part)))
    # Into one array: small tensors that stay between large ones that go would break up the memory.
    codes = np.empty((len(part), embedder.spec.latent_dim), np.float32)
    done = 0
    for block in embedder.codes(part.images):
        codes[done : done + len(block)] = block.cpu().numpy()
        done += len(block)
        listen(Step(done))
    listen(StageEnd())
    return codes


def embed(
    config: CaeEmbedConfig, embedder: Embedder, collection: Collection, listen: Listener
) -> tuple[list[Space], projections.Pca | None]:
    """Return the autoencoder's space and those it is compared with, and PCA itself where it is among them."""
    splits = {name: part for name, part in collection.splits.items() if name in {"train", "test", *config.embed}}
    own = {name: codes_of(embedder, part, f"embedding {name} images", listen) for name, part in splits.items()}
    spaces = [Space(name="cae", codes=own)]
    arrays = {name: part.images.numpy() for name, part in splits.items()}
    pca = None
    for name in dict.fromkeys(config.compare):
        if name == "none":
            continue
        images = arrays["test" if name == "tsne" else "train"]
        if name != "pca" and not projections.can_lay_out(images):
            listen(Note(f"{TITLES[name]} is left out: it needs five images or more that are not all alike", "warning"))
            continue
        listen(Stage(f"fitting {TITLES[name]}", 1, "projections"))
        if name == "pca":
            pca = projections.Pca(arrays["train"], embedder.spec.latent_dim, config.seed)
            if pca.fitted_on < len(arrays["train"]):
                listen(Note(f"PCA is fitted on {pca.fitted_on} train images, drawn at random"))
            spaces.append(Space(name=name, codes={part: pca.encode(images) for part, images in arrays.items()}))
        elif name == "tsne":
            listen(Note("t-SNE has no map for new images: it lays out the test images alone"))
            spaces.append(Space(name=name, codes={"test": projections.tsne(arrays["test"], config.seed)}))
        else:
            train, test = projections.umap(arrays["train"], arrays["test"], config.seed)
            spaces.append(Space(name=name, codes={"train": train, "test": test}))
        listen(Step(1))
        listen(StageEnd())
    return spaces, pca


def measure(
    config: CaeEmbedConfig,
    embedder: Embedder,
    collection: Collection,
    spaces: list[Space],
    pca: projections.Pca | None,
    listen: Listener,
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
    embedder: Embedder, test: ImageSet, spaces: list[Space], listen: Listener
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
