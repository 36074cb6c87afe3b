"""``cvkit evaluate`` as the shell runs it."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Run


def test_perfect_maps_score_perfectly(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    maps = fixation_data / "maps/val"
    words = ("evaluate", "--data", fixation_data, "--maps", maps, "--with-baselines", "--out", "s")
    ended = run(*words, "--json")
    assert ended.code == 0, ended.err
    scores = json.loads(ended.out)["scores"]
    assert set(scores) == {"maps", "centre prior", "mean map", "inter-observer"}
    assert scores["maps"]["cc"]["mean"] == pytest.approx(1)
    assert scores["maps"]["kl"]["mean"] == pytest.approx(0, abs=1e-6)
    assert scores["maps"]["emd"]["mean"] == pytest.approx(0, abs=1e-6)
    assert scores["maps"]["nss"]["mean"] > scores["centre prior"]["nss"]["mean"] + 2
    assert scores["centre prior"]["ig"]["mean"] == pytest.approx(0)
    with (tmp_path / "s/scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image", "auc_judd", "auc_borji", "auc_shuffled", "nss", "cc", "sim", "kl", "ig", "emd"]
    assert len(rows) == 3
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    mean = summary["scores"]["maps"]["nss"]
    assert mean["mean"] == pytest.approx(np.mean([float(row["nss"]) for row in rows]))
    assert mean["low"] <= mean["mean"] <= mean["high"]
    assert (tmp_path / "s/scores-inter-observer.csv").is_file()
    assert run(*words).code == 1  # scores are there already
    assert run(*words, "--overwrite").code == 0


def test_a_checkpoint_and_its_own_maps_score_alike(run: Run, trained: Path, fixation_data: Path) -> None:
    images = fixation_data / "images/val"
    assert run("predict", images, "--checkpoint", trained, "--format", "npy", "--out", "m").code == 0
    scores = []
    for source in (("--maps", "m"), ("--checkpoint", trained)):
        ended = run("evaluate", "--data", fixation_data, *source, "--protocol", "tuebingen", "--json")
        assert ended.code == 0, ended.err
        scores.append(next(iter(json.loads(ended.out)["scores"].values())))
    assert list(scores[0]) == ["auc", "sauc", "nss", "cc", "sim", "kl", "ig"]
    for name in scores[0]:
        assert scores[0][name]["mean"] == pytest.approx(scores[1][name]["mean"], abs=1e-5)


def test_maps_that_are_missing_or_of_another_shape_are_listed(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    shutil.copytree(fixation_data / "maps/val", maps)
    first, second, _ = sorted(maps.iterdir())
    first.unlink()
    Image.new("L", (10, 50), 3).save(second)
    ended = run("evaluate", "--data", fixation_data, "--maps", maps, "--out", "s")
    assert ended.code == 3
    with (tmp_path / "s/failures.csv").open() as stream:
        messages = [row["message"] for row in csv.DictReader(stream)]
    assert "no map of its stem" in messages[0]
    assert "10x50" in messages[1]


def test_only_maps_leave_the_fixation_scores_empty(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(fixation_data, data)
    shutil.rmtree(data / "fixations")
    ended = run("evaluate", "--data", data, "--maps", data / "maps/val", "--out", "s", "--no-emd")
    assert ended.code == 0, ended.err
    with (tmp_path / "s/scores.csv").open() as stream:
        row = next(csv.DictReader(stream))
    assert row["nss"] == row["auc_judd"] == row["ig"] == ""
    assert float(row["cc"]) == pytest.approx(1)
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    assert summary["scores"]["maps"]["nss"] == {"mean": None, "low": None, "high": None, "n": 0}


def test_a_map_file_and_the_mean_as_baseline(run: Run, fixation_data: Path) -> None:
    one = next((fixation_data / "maps/train").iterdir())
    gains = []
    for baseline in ("mean", one, "centre"):
        words = ("--data", fixation_data, "--maps", fixation_data / "maps/val", "--baseline", baseline)
        ended = run("evaluate", *words, "--json")
        assert ended.code == 0, ended.err
        gains.append(json.loads(ended.out)["scores"]["maps"]["ig"]["mean"])
    assert len(set(gains)) == 3
    assert gains[1] > gains[0]  # a wrong display's map is a worse baseline than the mean


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either --maps DIR or --model REF"),
        (("--maps", "nowhere"), "no such folder"),
        (("--maps", "."), "no map in . has the stem"),
        (("--maps", ".", "--protocol", "mitt"), "Did you mean 'mit'?"),
        (("--maps", "MAPS", "--baseline", "center"), "Did you mean 'centre'?"),
        (("--maps", "MAPS", "--split", "tset"), "no split 'tset'"),
    ],
)
def test_bad_words_get_one_clear_line(run: Run, fixation_data: Path, words: tuple[str, ...], said: str) -> None:
    words = tuple(str(fixation_data / "maps/val") if word == "MAPS" else word for word in words)
    ended = run("evaluate", "--data", fixation_data, *words)
    assert ended.code in (1, 2)
    assert said in ended.err
    assert "Traceback" not in ended.err


def renamed(data: Path, folder: Path, old: str, new: str) -> Path:
    """Return a copy of a data set in which a split has another name."""
    shutil.copytree(data, folder)
    for kind in ("images", "maps", "fixations"):
        (folder / kind / old).rename(folder / kind / new)
    return folder


def test_a_split_of_any_name_is_listed_and_scored(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    data = renamed(fixation_data, tmp_path / "data", "val", "holdout")
    words = ("evaluate", "--data", data, "--maps", data / "maps/holdout", "--no-emd", "--json")
    named, chosen = run(*words, "--split", "Holdout"), run(*words)
    for ended in (named, chosen):
        assert ended.code == 0, ended.err
        result = json.loads(ended.out)
        assert (result["split"], result["images"]) == ("holdout", 3)
        assert "splits: train (6 images), holdout (3 images); scored: holdout" in ended.err
    assert "warning" not in named.err
    assert "warning: no val or test split: the split holdout (3 images) is scored" in chosen.err
    wrong = run(*words, "--split", "holdot")
    assert wrong.code == 1 and "no split 'holdot'" in wrong.err and "Did you mean 'holdout'?" in wrong.err


def test_scores_of_training_images_get_a_warning(run: Run, fixation_data: Path) -> None:
    for split in ("train", "all"):
        maps = fixation_data / ("maps/train" if split == "train" else "maps")
        ended = run("evaluate", "--data", fixation_data, "--maps", maps, "--no-emd", "--split", split)
        assert ended.code == 0, ended.err
        assert "warning: the scores include 6 training images" in ended.err


@pytest.mark.parametrize("protocol", ["mit", "tuebingen"])
def test_scores_are_the_same_whatever_the_number_of_workers(
    run: Run, fixation_data: Path, tmp_path: Path, protocol: str
) -> None:
    tables = []
    for workers in (0, 1, 5):
        out = tmp_path / f"s{workers}"
        words = ("--protocol", protocol, "--split", "all", "--with-baselines", "--no-emd", "--workers", workers)
        maps = ("--maps", fixation_data / "maps")
        ended = run("evaluate", "--data", fixation_data, *maps, *words, "--out", out)
        assert ended.code == 0, ended.err
        tables.append({path.name: path.read_bytes() for path in sorted(out.glob("scores*.csv"))})
    assert len(tables[0]) == 4
    assert tables[0] == tables[1] == tables[2]
