"""Test that a training that cannot start says why, downloads nothing, and leaves no folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from cvkit.models import fetch

from .conftest import TINY, Run

BACKBONE = TINY[:2]
REST = TINY[4:]
OUT = "a/b/run"


def unreadable(data: Path) -> None:
    for path in (data / "images/val").iterdir():
        path.write_text("<html>not found</html>")


def without_fixations(data: Path) -> None:
    shutil.rmtree(data / "fixations")


def misspelt(data: Path) -> None:
    for kind in ("images", "maps", "fixations"):
        (data / kind / "val").rename(data / kind / "vall")


def one_truncated(data: Path) -> None:
    path = next((data / "maps/train").iterdir())
    path.write_bytes(path.read_bytes()[:100])


def unchanged(data: Path) -> None:
    del data


@pytest.fixture
def data(fixation_data: Path, tmp_path: Path) -> Path:
    """A copy of the displays that a test may damage."""
    return Path(shutil.copytree(fixation_data, tmp_path / "data"))


def paths_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("damage", "words", "said"),
    [
        (unchanged, ("--data", "nowhere"), "nowhere: no such folder"),
        (unreadable, (), "no usable validation image is left"),
        (misspelt, (), "did you mean 'val'?"),
        (without_fixations, ("--best-metric", "nss"), "--best-metric nss needs fixations"),
        (one_truncated, ("--strict",), "--strict is set"),
        (unchanged, ("--weights", "wrong.pth"), "wrong.pth does not fit"),
        (unchanged, ("--device", "cuda:99"), "--device cuda"),
        (
            unchanged,
            ("--train-split", "fold1"),
            "there is no split 'fold1'; there are: train (6 images), val (3 images)",
        ),
        (unchanged, ("--val-split", "train"), "--val-split train is the split to train on"),
    ],
)
def test_a_training_that_cannot_start_leaves_no_folder(
    run: Run, data: Path, tmp_path: Path, damage: Callable[[Path], None], words: tuple[str, ...], said: str
) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    damage(data)
    before = paths_in(tmp_path)
    base = [*(() if "--data" in words else ("--data", data)), *(() if "--weights" in words else ("--weights", "none"))]
    out = () if damage is without_fixations else ("--out", OUT)
    ended = run("train-saliency", *base, *BACKBONE, *REST, "--epochs", 1, *words, *out)
    assert ended.code in (1, 2) and said in ended.err, ended.err
    assert paths_in(tmp_path) == before


def test_nothing_is_downloaded_for_data_that_cannot_be_used(
    run: Run, data: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(fetch, "urlopen", refuse)
    unreadable(data)
    before = paths_in(tmp_path)
    for words, said in ((data, "no usable validation image is left"), ("nowhere", "no such folder")):
        ended = run("train-saliency", "--data", words, *REST, "--out", OUT)
        assert ended.code == 1 and said in ended.err, ended.err
    assert paths_in(tmp_path) == before and not cache.exists()


def test_weights_that_cannot_be_downloaded_leave_no_folder(
    run: Run, data: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(fetch, "urlopen", fail)
    ended = run("train-saliency", "--data", data, *REST, "--out", OUT)
    assert ended.code == 1 and "cvkit models download" in ended.err, ended.err
    assert not (tmp_path / "a").exists() and not cache.exists()


def test_an_embedding_that_cannot_start_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("L", (16, 16), 9).save(tmp_path / "one/a.png")
    before = paths_in(tmp_path)
    for out in (("--out", OUT), ()):
        ended = run("cae-embed", "--data", "one", *out)
        assert ended.code == 1 and "images" in ended.err, ended.err
        assert paths_in(tmp_path) == before
