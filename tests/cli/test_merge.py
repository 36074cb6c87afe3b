"""Test ``cvkit merge`` on folders of real commands."""

import csv
import json
from pathlib import Path

import pytest

from .conftest import Run
from .test_classify import MODEL, save_network, save_photos


@pytest.fixture(scope="module")
def trained_classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a network of eight classes, and their names."""
    return save_network(tmp_path_factory.mktemp("weights"))


def content(folder: str) -> dict[str, bytes]:
    """Return the files of a folder without its records and its manifest."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and ".cvkit" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != "manifest.json"}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """True classes of five images, some of which no image is predicted as."""
    path = tmp_path / "truth.csv"
    with path.open("w", newline="") as stream:
        names = ("a.jpg", "below/b.png", "c.png", "d.png")
        csv.writer(stream).writerows([("image", "class_index"), *zip(names, (1, 2, 3, 1), strict=True)])
    return path


# One image per batch: batches of other sizes may differ by rounding.
COMMON = ("--device", "cpu", "--batch-size", 1, "--workers", 1)


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_merged_classes_and_their_accuracy_equal_those_of_one_process(
    run: Run, trained_classifier: tuple[Path, Path], truth: Path, tmp_path: Path, kind: str
) -> None:
    photos = save_photos(tmp_path / "photos")
    (photos / "bad.png").write_text("no image")
    weights, labels = trained_classifier
    command = ("classify", photos, "--model", MODEL, "--weights", weights, "--labels", labels, *COMMON, "--top", 2)
    command = (*command, "--truth", truth, "--per-class", "--format", kind)
    assert run(*command, "--out", "one").code == 3
    for part in ("2/2", "1/2"):
        run(*command, "--out", f"part{part[0]}", "--shard", part)
    ended = run("merge", "part2", "part1", "--out", "all", "--json")
    assert ended.code == 3, ended.err
    document = json.loads(ended.out)
    assert document == {"folder": "all", "command": "classify", "inputs": 6, "done": 5, "failed": 1, "missing": []}
    assert {"results.csv", "failures.csv", f"results.{kind}", "accuracy.json", "per_class.csv"} == content("all").keys()
    assert content("all") == content("one")
    skipped = json.loads(run(*command, "--out", "all", "--json").out)["batch"]["counts"]["skipped"]
    assert skipped == 5  # the command continues the merged folder as its own
