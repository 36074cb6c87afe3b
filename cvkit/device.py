"""Which device, which precision and which process: asked once, in one place."""

import atexit
import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cvkit.config import ComputeConfig
from cvkit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def cpu_count() -> int:
    """Return the number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Return the bytes of memory this process may still take: what the machine has, and its control group allows."""
    free = _available_bytes()
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for folder in _control_groups():
            with contextlib.suppress(OSError, ValueError):  # not there, or "max"
                free = min(free, int((folder / limit).read_text()) - int((folder / used).read_text()))
    return max(0, free)


def _available_bytes() -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS does not tell what is free
    return 4 << 30


def _control_groups() -> Iterator[Path]:
    """Yield the folders of this process's control group and of those around it (Linux, versions 2 and 1)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, place = line.split(":", 2)
            if kinds in ("", "memory"):
                inner = PurePosixPath(place.lstrip("/"))
                for part in (inner, *inner.parents):
                    yield Path("/sys/fs/cgroup") / kinds / part


def worker_count(asked: int | None) -> int:
    """Return the number of loading workers: as asked, else a core less than this process has, 1 to 8."""
    return asked if asked is not None else max(1, min(8, cpu_count() // local_processes() - 1))


def launched_processes() -> tuple[int, int] | None:
    """Return (processes a node, nodes) when torchrun or a Slurm step started this process, else None.

    Slurm's variables without a step (an sbatch script without srun) describe the allocation, not processes of ours.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        local = int(env["LOCAL_WORLD_SIZE"])
        return local, int(env["WORLD_SIZE"]) // local
    if "SLURM_PROCID" in env and "SLURM_STEP_ID" in env:
        tasks = int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1")))
        nodes = int(env.get("SLURM_STEP_NUM_NODES", env.get("SLURM_NNODES", "1")))
        if tasks > 1 and tasks % nodes:
            raise UsageError(f"{tasks} tasks on {nodes} nodes: give each node as many (--ntasks-per-node).")
        return (tasks // nodes, nodes) if tasks > 1 else None
    return None


def local_processes() -> int:
    """Return how many processes of this command share this node, as far as the environment tells."""
    launched = launched_processes()
    return launched[0] if launched else int(os.environ.get("CVKIT_LOCAL_PROCESSES", "1"))


def is_main_process() -> bool:
    """Tell whether this process is the one that speaks: the first of those that share the work."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return env.get("RANK", "0") == "0"
    if launched_processes() is not None:
        return env.get("SLURM_PROCID", "0") == "0"
    return all(env.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def is_started_by_us() -> bool:
    """Tell whether this process was started by another one of this same command (``--devices N``)."""
    return launched_processes() is None and os.environ.get("LOCAL_RANK", "0") != "0"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch means that memory did not suffice, on a GPU or on the processor."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def choose_device(name: str) -> "torch.device":
    """Return the device a name means; ``auto`` takes CUDA, else MPS, else the processor."""
    import torch

    kind = name.partition(":")[0]
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no usable CUDA GPU. Use --device cpu or auto.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Apple GPU. Use --device cpu or auto.")
    device = torch.device(name)
    if kind == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs, counted from 0.")
    return device


def choose_precision(name: str, device: "torch.device") -> str:
    """Return fp32, bf16 or fp16; ``auto`` is bf16 on a GPU that computes in it, else fp32."""
    import torch

    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; on a processor use fp32 or bf16.")
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def autocast_dtype(precision: str) -> "torch.dtype | None":
    """Return the dtype that autocast computes in, or None for plain float32."""
    import torch

    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def describe(device: "torch.device") -> str:
    """Name a device in words, for manifests and logs."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def process_plan(config: ComputeConfig) -> tuple[int, int]:
    """Return (processes a node, nodes): what a launcher set up wins over ``--devices`` and ``--nodes``."""
    return launched_processes() or (config.devices, config.nodes)


def start_fabric(config: ComputeConfig, *, deterministic: bool = False) -> "Fabric":
    """Start Lightning Fabric for this command: one process, or as many as asked or launched.

    With several processes each is on a device of its own (DDP); the ones this call starts run the same command line.
    ``deterministic`` allows only algorithms that repeat bit for bit (a processor's always do).
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    if config.nodes > 1 and launched_processes() is None and "MASTER_ADDR" not in os.environ:
        raise UsageError(f"--nodes {config.nodes} needs a launcher on every node: use srun or torchrun.")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its banner says what was asked for
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    devices, nodes = process_plan(config)
    if device.type == "cuda":
        import torch

        if devices > torch.cuda.device_count():
            raise UsageError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs.")
        torch.backends.cudnn.benchmark = not deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
    several = devices * nodes > 1
    if several:
        os.environ.setdefault("CVKIT_LOCAL_PROCESSES", str(devices))
    one_gpu = device.type == "cuda" and device.index is not None
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if one_gpu else devices,
        num_nodes=nodes,
        strategy="ddp" if several else "auto",
        precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
        # Fabric would take any Slurm variables for those of a launcher and wait for processes that never come.
        plugins=[LightningEnvironment()] if launched_processes() is None else None,
    )
    if several:
        fabric.launch()
        atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    """Take down the connections between processes; left to the end of the program, their threads may abort it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


@dataclass(frozen=True)
class Share:
    """One process's part in an inference command: its number of ``count``, and its device."""

    rank: int
    count: int
    device: "torch.device"
    fabric: "Fabric | None" = None

    def total(self, numbers: list[int]) -> list[int]:
        """Add up whole numbers over all processes; every process waits for the others here."""
        if self.fabric is None:
            return numbers
        import torch

        summed = self.fabric.all_reduce(torch.tensor(numbers, device=self.device), reduce_op="sum")
        return [int(number) for number in summed]


def share_out(config: ComputeConfig) -> Share:
    """Return this process's share of an inference command, starting the other processes when several are asked for."""
    devices, nodes = process_plan(config)
    if devices * nodes == 1:
        device = choose_device(config.device)
        if device.type == "cuda":
            import torch

            torch.backends.cudnn.benchmark = True
        return Share(0, 1, device)
    fabric = start_fabric(config)
    return Share(fabric.global_rank, fabric.world_size, fabric.device, fabric)
