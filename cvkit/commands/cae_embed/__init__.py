"""Embed a data set by the code of a convolutional autoencoder, and compare it with PCA and others."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cvkit import device as machine
from cvkit import files
from cvkit.commands.cae_embed import pictures
from cvkit.commands.cae_embed.measure import embed
from cvkit.commands.cae_embed.summary import summary_of, tell_summary
from cvkit.commands.cae_embed.training import KIND, check_memory, check_same_data, new_embedder, open_folder, train
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection, Reading, Source, check_splits, find_source, read_collection
from cvkit.engine import checkpoint
from cvkit.engine.parquet import need_parquet
from cvkit.engine.result_folder import close_result, open_result
from cvkit.engine.stop import StopSignal, heeding
from cvkit.engine.training.fit import FitResult
from cvkit.errors import DataError, StoppedBySignal, UsageError
from cvkit.models.exported.exported import is_exported
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.classification.labels import load_labels
from cvkit.tasks.embedding import tables
from cvkit.tasks.embedding.comparison import EmbeddingScores, MethodEmbedding, format_count, score_embeddings
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.projections import require_umap
from cvkit.tasks.embedding.tables import Embedding

COMMAND = "cae-embed"
FAILURE_COLUMNS = ("input", "kind", "message")
STOPPED_EARLY = "stopped by a signal before training began: the same command begins anew."


@dataclass(frozen=True, kw_only=True)
class CaeEmbedResult:
    """Where the results are, what was embedded, and the scores of every way to embed it.

    ``images`` is the number of embedded images by split, ``failed`` that of images which could not be read;
    ``best_epoch`` is the one whose weights embed, ``epochs`` how many were trained; both are None without training.
    """

    folder: Path
    images: Mapping[str, int]
    failed: int
    metrics: Mapping[str, EmbeddingScores]
    parameters: int
    epochs: int | None = None
    best_epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What both ways through the command share."""

    config: CaeEmbedConfig
    source: Source
    collection: Collection
    embedder: Embedder
    folder: Path
    fitted: FitResult | None
    parameters: int

    @property
    def title(self) -> str:
        return _title(self.embedder, self.source)


def cae_embed(config: CaeEmbedConfig, listen: Reporter = ignore) -> CaeEmbedResult:
    """Train an autoencoder on a data set, or take a trained one, and write what it makes of the data.

    Raises DataError for a data set that cannot be used (or, with ``strict``, when any image cannot), WeightsError for a
    checkpoint of another kind, OutputError for a folder in use, TrainingError for a loss that is not finite, and
    StoppedBySignal after saving.
    """
    if "parquet" in config.format:
        need_parquet()
    if "umap" in config.compare:
        require_umap()
    return _by_checkpoint(config, listen) if config.model else _by_training(config, listen)


def _by_training(config: CaeEmbedConfig, listen: Reporter) -> CaeEmbedResult:
    processes, nodes = machine.process_plan(config)
    files.refuse_stdin_in_many_processes([config.data], processes * nodes)
    with StopSignal() as stop:
        heeded = heeding(stop, listen, STOPPED_EARLY)
        source, names = _find(config)
        fabric = machine.start_fabric(config, deterministic=config.deterministic)
        folder = open_folder(config, fabric) if config.out else None  # one in use is told before all is read
        collection = _read(config, source, names, heeded)
        embedder = new_embedder(config, collection, fabric.device)
        summary = summary_of(embedder.spec)
        check_memory(config, embedder, summary, len(collection.splits["train"]))
        folder = folder or open_folder(config, fabric)
        check_same_data(config, folder, collection)
        if fabric.global_rank == 0:
            tell_summary(summary, folder.path, heeded)
    fitted = train(config, embedder, collection, folder, fabric, _title(embedder, source), listen)
    work = _Work(
        config=config,
        source=source,
        collection=collection,
        embedder=embedder,
        folder=folder.path,
        fitted=fitted,
        parameters=summary.parameters,
    )
    if fabric.global_rank:
        return _result(work, {})
    after = f"stopped by a signal; the training is saved: the same command with --resume --out {folder.path} goes on."
    if fitted.stopped:
        raise StoppedBySignal(after)
    with StopSignal() as stop:
        scores, _ = _write(work, heeding(stop, listen, after))
    return _result(work, scores)


def _find(config: CaeEmbedConfig) -> tuple[Source, tuple[str, ...]]:
    """Find the data and the names of its classes, and refuse what can be told before anything is read."""
    source = find_source(config.data)
    check_splits(source, config.embed)
    return source, load_labels(config.labels)[0] if config.labels else ()


def _by_checkpoint(config: CaeEmbedConfig, listen: Reporter) -> CaeEmbedResult:
    assert config.model is not None
    if machine.process_plan(config) != (1, 1):
        raise UsageError("with --model, one process embeds: start it without torchrun or several Slurm tasks.")
    path = checkpoint.find(config.model)
    device = machine.choose_device(config.device)
    if is_exported(str(path)):
        embedder = Embedder.from_exported(path, device=device)
    else:
        embedder = Embedder.from_card(checkpoint.load(path, KIND), device=device)
    source, names = _find(config)
    folder = Path(config.out or "embeddings")
    identity = _identity(config, files.sha256(path), source)
    done = open_result(folder, COMMAND, identity, config.overwrite)
    if done is not None:
        listen(Note(f"all of it is done already, in {folder}"))
        metrics = {name: EmbeddingScores(**values) for name, values in done["metrics"].items()}
        before = {name: done[name] for name in ("images", "failed", "parameters")}
        if config.strict and before["failed"]:
            raise DataError(f"{before['failed']} images were unreadable, and --strict: see {folder}/failures.csv.")
        return CaeEmbedResult(folder=folder, metrics=metrics, **before)
    with StopSignal() as stop:
        heeded = heeding(stop, listen, "stopped by a signal: the same command begins anew.")
        collection = _read(config, source, names, heeded, embedder)
        summary = summary_of(embedder.spec)
        tell_summary(summary, folder, heeded)
        work = _Work(
            config=config,
            source=source,
            collection=collection,
            embedder=embedder,
            folder=folder,
            fitted=None,
            parameters=summary.parameters,
        )
        scores, written = _write(work, heeded)
    result = _result(work, scores)
    facts: dict[str, Any] = {"images": result.images, "failed": result.failed, "parameters": result.parameters}
    facts |= {"device": machine.describe(embedder.device), "versions": {"torch": torch.__version__}}
    facts["metrics"] = {name: asdict(each) for name, each in scores.items()}
    close_result(folder, COMMAND, identity, written, facts)
    return result


def _identity(config: CaeEmbedConfig, weights: str, source: Source) -> dict[str, Any]:
    """Return what the results depend on: a folder keeps to one set of it."""
    names = ("data", "test_fraction", "limit", "labels", "embed", "format", "compare", "html", "seed", "max_pixels")
    asked = {name: value for name, value in config.as_dict().items() if name in names}
    labels = files.sha256(Path(config.labels)) if config.labels else None
    digests = {"data_sha256": files.fingerprint(source.paths()), "labels_sha256": labels}
    return {"checkpoint_sha256": weights, **digests, **asked}


def _read(
    config: CaeEmbedConfig, source: Source, names: tuple[str, ...], listen: Reporter, trained: Embedder | None = None
) -> Collection:
    """Read the images, as a trained model wants them where there is one, and say what was made of them."""
    reading = Reading(
        size=trained.spec.size if trained else config.size,
        color=("grey" if trained.spec.channels == 1 else "rgb") if trained else config.color,
        max_pixels=config.max_pixels,
        test_fraction=config.test_fraction,
        limit=config.limit,
        seed=config.seed,
        threads=config.workers or machine.cpu_count(),
    )
    collection = read_collection(source, reading, partial(_tell_reading, listen))
    for remark in collection.remarks:
        listen(Note(remark))
    if names:
        collection = replace(collection, classes=names)
    if collection.failures:
        count = format_count(len(collection.failures), "image")
        if config.strict:
            raise DataError(f"{count} cannot be read, and --strict: {collection.failures[0].message}")
        listen(Note(f"{count} cannot be read and left out", "warning"))
    part = collection.splits["train"].images
    counts = ", ".join(f"{len(images)} {name}" for name, images in collection.splits.items())
    listen(Note(f"{counts} images of {part.shape[2]}x{part.shape[3]}, {'grey' if part.shape[1] == 1 else 'RGB'}"))
    return collection


def _tell_reading(listen: Reporter, split: str, total: int, done: int) -> None:
    if done == 0:
        listen(Stage(f"reading {split} images", total))
    listen(Step(done))
    if done == total:
        listen(StageEnd())


def _title(embedder: Embedder, source: Source) -> str:
    return f"{'denoising' if embedder.noise_sigma else 'convolutional'} autoencoder on {source.name}"


def _write(work: _Work, listen: Reporter) -> tuple[dict[str, EmbeddingScores], list[Path]]:
    """Embed, measure and draw; return the scores and the files written."""
    config, collection, folder = work.config, work.collection, work.folder
    spaces, pca = embed(config, work.embedder, collection, listen)
    scores = score_embeddings(config, work.embedder, collection, spaces, pca, listen)
    listen(Stage("writing", None, "files"))
    splits = list(dict.fromkeys(config.embed))
    embedding = _embedding(collection, spaces[0], splits)
    written = _write_codes(work, embedding, splits)
    files.write_json(folder / "metrics.json", {name: asdict(each) for name, each in scores.items()})
    written += [folder / "metrics.json", folder / "summary.txt"]
    listen(Step(len(written)))
    study = pictures.Study(
        collection=collection,
        embedder=work.embedder,
        spaces=spaces,
        scores=scores,
        title=work.title,
        seed=config.seed,
    )
    written += pictures.draw(folder, study)
    if config.html:
        written.append(pictures.write_page(folder, study, embedding, splits))
    _remove_stale(folder, written)
    failures = [{"input": each.name, "kind": each.kind, "message": each.message} for each in collection.failures]
    if failures:
        files.write_csv(folder / "failures.csv", FAILURE_COLUMNS, failures)
    else:
        (folder / "failures.csv").unlink(missing_ok=True)
    listen(StageEnd())
    return scores, written


def _remove_stale(folder: Path, written: list[Path]) -> None:
    """Remove the tables and pages of an earlier embedding that this one has not written anew."""
    for name in tables.OUTPUT_FILES:
        if folder / name not in written:
            (folder / name).unlink(missing_ok=True)


def _embedding(collection: Collection, space: MethodEmbedding, splits: list[str]) -> Embedding:
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


def _write_codes(work: _Work, embedding: Embedding, splits: list[str]) -> list[Path]:
    folder, written = work.folder, []
    for kind in dict.fromkeys(work.config.format):
        if kind == "csv":
            written += tables.write_csv(folder, embedding)
        elif kind == "parquet":
            written += tables.write_table(folder, embedding)
        elif kind == "npy":
            written += tables.write_array(folder, embedding)
        else:
            image, size = pictures.sprite(work.collection, splits)
            written += tables.write_projector(folder, embedding, image, size, work.title)
    return written


def _result(work: _Work, scores: Mapping[str, EmbeddingScores]) -> CaeEmbedResult:
    collection = work.collection
    return CaeEmbedResult(
        folder=work.folder,
        images={name: len(collection.splits[name]) for name in dict.fromkeys(work.config.embed)},
        failed=len(collection.failures),
        metrics=scores,
        parameters=work.parameters,
        epochs=len(work.fitted.history) if work.fitted else None,
        best_epoch=work.fitted.best_epoch if work.fitted else None,
    )
