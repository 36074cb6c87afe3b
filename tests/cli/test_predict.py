"""``cvkit predict`` as the shell runs it."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photographs of mixed sizes, one of them in a folder below."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a.jpg", (60, 80)), ("b.png", (100, 50)), ("c.png", (64, 96)), ("below/a.png", (33, 41))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / name)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_maps_mirror_the_inputs(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    ended = run("predict", photos, "--checkpoint", trained, "--out", "m", "--overlay", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["counts"] == {"inputs": 4, "skipped": 0, "done": 4, "failed": 0}
    table = rows(tmp_path / "m/results.csv")
    assert [row["map"] for row in table] == ["a.png", "b.png", "below/a.png", "c.png"]
    assert [(row["height"], row["width"]) for row in table] == [("60", "80"), ("100", "50"), ("33", "41"), ("64", "96")]
    for row in table:
        values = pixels(tmp_path / "m" / row["map"])
        assert values.shape == (int(row["height"]), int(row["width"]))
        assert values.max() == 255
        assert pixels(tmp_path / "m" / row["overlay"]).shape == (int(row["height"]), int(row["width"]), 3)
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert manifest["command"] == "predict"
    assert len(manifest["settings"]["checkpoint_sha256"]) == 64
    assert not (tmp_path / "m/failures.csv").exists()


def test_formats_and_sizes_agree(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    for kind in ("png", "png16", "npy"):
        words = ("--checkpoint", trained, "--format", kind, "--size", "180x320", "--out", kind)
        assert run("predict", photos / "a.jpg", *words).code == 0
    exact = np.load(tmp_path / "npy/a.npy")
    assert exact.shape == (180, 320)
    assert exact.dtype == np.float32
    assert exact.max() == 1
    eight = pixels(tmp_path / "png/a.png") / 255
    sixteen = pixels(tmp_path / "png16/a.png") / 65535
    assert np.abs(eight - exact).max() <= 0.5 / 255 + 1e-6
    assert np.abs(sixteen - exact).max() <= 0.5 / 65535 + 1e-6


def test_batch_size_workers_and_shards_change_nothing(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    assert run("predict", photos, "--checkpoint", trained, "--out", "one", "--batch-size", 1, "--workers", 1).code == 0
    assert run("predict", photos, "--checkpoint", trained, "--out", "all", "--batch-size", 4, "--workers", 3).code == 0
    for shard in ("2/3", "1/3", "3/3"):
        assert run("predict", photos, "--checkpoint", trained, "--out", "shards", "--shard", shard).code == 0
    results = [(tmp_path / name / "results.csv").read_text() for name in ("one", "all", "shards")]
    assert results[0] == results[1] == results[2]
    for row in rows(tmp_path / "one/results.csv"):
        maps = [pixels(tmp_path / name / row["map"]).astype(int) for name in ("one", "all", "shards")]
        assert np.abs(maps[0] - maps[1]).max() <= 1
        assert np.abs(maps[0] - maps[2]).max() <= 1


def test_bad_files_cost_a_row_each_and_exit_3(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "text.png").write_text("hello")
    (photos / "short.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "empty.png").touch()
    ended = run("predict", photos, "gone.jpg", "--checkpoint", trained, "--out", "m")
    assert ended.code == 1  # a file named on the command line that is not there: nothing has begun
    ended = run("predict", photos, "--checkpoint", trained, "--out", "m", "--max-pixels", 4900)
    assert ended.code == 3
    failures = {Path(row["input"]).name: row["message"] for row in rows(tmp_path / "m/failures.csv")}
    assert set(failures) == {"text.png", "short.jpg", "empty.png", "b.png", "c.png"}
    assert "--max-pixels 4,900" in failures["b.png"]
    maps = {Path(row["image"]).relative_to(photos).as_posix(): row["map"] for row in rows(tmp_path / "m/results.csv")}
    assert list(maps) == ["a.jpg", "b.png", "below/a.png", "c.png", "empty.png", "short.jpg", "text.png"]
    assert [name for name in maps.values() if name] == ["a.png", "below/a.png"]  # a failed input keeps an empty row


def test_the_same_command_goes_on_and_does_only_what_is_missing(
    run: Run, trained: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("predict", photos, "--checkpoint", trained, "--out", "m", "--json")
    assert run(*words).code == 0
    (tmp_path / "m/b.png").write_bytes(b"cut short")
    (tmp_path / "m/c.png").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "m").glob("*.png")}
    counts = json.loads(run(*words).out)["counts"]
    assert counts == {"inputs": 4, "skipped": 2, "done": 2, "failed": 0}
    assert (tmp_path / "m/a.png").stat().st_mtime_ns == times["a.png"]
    assert pixels(tmp_path / "m/b.png").shape == (100, 50)
    assert json.loads(run(*words, "--overwrite").out)["counts"]["done"] == 4
    ended = run(*words, "--blur-px", 3)
    assert ended.code == 1
    assert "blur_px was 0.0, is 3.0" in ended.err


def test_a_list_on_stdin_and_in_a_file(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{photos}/b.png\n# a remark\n\n{photos}/a.jpg\n")
    assert run("predict", "@list.txt", "--checkpoint", trained, "--out", "m").code == 0
    assert [Path(row["image"]).name for row in rows(tmp_path / "m/results.csv")] == ["b.png", "a.jpg"]
    command = [sys.executable, "-m", "cvkit", "predict", "-", "--checkpoint", str(trained), "--out", "n", "--json"]
    ended = subprocess.run(command, input=f"{photos}/c.png\n", capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["counts"]["done"] == 1
    assert "\x1b" not in ended.stderr  # a log gets no control characters


def test_two_processes_share_the_inputs(trained: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "d.png").write_text("no image")
    command = [sys.executable, "-m", "cvkit", "predict", str(photos), "--checkpoint", str(trained), "--out", "m"]
    command += ["--devices", "2", "--device", "cpu", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3, ended.stderr
    assert json.loads(ended.stdout)["counts"] == {"inputs": 5, "skipped": 0, "done": 4, "failed": 1}
    assert [row["map"] for row in rows(tmp_path / "m/results.csv")] == ["a.png", "b.png", "below/a.png", "c.png", ""]


def test_checkpoints_that_are_none(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for place, said in (
        (trained / "last.pt", "kind 'training-state'"),
        (tmp_path / "text.pt", "not a cvkit checkpoint"),
        (tmp_path / "empty", "no best.pt"),
        (tmp_path / "gone", "no such run folder"),
    ):
        ended = run("predict", photos, "--checkpoint", place, "--out", "m")
        assert ended.code == 1
        assert said in ended.err
        assert "Traceback" not in ended.err


def test_a_folder_that_holds_something_else_is_refused(run: Run, trained: Path, photos: Path) -> None:
    ended = run("predict", photos, "--checkpoint", trained, "--out", photos)
    assert ended.code == 1
    assert "already holds other files" in ended.err
    assert run("predict", photos, "--checkpoint", trained, "--colormap", "infernal", "--overlay").code == 2


def test_a_full_disk_is_one_clear_line(
    run: Run, trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        del self, data
        raise OSError(28, "No space left on device")

    assert run("predict", photos / "a.jpg", "--checkpoint", trained, "--out", "m").code == 0
    monkeypatch.setattr(Path, "write_bytes", full)
    ended = run("predict", photos, "--checkpoint", trained, "--out", "m")
    assert ended.code == 1
    assert "no space left" in ended.err
    assert not list((tmp_path / "m").glob(".*.tmp"))
    shutil.rmtree(tmp_path / "m")
