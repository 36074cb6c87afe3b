"""Start the processes of a command, and describe those of torchrun, Slurm or cvkit to Lightning Fabric."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cvkit.processes import launched_processes

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

PARENT = "CVKIT_PARENT_PROCESS"  # environment variable with the number of the process that started this one
FIRST_PORT, PORTS = 15000, 15000  # below the ports that Linux gives to outgoing connections


def cluster_environment() -> "ClusterEnvironment":
    """Return Fabric's description of the processes that run this command.

    Fabric would choose one by itself, but it takes the variables of a Slurm job without a step for those of a launcher,
    and ignores a step in a job with the name ``bash`` or ``interactive``.
    """
    from lightning_fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    launched = launched_processes()
    if launched is None:
        return LightningEnvironment()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return TorchElasticEnvironment()
    os.environ.update(_step_variables(*launched))
    return SLURMEnvironment(auto_requeue=False)


def _step_variables(tasks_per_node: int, nodes: int) -> dict[str, str]:
    """Return the variables by which ``SLURMEnvironment`` knows a step.

    It reads those of the job, whose tasks, nodes and address may be others, and wants ``--ntasks-per-node``.
    """
    env = os.environ
    job, step = (int(env.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    names = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or env.get("SLURM_NODELIST", "127.0.0.1")
    return {
        "SLURM_NTASKS": str(tasks_per_node * nodes),
        "SLURM_NTASKS_PER_NODE": str(tasks_per_node),
        "SLURM_NNODES": str(nodes),
        "SLURM_NODELIST": names,
        # Two steps of one job may run on the same node at the same time.
        "MASTER_PORT": env.get("MASTER_PORT", str(FIRST_PORT + (job + 1000 * step) % PORTS)),
    }


def start_children(processes: int, environment: Mapping[str, str]) -> dict[int, "subprocess.Popen[bytes]"]:
    """Start the other processes of this node with the same command line, and return them by rank on the node.

    Args:
        processes: Number of processes on this node, with this one.
        environment: Variables by which they find each other. This process gets them too.
    """
    os.environ.update({**environment, "LOCAL_RANK": "0"})
    main = sys.modules["__main__"]
    program = ["-m", main.__spec__.name] if main.__spec__ is not None else [os.path.abspath(sys.argv[0])]  # noqa: PTH100
    command = [sys.executable, *program, *sys.argv[1:]]
    # Without the setting, torch writes fifty lines about a connection that the end of another process closes.
    own = {PARENT: str(os.getpid()), "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")}
    return {
        rank: subprocess.Popen(command, env={**os.environ, **own, "LOCAL_RANK": str(rank)})
        for rank in range(1, processes)
    }
