"""Compare embeddings of a data set by reconstruction error, nearest neighbours and neighbourhood preservation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet
from cvkit.progress import Note, Reporter, Stage, StageEnd
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.metrics import bce, knn_accuracy, max_neighbours, mse, neighbourhood_scores
from cvkit.tasks.embedding.noise import add_noise

NUM_NEIGHBOURS = 10  # of the k-nearest-neighbour accuracy, trustworthiness and continuity
METHOD_TITLES = {"cae": "CAE", "pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
Codes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmbeddingScores:
    """The scores of an embedding on the test images; None where the method does not define a score.

    Attributes:
        bce: Binary cross entropy of the reconstructions, in nats per pixel, lower is better.
        mse: Mean squared error of the reconstructions, for pixels in 0..1, lower is better.
        knn_accuracy: Accuracy of a 10-nearest-neighbour classifier fitted on the train codes, 0..1.
        trustworthiness: Degree to which neighbours in the embedding (k = 10) are neighbours in the data, 0..1, higher
            is better; see ``metrics.neighbourhood_scores``.
        continuity: Degree to which neighbours in the data are neighbours in the embedding, 0..1, higher is better.
    """

    bce: float | None = None
    mse: float | None = None
    knn_accuracy: float | None = None
    trustworthiness: float | None = None
    continuity: float | None = None


@dataclass(frozen=True, kw_only=True)
class MethodEmbedding:
    """The embedding of a data set by one method.

    Attributes:
        name: Name of the method, a key of ``METHOD_TITLES``.
        codes: Codes (N, d) float32 of each split that the method embeds.
    """

    name: str
    codes: Mapping[str, Codes]

    @property
    def title(self) -> str:
        """Name of the method for figures and messages."""
        return METHOD_TITLES[self.name]


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: "1 test image", "3 test images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def score_embeddings(
    config: CaeEmbedConfig,
    embedder: Embedder,
    collection: Collection,
    embeddings: list[MethodEmbedding],
    pca: projections.Pca | None,
    report: Reporter,
) -> dict[str, EmbeddingScores]:
    """Score embeddings on the test images.

    Args:
        config: Settings of the command; the seed determines the noise of a denoising autoencoder.
        embedder: The autoencoder.
        collection: Data set with the splits train and test.
        embeddings: Embeddings of the test images, and for the k-nearest-neighbour accuracy of the train images.
        pca: The fitted PCA, for its reconstruction error; None if it is not compared.
        report: Receives the progress.

    Returns:
        The scores of each embedding, by the name of its method.
    """
    test = collection.splits["test"]
    errors = {"cae": _reconstruction_errors(config, embedder, test, embedder.reconstruct)} if embedder.decodes else {}
    if pca is not None:
        errors["pca"] = _reconstruction_errors(
            config,
            embedder,
            test,
            lambda pixels: torch.from_numpy(pca.reconstruct(pixels.flatten(1).cpu().numpy())).view(pixels.shape),
        )
    neighbourhoods = _score_neighbourhoods(embedder, test, embeddings, report)
    return {
        embedding.name: EmbeddingScores(
            **errors.get(embedding.name, {}),
            knn_accuracy=_score_neighbours(embedding, collection),
            **neighbourhoods[embedding.name],
        )
        for embedding in embeddings
    }


def _reconstruction_errors(
    config: CaeEmbedConfig, embedder: Embedder, test: ImageSet, reconstruct: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, float]:
    """Return the mean errors of reconstructions of the test images, noisy ones if the autoencoder removes noise."""
    sums = torch.zeros(2, dtype=torch.float64)
    for index in torch.arange(len(test)).split(embedder.block):
        clean = embedder.pixels(test.images[index])
        reconstructed = reconstruct(add_noise(clean, index, embedder.noise_sigma, config.seed)).to(clean.device)
        errors = [bce(reconstructed, clean).double().sum(), mse(reconstructed, clean).double().sum()]
        sums += torch.stack(errors).cpu()
    return dict(zip(("bce", "mse"), (sums / len(test)).tolist(), strict=True))


def _score_neighbours(embedding: MethodEmbedding, collection: Collection) -> float | None:
    train, test = collection.splits["train"].labels, collection.splits["test"].labels
    if train is None or test is None or "train" not in embedding.codes or len(np.unique(train)) < 2:
        return None
    return knn_accuracy((embedding.codes["train"], train), (embedding.codes["test"], test), NUM_NEIGHBOURS)


def _score_neighbourhoods(
    embedder: Embedder, test: ImageSet, embeddings: list[MethodEmbedding], report: Reporter
) -> dict[str, dict[str, float]]:
    neighbours = max_neighbours(len(test), NUM_NEIGHBOURS)
    if neighbours < NUM_NEIGHBOURS:
        change = f"use {neighbours} neighbours, not {NUM_NEIGHBOURS}" if neighbours else "are left out"
        report(Note(f"{format_count(len(test), 'test image')}: trustworthiness and continuity {change}"))
    if neighbours == 0:
        return {embedding.name: {} for embedding in embeddings}
    device = embedder.device if embedder.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    report(Stage("trustworthiness and continuity", len(test)))
    scores = neighbourhood_scores(
        test.images.flatten(1).to(device),
        [torch.from_numpy(embedding.codes["test"]).to(device) for embedding in embeddings],
        neighbours,
        report,
    )
    report(StageEnd())
    return {embedding.name: vars(each) for embedding, each in zip(embeddings, scores, strict=True)}
