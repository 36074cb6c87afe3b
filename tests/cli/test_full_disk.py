"""Test an inference command on a disk that is full or read-only. It mounts a small file system, which needs root."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Run

COUNT = 300
pytestmark = pytest.mark.slow


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=512k"):
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_or_read_only_disk_is_one_line_and_the_same_command_continues(
    run: Run, trained: Path, disk: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number:03d}.png")
    out = disk / "maps"
    command = ("predict", tmp_path / "in", "--model", trained, "--device", "cpu", "--out", out, "--progress", "none")
    done = 0
    for size in ("512k", "900k"):
        mount(disk, f"remount,size={size}")
        ended = run(*command)
        assert ended.code == 1
        assert ended.err.splitlines()[-1].startswith("error: no space left to write ")
        assert ended.err.splitlines()[-1].endswith("free some, then run the same command again.")
        assert not list(disk.rglob(".cvkit-*"))
        for path in out.rglob("*.png"):
            with Image.open(path) as image:
                image.load()
        assert done < (done := len(list(out.rglob("*.png")))) < COUNT
    mount(disk, "remount,size=20m")
    counts = json.loads(run(*command, "--json").out)["counts"]
    assert counts["skipped"] >= done - 4 and counts["skipped"] + counts["done"] == COUNT  # 4 images per batch
    assert len((out / "results.csv").read_text().splitlines()) == COUNT + 1
    mount(disk, "remount,ro")
    for folder in (out, disk / "new"):
        ended = run(*command, "--overwrite", "--out", folder)
        assert ended.code == 1 and "Read-only file system" in ended.err.splitlines()[-1]
