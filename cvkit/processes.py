"""Describe this process: its launcher, its rank, and the processor cores and memory that it may use."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cvkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from cvkit.config import ComputeConfig

MAX_THREADS = 16  # more threads wait for the interpreter, which runs one of them at a time


def launched_processes() -> tuple[int, int] | None:
    """Return (processes per node, nodes) if torchrun or a Slurm step started this process, else None.

    Slurm's variables without a step (an sbatch script without srun) describe the allocation. They do not mean that
    Slurm started several processes.

    Raises:
        UsageError: If Slurm gives the nodes different numbers of tasks.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        local = int(env["LOCAL_WORLD_SIZE"])
        return local, int(env["WORLD_SIZE"]) // local
    if "SLURM_PROCID" in env and "SLURM_STEP_ID" in env:
        tasks = int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1")))
        nodes = int(env.get("SLURM_STEP_NUM_NODES", env.get("SLURM_NNODES", "1")))
        if tasks > 1 and tasks % nodes:
            raise UsageError(
                f"{tasks} Slurm tasks on {nodes} nodes: every node needs the same number of tasks "
                "(srun --ntasks-per-node)."
            )
        return (tasks // nodes, nodes) if tasks > 1 else None
    return None


def process_plan(config: "ComputeConfig") -> tuple[int, int]:
    """Return (processes per node, nodes): those of a launcher if there is one, else ``--devices`` and ``--nodes``."""
    return launched_processes() or (config.devices, config.nodes)


def local_processes() -> int:
    """Return the number of processes of this command on this node, as far as the environment tells."""
    launched = launched_processes()
    return launched[0] if launched else int(os.environ.get("CVKIT_LOCAL_PROCESSES", "1"))


def is_main_process() -> bool:
    """Return whether this is the first process of the command, the one that prints."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return env.get("RANK", "0") == "0"
    if launched_processes() is not None:
        return env.get("SLURM_PROCID", "0") == "0"
    return all(env.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def is_child_process() -> bool:
    """Return whether another process of the same command started this one (``--devices N``)."""
    return launched_processes() is None and os.environ.get("LOCAL_RANK", "0") != "0"


def exit_code_of_process(code: int) -> int:
    """Return the exit code of this process, given that of the command.

    The parent process exits with the code of a partial result or a stop. A process that it started exits with 0,
    because an error would make the parent be killed before that.
    """
    return ExitCode.OK if is_child_process() and code in (ExitCode.PARTIAL, ExitCode.STOPPED) else code


def cpu_count() -> int:
    """Return the number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(requested: int | None) -> int:
    """Return the number of workers that load images: as requested, else one less than the cores, from 1 to 8."""
    return requested if requested is not None else max(1, min(8, cpu_count() // local_processes() - 1))


def thread_count(requested: int | None) -> int:
    """Return the number of threads that compute results of images: as requested, else one per core, from 1 to 16."""
    return max(1, min(MAX_THREADS, cpu_count() // local_processes()) if requested is None else requested)


def free_memory() -> int:
    """Return the bytes of memory that this process may still use: free on this machine and in its control group."""
    free = _available_bytes()
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for folder in _control_groups():
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                free = min(free, int((folder / limit).read_text()) - int((folder / used).read_text()))
    return max(0, free)


def _available_bytes() -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS does not say what is free
    return 4 << 30


def _control_groups() -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents (Linux, versions 2 and 1)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in ("", "memory"):
                inner = PurePosixPath(path.lstrip("/"))
                for part in (inner, *inner.parents):
                    yield Path("/sys/fs/cgroup") / kinds / part
