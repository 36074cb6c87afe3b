"""Embed a data set with a convolutional autoencoder, and compare it with PCA and other projections."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cvkit import files
from cvkit.commands.cae_embed.outputs import CaeEmbedResult, Study, make_result, make_title, write_outputs
from cvkit.commands.cae_embed.reading import find_data, read_data
from cvkit.commands.cae_embed.summary import report_summary, summary_of
from cvkit.commands.cae_embed.training import (
    COMMAND,
    TrainingRun,
    check_memory,
    identity_of,
    new_embedder,
    train,
)
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import DataSource
from cvkit.device import choose_device, describe_device
from cvkit.engine.distributed import start_fabric
from cvkit.engine.locks import sole_writer
from cvkit.engine.parquet import need_parquet
from cvkit.engine.result_folder import MANIFEST, close_result, open_result
from cvkit.engine.run_folder import check_same_data, opened_run
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.errors import DataError, OutputError, StoppedBySignal, UsageError
from cvkit.inputs import check_stdin_is_unshared
from cvkit.messages import reason
from cvkit.models.loaded import Request
from cvkit.processes import process_plan
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.embedding.comparison import EmbeddingScores
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.projections import require_umap
from cvkit.tasks.registry import load_model

RUNS = Path("runs/cae-embed/cae")  # numbered folders of new runs

__all__ = ["CaeEmbedResult", "cae_embed"]


def cae_embed(config: CaeEmbedConfig, report: Reporter = ignore) -> CaeEmbedResult:
    """Train an autoencoder on a data set, or load a trained one, and write codes, scores and pictures.

    Raises:
        DataError: If the data set cannot be used, or with ``strict`` if any image cannot be read.
        WeightsError: If the model is not an autoencoder, or cannot be loaded.
        OutputError: If the folder is in use.
        TrainingError: If the loss is not finite.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    if "parquet" in config.format:
        need_parquet()
    if "umap" in config.compare:
        require_umap()
    return _embed_by_training(config, report) if config.model is None else _embed_by_model(config, report)


def _embed_by_training(config: CaeEmbedConfig, report: Reporter) -> CaeEmbedResult:
    with ExitStack() as held:  # the lock of the run folder, until all files are written
        return _train_and_embed(config, report, held)


def _train_and_embed(config: CaeEmbedConfig, report: Reporter, held: ExitStack) -> CaeEmbedResult:
    processes, nodes = process_plan(config)
    check_stdin_is_unshared([config.data], processes * nodes)
    with StopSignal() as stop:
        stoppable = interruptible(stop, report, STOPPED_BEFORE_TRAINING)
        config, source, names = find_data(config)
        fabric = start_fabric(config, deterministic=config.deterministic)
        folder = held.enter_context(opened_run(config, RUNS, fabric)) if config.out else None
        collection = read_data(config, source, names, stoppable)
        embedder = new_embedder(config, collection, fabric.device)
        summary = summary_of(embedder.spec)
        check_memory(config, embedder, summary, len(collection.splits["train"]))
        folder = folder or held.enter_context(opened_run(config, RUNS, fabric))
        data = identity_of(collection)
        check_same_data(folder, config, data)
        if fabric.global_rank == 0:
            report_summary(summary, folder.path, stoppable)
    title = make_title(embedder, source)
    fitted = train(TrainingRun(config, embedder, collection, folder, title, data), fabric, report)
    study = Study(config, collection, embedder, folder.path, title, summary.parameters, fitted)
    if fabric.global_rank:
        return make_result(study, {})
    after = f"stopped by a signal after the training was saved: `cvkit resume {folder.path}` continues."
    if fitted.stopped:
        raise StoppedBySignal(after)
    with StopSignal() as stop:
        scores, _ = write_outputs(study, interruptible(stop, report, after))
    return make_result(study, scores)


def _embed_by_model(config: CaeEmbedConfig, report: Reporter) -> CaeEmbedResult:
    if process_plan(config) != (1, 1):
        raise UsageError("--model runs in one process: start the command without torchrun or several Slurm tasks.")
    loaded = load_model(Request(name=config.model or "", report=report), ("autoencoder", "encoder"))
    embedder = loaded.to(choose_device(config.device), "fp32")
    assert isinstance(embedder, Embedder)
    config, source, names = find_data(config)
    folder = Path(config.out or "embeddings")
    identity = _identity(config, loaded.sha256, source)
    done = open_result(folder, COMMAND, identity, config.overwrite)
    if done is not None:
        return _completed(config, folder, done, report)
    with sole_writer(folder), StopSignal() as stop:
        stoppable = interruptible(stop, report, "stopped by a signal: run the same command to start again.")
        collection = read_data(config, source, names, stoppable, embedder)
        summary = summary_of(embedder.spec)
        report_summary(summary, folder, stoppable)
        study = Study(config, collection, embedder, folder, make_title(embedder, source), summary.parameters)
        scores, written = write_outputs(study, stoppable)
    result = make_result(study, scores)
    facts: dict[str, Any] = {"images": result.images, "failed": result.failed, "parameters": result.parameters}
    facts |= {"device": describe_device(embedder.device), "versions": {"torch": torch.__version__}}
    facts["metrics"] = {name: asdict(each) for name, each in scores.items()}
    close_result(folder, COMMAND, identity, written, facts)
    return result


def _completed(config: CaeEmbedConfig, folder: Path, done: Mapping[str, Any], report: Reporter) -> CaeEmbedResult:
    """Return the result of a folder that is complete already.

    Raises:
        DataError: If images were unreadable, and ``strict`` is set.
        OutputError: If the manifest of the folder is damaged.
    """
    try:
        metrics = {name: EmbeddingScores(**values) for name, values in done["metrics"].items()}
        images = {name: int(count) for name, count in done["images"].items()}
        failed, parameters = int(done["failed"]), int(done["parameters"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{folder / MANIFEST} is damaged ({reason(error)}): add --overwrite.") from error
    report(Note(f"{folder} is complete already"))
    if config.strict and failed:
        raise DataError(f"{failed} images were unreadable, and --strict is set: see {folder}/failures.csv.")
    return CaeEmbedResult(folder=folder, metrics=metrics, images=images, failed=failed, parameters=parameters)


def _identity(config: CaeEmbedConfig, weights: str, source: DataSource) -> dict[str, Any]:
    """Return the settings that the results depend on; a folder holds results of one set of them only."""
    names = ("data", "test_fraction", "limit", "labels", "embed", "format", "compare", "html", "seed", "max_pixels")
    settings = {name: value for name, value in config.as_dict().items() if name in names}
    labels = files.sha256(Path(config.labels)) if config.labels else None
    digests = {"data_sha256": files.fingerprint(source.paths()), "labels_sha256": labels}
    return {"checkpoint_sha256": weights, **digests, **settings}
