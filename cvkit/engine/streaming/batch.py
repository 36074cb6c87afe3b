"""Run an inference command over its inputs: divide them among processes, stream them, and count the results."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

import cvkit
from cvkit.config import InferenceConfig
from cvkit.device import describe_device
from cvkit.engine.distributed import Process
from cvkit.engine.memory import keep_freed_memory
from cvkit.engine.stop import StopSignal
from cvkit.engine.streaming.batch_size import default_batch_size
from cvkit.engine.streaming.ledger import Counts, Ledger, Work
from cvkit.engine.streaming.records import Records
from cvkit.engine.streaming.resources import torch_threads
from cvkit.engine.streaming.stream import Stages, StreamSettings, stream
from cvkit.engine.streaming.tables import ReportWriter
from cvkit.errors import StoppedBySignal
from cvkit.inputs import RESULT_MARK, Input, check_stdin_is_unshared, find_inputs
from cvkit.messages import counted
from cvkit.processes import process_plan, worker_count
from cvkit.progress import Note, Reporter

Loaded = TypeVar("Loaded")
Inferred = TypeVar("Inferred")


@dataclass(frozen=True)
class BatchResult:
    """The result of an inference command.

    Attributes:
        folder: The result folder.
        counts: The numbers of inputs, over all processes.
        seconds: Duration.
        images_per_second: Inputs that succeeded or failed, per second.
        records: The records of the folder.
    """

    folder: Path
    counts: Counts
    seconds: float
    images_per_second: float
    records: Records = field(repr=False)

    def rows(self, inputs: Sequence[Input]) -> Iterator[dict[str, Any]]:
        """Yield the rows of those inputs that succeeded, in the order of ``inputs``, with all recorded values."""
        self.records.read_new()  # other processes may have finished since
        yield from self.records.rows(item.name for item in inputs)


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """The output of one inference command.

    Attributes:
        command: Name of the command.
        folder: The result folder.
        identity: The settings that the results depend on. A folder holds results of one set of them.
        columns: Columns of ``results.csv``.
        details: Further entries of the manifest.
        write_reports: Writes further reports into the folder from all rows.
        default_batch_size: Images per batch if ``--batch-size`` is auto; None for ``default_batch_size``.
        torch_threads: Threads of torch's operations; 1 if another runtime computes the network, None for torch's own.
    """

    command: str
    folder: Path
    identity: Mapping[str, Any]
    columns: Sequence[str]
    details: Mapping[str, Any]
    write_reports: ReportWriter = lambda _: None
    default_batch_size: int | None = None
    torch_threads: int | None = None


def command_inputs(config: InferenceConfig, stdin: Iterable[str] | None) -> list[Input]:
    """Find the inputs of a command.

    Args:
        config: Settings of the command.
        stdin: Lines to read in place of standard input.

    Raises:
        DataError: If an argument matches no file.
        UsageError: If several processes would read standard input.
    """
    processes, nodes = process_plan(config)
    check_stdin_is_unshared(config.inputs, processes * nodes)
    return find_inputs(config.inputs, stdin)


def run_batch(
    config: InferenceConfig,
    job: BatchJob,
    inputs: list[Input],
    stages: Stages[Loaded, Inferred],
    process: Process,
    report: Reporter,
) -> BatchResult:
    """Send this process's inputs through the stages into the result folder, and wait for the other processes.

    An input that fails becomes a row of ``failures.csv``.

    Args:
        config: Settings of the command.
        job: The output of the command.
        inputs: The inputs of all processes.
        stages: The reading, inference and writing of an input.
        process: This process.
        report: Receives the progress.

    Raises:
        OutputError: If the folder must not be written, or the disk is full.
        StoppedBySignal: If a signal came to any process. Everything inferred before is written.
        ProcessError: If another process has died. Everything inferred before is written.
    """
    began = time.perf_counter()
    keep_freed_memory()
    work, threads = _work(config, job, inputs, process), torch_threads(job.torch_threads)
    with StopSignal() as stop, process.stopping(stop), threads, Ledger(work) as ledger:
        _report_start(ledger, len(inputs), report)
        try:
            complete = stream(stages, _settings(config, job, process), ledger, report, stop)
        finally:
            own = ledger.finish(job.write_reports)
        # Inside the context, so that no other job gets a part of this one before all processes have ended.
        *totals, stopped = process.total([own.inputs, own.skipped, own.done, own.failed, int(not complete)])
    return _result(job, Counts(*totals), bool(stopped), time.perf_counter() - began, ledger.records)


def _result(job: BatchJob, counts: Counts, stopped: bool, seconds: float, records: Records) -> BatchResult:
    if stopped:
        left = counts.inputs - counts.skipped - counts.done - counts.failed
        raise StoppedBySignal(
            f"stopped by a signal with {counted(left, 'image')} left: run the same command again to continue."
        )
    rate = (counts.done + counts.failed) / max(1e-9, seconds)
    return BatchResult(job.folder, counts, seconds, rate, records)


def _report_start(ledger: Ledger, inputs: int, report: Reporter) -> None:
    folder = ledger.work.folder
    if ledger.damaged:
        lines = f"{ledger.damaged} damaged lines in {folder / RESULT_MARK} are ignored"
        report(Note(f"{lines}: the images they belong to are processed again", level="warning"))
    report(Note(f"{len(ledger.todo)} of {counted(inputs, 'image')} to do, into {folder}"))


def inputs_of_shard(config: InferenceConfig, inputs: list[Input]) -> list[Input]:
    """Return the inputs of this job: all of them, or every N-th with ``--shard K/N``."""
    return inputs[config.shard[0] - 1 :: config.shard[1]]


def _work(config: InferenceConfig, job: BatchJob, inputs: list[Input], process: Process) -> Work:
    k, n = config.shard
    return Work(
        command=job.command,
        folder=job.folder,
        inputs=inputs,
        identity=job.identity,
        columns=job.columns,
        details={**job.details, **_environment(process)},
        shard=((k - 1) * process.world_size + process.rank + 1, n * process.world_size),
        overwrite=config.overwrite,
    )


def _environment(process: Process) -> dict[str, Any]:
    versions = {"cvkit": cvkit.__version__, "torch": torch.__version__}
    return {"device": describe_device(process.device), "versions": versions}


def _settings(config: InferenceConfig, job: BatchJob, process: Process) -> StreamSettings:
    on_gpu = process.device.type == "cuda"
    grows = on_gpu and config.batch_size is None and job.default_batch_size is None
    return StreamSettings(
        batch_size=config.batch_size or job.default_batch_size or default_batch_size(process.device),
        can_double=partial(_has_memory_to_double, process.device) if grows else None,
        readers=max(2, worker_count(config.workers)),
        writers=max(2, worker_count(config.workers) // 2),
    )


def _has_memory_to_double(device: torch.device) -> bool:
    """Return whether a GPU has memory for twice of what this process has used, with a fifth to spare."""
    free, _ = torch.cuda.mem_get_info(device)
    available = free + torch.cuda.memory_reserved(device)
    return 2 * torch.cuda.max_memory_allocated(device) < 0.8 * available
