"""Run an inference command in two processes: the same results as one, a common stop, and an end if one of them dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

COUNT = 120
LAUNCHERS = {
    "devices": (["-m", "cvkit"], ["--devices", "2"]),
    "torchrun": (["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cvkit"], []),
}
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs signals")]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images, and one that is none."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    (folder / "bad.png").write_text("no image")
    return folder


def start(images: Path, model: Path, out: Path, launcher: str | None, *words: str) -> "subprocess.Popen[str]":
    program, options = LAUNCHERS.get(launcher or "", (["-m", "cvkit"], []))
    command = [sys.executable, *program, "predict", str(images), "--model", str(model), "--out", str(out)]
    # One image per batch: batches of other sizes may differ by rounding.
    command += ["--device", "cpu", "--batch-size", "1", "--workers", "1", "--progress", "none", *options, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder without its records and its manifest."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".cvkit" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != "manifest.json"}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_write_the_same_files_as_one(images: Path, trained: Path, tmp_path: Path, launcher: str) -> None:
    for name, kind in (("one", None), ("two", launcher)):
        process = start(images, trained, tmp_path / name, kind, "--json")
        out, err = process.communicate(timeout=300)
        assert process.returncode == (1 if kind == "torchrun" else 3), err  # torchrun has one exit code for all errors
        document = json.loads(out)
        assert document["counts"] == {"inputs": COUNT + 1, "skipped": 0, "done": COUNT, "failed": 1}
    assert content(tmp_path / "one") == content(tmp_path / "two")


def wait_until_both_work(out: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        ledgers = list(out.glob(".cvkit/*-of-2.jsonl"))
        if len(ledgers) == 2 and all(b"crc" in path.read_bytes() for path in ledgers):
            return
        time.sleep(0.05)
    raise AssertionError("the processes do not begin")


def members(process: "subprocess.Popen[str]", launcher: str) -> list[psutil.Process]:
    """Return the two processes of the command."""
    first = psutil.Process(process.pid)
    return first.children() if launcher == "torchrun" else [first, *first.children()]


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_both_and_the_same_command_continues(
    images: Path, trained: Path, tmp_path: Path, launcher: str, rank: int
) -> None:
    out = tmp_path / "out"
    process = start(images, trained, out, launcher, "--size", "1200x1200")
    wait_until_both_work(out)
    members(process, launcher)[rank].send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    assert process.returncode == (1 if launcher == "torchrun" else 75), err
    assert err.count("error: stopped by a signal with") == 1
    assert launcher == "torchrun" or "Traceback (most recent" not in err  # torchrun shows one of its own
    recorded = sum(path.read_bytes().count(b'"crc"') for path in out.glob(".cvkit/*.jsonl"))
    assert 2 <= recorded < COUNT and len(list(out.glob("*.png"))) == recorded  # what was in flight is recorded
    again = start(images, trained, out, None, "--size", "1200x1200", "--json")
    counts = json.loads(again.communicate(timeout=300)[0])["counts"]
    assert counts["skipped"] == recorded and counts["done"] == COUNT - recorded


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other_with_a_message(
    images: Path, trained: Path, tmp_path: Path, launcher: str, rank: int
) -> None:
    out = tmp_path / "out"
    process = start(images, trained, out, launcher, "--size", "1200x1200")
    wait_until_both_work(out)
    both = members(process, launcher)
    both[rank].kill()
    _, err = process.communicate(timeout=100)
    _, alive = psutil.wait_procs(both, timeout=30)
    assert not alive
    if launcher == "devices":
        message = "process 2 of 2 was killed by SIGKILL" if rank else "process 1 of 2 has ended unexpectedly"
        assert process.returncode == (1 if rank else -signal.SIGKILL)
        assert err.count(f"error: {message}") == 1 and "Traceback (most recent" not in err
    recorded = sum(path.read_bytes().count(b'"crc"') for path in out.glob(".cvkit/*.jsonl"))
    again = start(images, trained, out, None, "--size", "1200x1200", "--json")
    assert json.loads(again.communicate(timeout=300)[0])["counts"]["skipped"] == recorded


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_refusal_by_the_first_process_ends_the_others_with_one_message(
    fixation_data: Path, tmp_path: Path, launcher: str
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    program, options = LAUNCHERS[launcher]
    command = [sys.executable, *program, "train-saliency", "--data", str(fixation_data), "--out", str(tmp_path)]
    command += ["--backbone", "timm:mobilenetv3_small_050", "--weights", "none", "--size", "32x32", "--device", "cpu"]
    # The others wait for the name of the folder, which only the first process opens.
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1
    assert ended.stderr.count("error: ") == 1 and "already holds other files" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
