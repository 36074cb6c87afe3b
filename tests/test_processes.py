"""Test the description of the current process in simulated environments."""

from pathlib import Path

import pytest

from cvkit import processes
from cvkit.config import ComputeConfig
from cvkit.errors import UsageError
from cvkit.processes import (
    cpu_count,
    free_memory,
    is_child_process,
    is_main_process,
    launched_processes,
    local_processes,
    process_plan,
    thread_count,
    worker_count,
)
from tests.launchers import remove_launcher, set_env


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_launcher(monkeypatch)


def test_without_a_launcher_the_settings_determine_the_processes() -> None:
    assert launched_processes() is None and local_processes() == 1 and is_main_process()
    assert process_plan(ComputeConfig(devices=2, nodes=3)) == (2, 3)


def test_torchrun_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, TORCHELASTIC_RUN_ID="x", LOCAL_WORLD_SIZE=4, WORLD_SIZE=8, RANK=0, LOCAL_RANK=0)
    assert launched_processes() == (4, 2) and local_processes() == 4 and is_main_process()
    assert process_plan(ComputeConfig(devices=1)) == (4, 2)
    set_env(monkeypatch, RANK=4)
    assert not is_main_process()


def test_slurm_is_recognised_inside_a_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, SLURM_PROCID=3, SLURM_NTASKS=8, SLURM_NNODES=2)
    assert launched_processes() is None  # a batch script, which srun did not start
    set_env(monkeypatch, SLURM_STEP_ID=0)
    assert launched_processes() == (4, 2) and not is_main_process()
    set_env(monkeypatch, SLURM_PROCID=0)
    assert is_main_process()
    set_env(monkeypatch, SLURM_NTASKS=1)
    assert launched_processes() is None


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_only_the_first_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_env(monkeypatch, **{name: 1})
    assert not is_main_process()


def test_the_number_of_workers_leaves_one_core_free_and_counts_the_processes_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for cores in (1, 2, 4, 64):
        monkeypatch.setattr(processes, "cpu_count", lambda cores=cores: cores)
        counts.append(worker_count(None))
    assert counts == [1, 1, 3, 8]
    assert worker_count(0) == 0 and worker_count(12) == 12
    monkeypatch.setattr(processes, "cpu_count", lambda: 16)
    set_env(monkeypatch, CVKIT_LOCAL_PROCESSES=4)
    assert worker_count(None) == 3


def test_there_is_at_least_one_core() -> None:
    assert cpu_count() >= 1


def test_free_memory_is_limited_by_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < free_memory() < 1 << 50
    inner = tmp_path / "job"
    inner.mkdir()
    monkeypatch.setattr(processes, "_available_bytes", lambda: 1000)
    monkeypatch.setattr(processes, "_control_groups", lambda: iter([inner, tmp_path]))
    assert free_memory() == 1000
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    assert free_memory() == 1000
    (tmp_path / "memory.max").write_text("700\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert free_memory() == 400


def test_main_and_child_processes_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_main_process() and not is_child_process()
    set_env(monkeypatch, LOCAL_RANK=1)
    assert not is_main_process() and is_child_process()
    set_env(monkeypatch, TORCHELASTIC_RUN_ID="x", RANK=0, LOCAL_WORLD_SIZE=2, WORLD_SIZE=2, SLURM_PROCID=3)
    assert is_main_process() and not is_child_process()


def test_slurm_tasks_that_differ_between_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch, SLURM_PROCID=0, SLURM_STEP_ID=0, SLURM_STEP_NUM_TASKS=1, SLURM_STEP_NUM_NODES=1)
    assert launched_processes() is None
    set_env(monkeypatch, SLURM_STEP_NUM_TASKS=3, SLURM_STEP_NUM_NODES=2)
    with pytest.raises(UsageError, match="every node needs the same number of tasks"):
        launched_processes()


def test_scoring_threads_are_the_requested_ones_or_one_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [thread_count(number) for number in (0, 1, 40)] == [1, 1, 40]
    monkeypatch.setattr(processes, "cpu_count", lambda: 6)
    assert thread_count(None) == 6
    monkeypatch.setattr(processes, "cpu_count", lambda: 96)
    assert thread_count(None) == 16
