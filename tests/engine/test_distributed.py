"""Test the start of the processes of a command."""

import pytest
import torch

from cvkit.config import ComputeConfig
from cvkit.engine.distributed import Process, assign_process, start_fabric
from cvkit.errors import UsageError
from tests.launchers import remove_launcher, set_env


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_launcher(monkeypatch)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_the_totals_of_one_process_are_its_own_numbers() -> None:
    assert Process(0, 1, torch.device("cpu")).total([1, 2]) == [1, 2]


@pytest.mark.usefixtures("no_gpu")
def test_a_single_process_needs_no_fabric() -> None:
    process = assign_process(ComputeConfig())
    assert (process.rank, process.world_size, process.device.type, process.peers) == (0, 1, "cpu", None)


@pytest.mark.usefixtures("two_gpus")
def test_more_devices_than_the_machine_has_are_refused() -> None:
    with pytest.raises(UsageError, match="--devices 3: this machine has 2 GPUs"):
        start_fabric(ComputeConfig(device="cuda", precision="fp32", devices=3))


def test_slurm_variables_of_an_allocation_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, SLURM_JOB_ID=1, SLURM_PROCID=0, SLURM_NTASKS=4, SLURM_NNODES=1, SLURM_JOB_NAME="batch")
    fabric = start_fabric(ComputeConfig(device="cpu"))
    assert fabric.world_size == 1


def test_several_nodes_need_a_launcher() -> None:
    with pytest.raises(UsageError, match="srun or torchrun"):
        start_fabric(ComputeConfig(device="cpu", nodes=2))
