"""Write the codes, scores and pictures of an embedding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cvkit import files
from cvkit.commands.cae_embed import pictures
from cvkit.commands.cae_embed.measure import embed
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection, DataSource
from cvkit.engine.run_folder import SUMMARY
from cvkit.engine.training.job import FitResult
from cvkit.progress import Reporter, Stage, StageEnd, Step
from cvkit.tasks.embedding import tables
from cvkit.tasks.embedding.comparison import EmbeddingScores, MethodEmbedding, score_embeddings
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.tables import Embedding

FAILURE_COLUMNS = ("input", "kind", "message")


@dataclass(frozen=True, kw_only=True)
class CaeEmbedResult:
    """The folder, what was embedded, and the scores of the autoencoder and of every projection.

    Attributes:
        folder: Run folder, or result folder without training.
        images: Number of embedded images per split.
        failed: Number of images that could not be read.
        metrics: EmbeddingScores by name of the space.
        parameters: Number of parameters of the autoencoder.
        epochs: Number of trained epochs; None without training.
        best_epoch: Epoch whose weights embed the data; None without training.
    """

    folder: Path
    images: Mapping[str, int]
    failed: int
    metrics: Mapping[str, EmbeddingScores]
    parameters: int
    epochs: int | None = None
    best_epoch: int | None = None


@dataclass(frozen=True)
class Study:
    """A data set with the autoencoder that embeds it, and the folder for the results."""

    config: CaeEmbedConfig
    collection: Collection
    embedder: Embedder
    folder: Path
    title: str
    parameters: int
    fitted: FitResult | None = None


def make_title(embedder: Embedder, source: DataSource) -> str:
    """Return the title of the pictures."""
    return f"{'denoising' if embedder.noise_sigma else 'convolutional'} autoencoder on {source.name}"


def make_result(study: Study, scores: Mapping[str, EmbeddingScores]) -> CaeEmbedResult:
    """Return the result of the command."""
    collection = study.collection
    return CaeEmbedResult(
        folder=study.folder,
        images={name: len(collection.splits[name]) for name in dict.fromkeys(study.config.embed)},
        failed=len(collection.failures),
        metrics=scores,
        parameters=study.parameters,
        epochs=len(study.fitted.history) if study.fitted else None,
        best_epoch=study.fitted.best_epoch if study.fitted else None,
    )


def write_outputs(study: Study, report: Reporter) -> tuple[dict[str, EmbeddingScores], list[Path]]:
    """Embed, score and draw the data set; return the scores and the files written."""
    config, collection, folder = study.config, study.collection, study.folder
    spaces, pca = embed(config, study.embedder, collection, report)
    scores = score_embeddings(config, study.embedder, collection, spaces, pca, report)
    report(Stage("writing", None, "files"))
    splits = list(dict.fromkeys(config.embed))
    embedding = _tabulate(collection, spaces[0], splits)
    written = _write_codes(study, embedding, splits)
    files.write_json(folder / "metrics.json", {name: asdict(each) for name, each in scores.items()})
    written += [folder / "metrics.json", folder / SUMMARY]
    report(Step(len(written)))
    drawing = pictures.Drawing(
        collection=collection,
        embedder=study.embedder,
        spaces=spaces,
        scores=scores,
        title=study.title,
        seed=config.seed,
    )
    written += pictures.draw(folder, drawing)
    if config.html:
        written.append(pictures.write_page(folder, drawing, embedding, splits))
    _remove_stale(folder, written)
    _write_failures(study)
    report(StageEnd())
    return scores, written


def _remove_stale(folder: Path, written: list[Path]) -> None:
    """Remove the files of an earlier embedding that this one did not write."""
    for name in tables.OUTPUT_FILES:
        if folder / name not in written:
            (folder / name).unlink(missing_ok=True)


def _write_failures(study: Study) -> None:
    path = study.folder / "failures.csv"
    failures = [{"input": each.name, "kind": each.kind, "message": each.message} for each in study.collection.failures]
    if failures:
        files.write_csv(path, FAILURE_COLUMNS, failures)
    else:
        path.unlink(missing_ok=True)


def _tabulate(collection: Collection, space: MethodEmbedding, splits: list[str]) -> Embedding:
    """Join the codes, names and labels of some splits."""
    parts = {name: collection.splits[name] for name in splits}
    labels = [
        label
        for part in parts.values()
        for label in (part.labels.tolist() if part.labels is not None else [None] * len(part))
    ]
    return Embedding(
        codes=torch.cat([torch.from_numpy(space.codes[name]) for name in splits]).numpy(),
        names=[name for part in parts.values() for name in part.names],
        splits=[name for name, part in parts.items() for _ in range(len(part))],
        labels=labels,
        classes=[None if label is None else collection.class_name(label) for label in labels],
    )


def _write_codes(study: Study, embedding: Embedding, splits: list[str]) -> list[Path]:
    """Write the codes in every requested format."""
    folder, written = study.folder, []
    for kind in dict.fromkeys(study.config.format):
        if kind == "csv":
            written += tables.write_csv(folder, embedding)
        elif kind == "parquet":
            written += tables.write_table(folder, embedding)
        elif kind == "npy":
            written += tables.write_array(folder, embedding)
        else:
            image, size = pictures.sprite(study.collection, splits)
            written += tables.write_projector(folder, embedding, image, size, study.title)
    return written
