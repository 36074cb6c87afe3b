"""Which device, precision and process: asked of a made-up environment."""

from pathlib import Path

import pytest
import torch

from cvkit import device as machine
from cvkit.config import ComputeConfig
from cvkit.device import Share
from cvkit.errors import UsageError

OF_LAUNCHERS = ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")
OF_SLURM = ("SLURM_PROCID", "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_NNODES", "CVKIT_LOCAL_PROCESSES")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_LAUNCHERS + OF_SLURM:
        monkeypatch.delenv(name, raising=False)


def set_env(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu() -> None:
    assert machine.choose_device("auto") == torch.device("cpu") == machine.choose_device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UsageError, match=r"Use --device cpu or auto"):
            machine.choose_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_with_two_gpus() -> None:
    assert machine.choose_device("auto").type == "cuda" and machine.choose_device("cuda:1").index == 1
    with pytest.raises(UsageError, match="--device cuda:2: this machine has 2 GPUs, counted from 0"):
        machine.choose_device("cuda:2")


def test_with_an_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.choose_device("auto").type == "mps" == machine.choose_device("mps").type


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [machine.choose_precision(name, cpu) for name in ("auto", "fp32", "bf16")] == ["fp32", "fp32", "bf16"]
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        machine.choose_precision("fp16", cpu)
    for able, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **_: able)
        assert machine.choose_precision("auto", gpu) == chosen
    assert machine.choose_precision("fp16", gpu) == "fp16"
    dtypes = [machine.autocast_dtype(name) for name in ("fp32", "bf16", "fp16")]
    assert dtypes == [None, torch.bfloat16, torch.float16]
    assert machine.describe(cpu) == "cpu"


def test_a_process_started_by_hand() -> None:
    assert machine.launched_processes() is None and machine.local_processes() == 1 and machine.is_main_process()
    assert machine.process_plan(ComputeConfig(devices=2, nodes=3)) == (2, 3)


def test_torchrun_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, TORCHELASTIC_RUN_ID="x", LOCAL_WORLD_SIZE=4, WORLD_SIZE=8, RANK=0, LOCAL_RANK=0)
    assert machine.launched_processes() == (4, 2) and machine.local_processes() == 4 and machine.is_main_process()
    assert machine.process_plan(ComputeConfig(devices=1)) == (4, 2)
    set_env(monkeypatch, RANK=4)
    assert not machine.is_main_process()


def test_slurm_is_recognised_inside_a_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, SLURM_PROCID=3, SLURM_NTASKS=8, SLURM_NNODES=2)
    assert machine.launched_processes() is None  # a batch script, which srun did not start
    set_env(monkeypatch, SLURM_STEP_ID=0)
    assert machine.launched_processes() == (4, 2) and not machine.is_main_process()
    set_env(monkeypatch, SLURM_PROCID=0)
    assert machine.is_main_process()
    set_env(monkeypatch, SLURM_NTASKS=1)
    assert machine.launched_processes() is None


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_env(monkeypatch, **{name: 1})
    assert not machine.is_main_process()


def test_workers_leave_a_core_and_share_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for cores in (1, 2, 4, 64):
        monkeypatch.setattr(machine, "cpu_count", lambda cores=cores: cores)
        counts.append(machine.worker_count(None))
    assert counts == [1, 1, 3, 8]
    assert machine.worker_count(0) == 0 and machine.worker_count(12) == 12
    monkeypatch.setattr(machine, "cpu_count", lambda: 16)
    set_env(monkeypatch, CVKIT_LOCAL_PROCESSES=4)
    assert machine.worker_count(None) == 3


def test_cores_are_counted() -> None:
    assert machine.cpu_count() >= 1


def test_free_memory_keeps_to_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < machine.free_memory() < 1 << 50
    inner = tmp_path / "job"
    inner.mkdir()
    monkeypatch.setattr(machine, "_available_bytes", lambda: 1000)
    monkeypatch.setattr(machine, "_control_groups", lambda: iter([inner, tmp_path]))
    assert machine.free_memory() == 1000
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    assert machine.free_memory() == 1000
    (tmp_path / "memory.max").write_text("700\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert machine.free_memory() == 400


def test_a_share_of_one_adds_nothing() -> None:
    assert Share(0, 1, torch.device("cpu")).total([1, 2]) == [1, 2]


@pytest.mark.usefixtures("no_gpu")
def test_sharing_out_among_one() -> None:
    share = machine.share_out(ComputeConfig())
    assert (share.rank, share.count, share.device.type, share.fabric) == (0, 1, "cpu", None)


@pytest.mark.usefixtures("two_gpus")
def test_more_devices_than_there_are() -> None:
    with pytest.raises(UsageError, match="--devices 3: this machine has 2 GPUs"):
        machine.start_fabric(ComputeConfig(device="cuda", precision="fp32", devices=3))


def test_slurm_variables_of_an_allocation_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, SLURM_JOB_ID=1, SLURM_PROCID=0, SLURM_NTASKS=4, SLURM_NNODES=1, SLURM_JOB_NAME="batch")
    fabric = machine.start_fabric(ComputeConfig(device="cpu"))
    assert fabric.world_size == 1
    set_env(monkeypatch, SLURM_STEP_ID=0, SLURM_STEP_NUM_TASKS=1, SLURM_STEP_NUM_NODES=1)
    assert machine.launched_processes() is None
    set_env(monkeypatch, SLURM_STEP_NUM_TASKS=3, SLURM_STEP_NUM_NODES=2)
    with pytest.raises(UsageError, match="each node as many"):
        machine.launched_processes()


def test_several_nodes_want_a_launcher() -> None:
    with pytest.raises(UsageError, match="srun or torchrun"):
        machine.start_fabric(ComputeConfig(device="cpu", nodes=2))


def test_who_speaks_and_who_was_started_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.is_main_process() and not machine.is_started_by_us()
    set_env(monkeypatch, LOCAL_RANK=1)
    assert not machine.is_main_process() and machine.is_started_by_us()
    set_env(monkeypatch, TORCHELASTIC_RUN_ID="x", RANK=0, LOCAL_WORLD_SIZE=2, WORLD_SIZE=2, SLURM_PROCID=3)
    assert machine.is_main_process() and not machine.is_started_by_us()
