"""Start the processes of a command on their devices, through Lightning Fabric."""

import atexit
import inspect
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvkit.config import ComputeConfig
from cvkit.device import choose_device, choose_precision
from cvkit.engine.launchers import cluster_environment, start_children
from cvkit.engine.peers import Peers, current_peers, watch_peers
from cvkit.engine.stop import StopSignal
from cvkit.errors import UsageError
from cvkit.processes import launched_processes, process_plan

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def start_fabric(config: ComputeConfig, *, deterministic: bool = False) -> "Fabric":
    """Start Lightning Fabric with one process, or with as many as the launcher or the settings say.

    Each of several processes has its own device (DDP). Processes that this call starts run the same command line.

    Args:
        config: Device, precision and number of processes.
        deterministic: Whether to allow only algorithms that repeat bit for bit (those of a processor always do).

    Raises:
        UsageError: If the device does not exist, or several nodes have no launcher.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    if config.nodes > 1 and launched_processes() is None and "MASTER_ADDR" not in os.environ:
        raise UsageError(f"--nodes {config.nodes} needs a launcher on every node: use srun or torchrun.")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its banner repeats the settings
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    devices, nodes = process_plan(config)
    if device.type == "cuda":
        _set_up_cuda(devices, deterministic)
    several = devices * nodes > 1
    peers = _start_peers(devices, nodes) if several else None
    fabric = Fabric(
        accelerator=device.type,
        devices=devices if device.index is None else [device.index],
        num_nodes=nodes,
        strategy=DDPStrategy(**_own_buffers()) if several else "auto",
        precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
        plugins=[cluster_environment()],
    )
    if peers is not None:
        fabric.launch()
        peers.connect(fabric.global_rank)
        atexit.register(_leave_group)
    return fabric


def _own_buffers() -> dict[str, Any]:
    """Return the setting by which DDP leaves the buffers of each process alone: ``Trainer.share_buffers`` shares them.

    Later versions of PyTorch have another name for it, and warn about that of the earlier ones.
    """
    from torch.nn.parallel import DistributedDataParallel

    names = inspect.signature(DistributedDataParallel).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}


def _start_peers(devices: int, nodes: int) -> Peers:
    """Start the other processes of this node if no launcher has done so, and watch them.

    Fabric could start them, but it ends this process by SIGKILL without a message if one of them fails.
    """
    from lightning_fabric.plugins.environments import LightningEnvironment

    os.environ.setdefault("CVKIT_LOCAL_PROCESSES", str(devices))
    children = {}
    if launched_processes() is None and "LOCAL_RANK" not in os.environ:
        here = LightningEnvironment()
        address = {"MASTER_ADDR": here.main_address, "MASTER_PORT": str(here.main_port)}
        numbers = {"NODE_RANK": str(here.node_rank()), "WORLD_SIZE": str(devices * nodes)}
        children = start_children(devices, {**address, **numbers})
    return watch_peers(devices * nodes, children)


def _set_up_cuda(devices: int, deterministic: bool) -> None:
    import torch

    if devices > torch.cuda.device_count():
        if launched_processes() is None:
            raise UsageError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs.")
        raise UsageError(
            f"{devices} processes were started on this node, but this one sees {torch.cuda.device_count()} GPUs: start "
            "one process per GPU; in a Slurm job ask for --gpus-per-node instead of --gpus-per-task."
        )
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an exchange between processes failed because one of them has ended."""
    from torch.distributed import DistError

    text = str(error)
    return isinstance(error, DistError) or "gloo" in text or any(word in text for word in ("by peer", "Socket closed"))


def _leave_group() -> None:
    """Close the connections between processes. At the end of the interpreter, their threads may abort it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


@dataclass(frozen=True)
class Process:
    """One process of an inference command.

    Attributes:
        rank: Number of the process, from 0.
        world_size: Number of processes.
        device: Its device.
        peers: The other processes; None if there is only one.
    """

    rank: int
    world_size: int
    device: "torch.device"
    peers: Peers | None = None

    def total(self, numbers: list[int]) -> list[int]:
        """Return the sums of whole numbers over all processes. Every process waits here for the others.

        Raises:
            ProcessError: If another process has died.
        """
        return numbers if self.peers is None else self.peers.total(numbers)

    def stopping(self, stop: StopSignal) -> AbstractContextManager[None]:
        """Return a context in which a stop of one process stops all."""
        return nullcontext() if self.peers is None else self.peers.stopping(stop)


def assign_process(config: ComputeConfig) -> Process:
    """Return the rank and the device of this process in an inference command, and start the other processes.

    Raises:
        UsageError: If the device does not exist, or several nodes have no launcher.
    """
    devices, nodes = process_plan(config)
    if devices * nodes == 1:
        device = choose_device(config.device)
        if device.type == "cuda":
            import torch

            torch.backends.cudnn.benchmark = True
        return Process(0, 1, device)
    fabric = start_fabric(config)
    return Process(fabric.global_rank, fabric.world_size, fabric.device, current_peers())
