"""Test the scripts in ``benchmarks/`` with tiny amounts of work, so that they keep working as cvkit changes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEED_CHECK = "speed-classify-mobilenet_v2"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script ``benchmarks/gpu.py`` as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the recorded checks by name."""
    return {each["name"]: each for each in json.loads((folder / "gpu.json").read_text())["checks"]}


def run_gpu(gpu: ModuleType, folder: Path, only: str, *more: str) -> int:
    return int(gpu.main(["--device", "cpu", "--quick", "--out", str(folder), "--only", only, *more]))


def test_the_gpu_script_records_correctness_and_speed_and_exits_with_0(gpu: ModuleType, tmp_path: Path) -> None:
    assert run_gpu(gpu, tmp_path, f"classify,{SPEED_CHECK},speed-compiled") == 0
    checks = outcomes(tmp_path)
    assert checks["classify"]["status"] == "passed"
    assert checks[SPEED_CHECK]["status"] == "measured"
    assert checks["speed-compiled"]["status"] == "skipped"
    assert "needs a CUDA GPU" in checks["speed-compiled"]["message"]
    assert all(row["images/s"] > 0 for row in checks[SPEED_CHECK]["rows"])
    table = (tmp_path / "gpu.md").read_text()
    assert "| classify | mobilenet_v2 | bf16 |" in table
    assert "Python" in table and "torch" in table


def replace_run(check: Any, run: Callable[[Any], list[dict[str, Any]]]) -> Any:
    from dataclasses import replace

    return replace(check, run=run)


def test_a_check_that_crashes_or_fails_is_recorded_and_the_others_still_run(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: Any) -> list[dict[str, Any]]:
        raise RuntimeError("CUDA error")

    original = gpu.all_checks

    def changed(lab: Any) -> list[Any]:
        first, second, third, *_ = original(lab)
        return [
            replace_run(first, crash),
            replace_run(second, lambda _: [{"measured": 2.0, "tolerance": 1.0, "ok": False}]),
            replace_run(third, lambda _: [{"measured": 0.0, "tolerance": 1.0, "ok": True}]),
        ]

    monkeypatch.setattr(gpu, "all_checks", changed)
    assert gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    assert [each["status"] for each in outcomes(tmp_path).values()] == ["error", "failed", "passed"]
    assert "CUDA error" in (tmp_path / "gpu.md").read_text()


def test_checks_for_which_no_time_is_left_are_skipped_and_say_so(gpu: ModuleType, tmp_path: Path) -> None:
    assert gpu.main(["--device", "cpu", "--minutes", "0.01", "--out", str(tmp_path)]) == 0
    checks = outcomes(tmp_path)
    assert {each["status"] for each in checks.values()} == {"skipped"}
    assert "use a larger --minutes" in checks["classify"]["message"]


def test_a_check_that_outlasts_the_time_is_stopped_and_recorded_as_skipped(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    def wait(_: Any) -> list[dict[str, Any]]:
        time.sleep(30)
        return []

    original = gpu.all_checks
    monkeypatch.setattr(gpu, "all_checks", lambda lab: [replace_run(original(lab)[0], wait)])
    began = time.monotonic()
    assert gpu.main(["--device", "cpu", "--quick", "--minutes", "0.001", "--out", str(tmp_path)]) == 0
    assert time.monotonic() - began < 20
    assert "the time was up" in outcomes(tmp_path)["classify"]["message"]


def test_overlapping_kernels_count_once(gpu: ModuleType) -> None:
    from gpu_checks.speed import union  # type: ignore[import-not-found]

    assert gpu is not None
    assert union([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.0, 2.0)]) == 4.0


@pytest.mark.slow
def test_the_whole_gpu_script_passes_on_a_processor(tmp_path: Path) -> None:
    """Run every check, with a killed and resumed run and simulated lack of memory, as a person would."""
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--device", "cpu", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    checks = outcomes(tmp_path)
    assert {name for name, each in checks.items() if each["kind"] == "correctness" and each["status"] != "passed"} == {
        "compiled",
        "train-saliency-compiled",
    }
    assert not [each for each in checks.values() if each["status"] == "error"]
    assert {each["status"] for each in checks.values()} == {"passed", "measured", "skipped"}


@pytest.mark.gpu
@pytest.mark.slow
def test_the_whole_gpu_script_passes_on_a_gpu(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
