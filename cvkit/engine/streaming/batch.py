"""What every inference command does around its own read, infer and write: shares, ledger, stream, counts."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

import cvkit
from cvkit import device as machine
from cvkit import files
from cvkit.config import InferenceConfig
from cvkit.engine.stop import StopSignal
from cvkit.engine.streaming.ledger import Counts, Ledger, Report, Work
from cvkit.engine.streaming.stream import Pace, Stages, stream
from cvkit.errors import StoppedBySignal
from cvkit.progress import Note, Reporter

Loaded = TypeVar("Loaded")
Inferred = TypeVar("Inferred")


@dataclass(frozen=True)
class BatchResult:
    """Where the results are, how many inputs there were, and how fast it went."""

    folder: Path
    counts: Counts
    seconds: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one inference command makes of its inputs.

    ``identity`` are the settings that the files depend on (a folder keeps to one set of them), ``columns`` those of
    ``results.csv``, ``details`` what else the manifest tells. ``report`` writes more reports of all rows in the folder.
    ``usual_size`` is the batch size where none is asked for and the usual one is too much.
    """

    command: str
    folder: Path
    identity: Mapping[str, Any]
    columns: Sequence[str]
    details: Mapping[str, Any]
    report: Report = lambda _: None
    usual_size: int | None = None


def find_inputs(config: InferenceConfig, stdin: Iterable[str] | None) -> list[files.Input]:
    """Return the inputs that the command's words mean; raises DataError when a word finds nothing."""
    processes, nodes = machine.process_plan(config)
    files.refuse_stdin_in_many_processes(config.inputs, processes * nodes)
    return files.find_inputs(config.inputs, stdin)


def run_batch(
    config: InferenceConfig,
    batch: Batch,
    inputs: list[files.Input],
    stages: Stages[Loaded, Inferred],
    share: machine.Share,
    listen: Reporter,
) -> BatchResult:
    """Send this process's share of the inputs through the stages into the result folder.

    Raises OutputError for a folder that holds something else or a full disk, and StoppedBySignal after a drain. A bad
    input is a row of ``failures.csv``. Every process waits here for the others.
    """
    work = Work(
        command=batch.command,
        folder=batch.folder,
        inputs=inputs,
        identity=batch.identity,
        columns=batch.columns,
        shard=((config.shard[0] - 1) * share.count + share.rank + 1, config.shard[1] * share.count),
        overwrite=config.overwrite,
    )
    began = time.perf_counter()
    with StopSignal() as stop, Ledger(work) as ledger:
        listen(Note(f"{len(ledger.todo)} of {len(inputs)} images to do, into {work.folder}"))
        try:
            whole = stream(stages, _pace(config, batch, share), ledger, listen, stop)
        finally:
            versions = {"cvkit": cvkit.__version__, "torch": torch.__version__}
            device = machine.describe(share.device)
            mine = ledger.finish({**batch.details, "device": device, "versions": versions}, batch.report)
    seconds = time.perf_counter() - began
    *totals, stopped = share.total([mine.inputs, mine.skipped, mine.done, mine.failed, int(not whole)])
    counts = Counts(*totals)
    if stopped:
        left = counts.inputs - counts.skipped - counts.done - counts.failed
        raise StoppedBySignal(f"stopped by a signal with {left} images to do: the same command goes on from there.")
    return BatchResult(work.folder, counts, seconds, (counts.done + counts.failed) / max(1e-9, seconds))


def inputs_of_shard(config: InferenceConfig, inputs: list[files.Input]) -> list[files.Input]:
    """Return the inputs that this job does: all of them, or every N-th with ``--shard K/N``."""
    return inputs[config.shard[0] - 1 :: config.shard[1]]


def _pace(config: InferenceConfig, batch: Batch, share: machine.Share) -> Pace:
    usual = batch.usual_size or (32 if share.device.type == "cuda" else 4)
    return Pace(
        batch_size=config.batch_size or usual,
        readers=max(2, machine.worker_count(config.workers)),
        writers=max(2, machine.worker_count(config.workers) // 2),
    )
