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


def test_forbidding_tf32_is_undone_after_the_block(gpu: ModuleType) -> None:
    import torch
    from gpu_checks.lab import tf32  # type: ignore[import-not-found]

    assert gpu is not None
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with tf32(False):
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script ``benchmarks/bench.py`` as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench

    return bench


def test_the_variants_of_a_benchmark_alternate_and_the_first_round_does_not_count(bench: ModuleType) -> None:
    from side_by_side import time_rounds  # type: ignore[import-not-found]

    assert bench is not None
    calls: list[str] = []
    times = time_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 2, "b": 2}


def test_rows_hold_the_median_and_the_range_of_ratios_of_one_round(bench: ModuleType) -> None:
    from side_by_side import faster, throughput

    assert bench is not None
    times = {"ours": [1.0, 2.0, 4.0], "peer": [2.0, 2.0, 12.0]}
    row = faster(times, "ours", "peer", "a claim")
    assert (row.claim, row.measured, row.range, row.peer) == ("a claim", "2.00 times as fast", "1.00 to 3.00", "peer")
    assert throughput(times, "ours", "peer", "").measured == "200 % of its throughput"


def test_make_bench_writes_a_table_also_where_a_benchmark_fails(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "good.py").write_text(
        "import json, sys\n"
        "row = {'claim': 'a claim', 'measured': '2.00 times as fast', 'range': '1.90 to 2.10', 'peer': 'timm'}\n"
        "open(sys.argv[sys.argv.index('--json') + 1], 'w').write(json.dumps([row]))\n"
    )
    (scripts / "bad.py").write_text("raise SystemExit('no such model')\n")
    monkeypatch.setattr(bench, "HERE", scripts)
    monkeypatch.setattr(bench, "BENCHMARKS", (bench.Benchmark("bad.py"), bench.Benchmark("good.py", ("--model", "x"))))
    assert bench.main(["--out", str(tmp_path)]) == 1
    table = (tmp_path / "bench.md").read_text()
    assert "| bad.py | failed with exit code 1: no such model | – | – | bad.py |" in table
    assert "| a claim | 2.00 times as fast | 1.90 to 2.10 | timm | good.py |" in table
    assert "cores" in table and "torch" in table


def test_every_benchmark_exists_and_is_described(bench: ModuleType) -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    for script in {each.script for each in bench.BENCHMARKS}:
        assert (ROOT / "benchmarks" / script).is_file()
        assert f"`{script}`" in page


@pytest.mark.slow
def test_the_benchmark_of_train_classifier_measures_all_of_its_parts(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import classifier_training  # type: ignore[import-not-found]

    assert bench is not None
    options = ["--data", "none", "--arrays", "none", "--size", "32", "--images", "10", "--small-images", "100"]
    target = tmp_path / "rows.json"
    monkeypatch.setattr("sys.argv", ["classifier_training.py", *options, "--rounds", "1", "--json", str(target)])
    classifier_training.main()
    claims = [row["claim"] for row in json.loads(target.read_text())]
    assert len(claims) == 21
    for part in ("basic-cnn on 28x28", "--cache none", "--cache ram", "augmentation of an image", "frozen backbone"):
        assert any(part in claim for claim in claims)


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
