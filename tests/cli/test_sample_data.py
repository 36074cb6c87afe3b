"""``cvkit sample-data`` and ``cvkit demo`` as the shell runs them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvkit.cli import demo
from cvkit.commands import sample_data
from cvkit.tasks.saliency.data import popout
from cvkit.tasks.saliency.data.fixations import blur_counts

from .conftest import Run


def test_the_displays_are_in_the_documented_layout(run: Run, tmp_path: Path) -> None:
    words = ("sample-data", "fixations", "d", "--train", 3, "--val", 2, "--size", "96x128", "--seed", 5)
    ended = run(*words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {"folder": "d", "train": 3, "val": 2}
    folder = tmp_path / "d"
    for split, count in (("train", 3), ("val", 2)):
        for kind, suffix in (("images", ".png"), ("maps", ".png"), ("fixations", ".csv")):
            assert len(list((folder / kind / split).glob(f"*{suffix}"))) == count
    name = next((folder / "fixations/train").iterdir()).stem
    with (folder / f"fixations/train/{name}.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["x", "y", "duration_ms", "subject"]
    counts = np.zeros((96, 128))
    for row in rows:
        counts[int(row["y"]), int(row["x"])] += 1
    expected = blur_counts(counts, 0.03 * 128)
    with Image.open(folder / f"maps/train/{name}.png") as image:
        stored = np.asarray(image) / 255
    assert np.abs(stored - expected).max() <= 0.5 / 255 + 1e-6


def test_the_same_seed_makes_the_same_files(run: Run, tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("--train", 2, "--val", 1, "--size", "96x128", "--seed", seed)
        assert run("sample-data", "fixations", folder, *words).code == 0
    images = [sorted((tmp_path / folder / "images/train").iterdir()) for folder in ("a", "b", "c")]
    one, same, other = ([path.read_bytes() for path in paths] for paths in images)
    assert one == same != other


def test_a_folder_in_use_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine.txt").touch()
    ended = run("sample-data", "fixations", "d")
    assert ended.code == 1
    assert "d already holds files" in ended.err
    too_small = run("sample-data", "fixations", "e", "--size", "95x200")
    assert too_small.code == 2 and "--size 95x200 is too small" in too_small.err


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_an_interrupted_command_can_be_repeated(
    run: Run, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    words = ("sample-data", "fixations", "d", "--train", 4, "--val", 2, "--size", "96x128", *more)

    def interrupted(seed: int, index: int, size: tuple[int, int]) -> popout.Display:
        if index == 4:
            raise KeyboardInterrupt
        return popout.display(seed, index, size)

    with monkeypatch.context() as patch:
        patch.setattr(sample_data, "display", interrupted)
        assert run(*words).code == 130
    ended = run(*words)
    assert ended.code == 0, ended.err


def test_the_demo_goes_all_the_way(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TRAIN_DISPLAYS", 8)
    monkeypatch.setattr(demo, "VAL_DISPLAYS", 3)
    ended = run("demo", "--epochs", 1)
    assert ended.code == 0, ended.err
    for name in ("run/samples/best.png", "run/curves.png", "maps/results.csv", "scores/summary.json"):
        assert (tmp_path / "demo" / name).is_file(), name
    for said in ("centre prior", "inter-observer", "demo/run/samples/best.png"):
        assert said in ended.out
    assert "$ cvkit train-saliency --data demo/data" in ended.err
    again = run("demo", "--epochs", 1)
    assert again.code == 1
    assert "demo exists already" in again.err
