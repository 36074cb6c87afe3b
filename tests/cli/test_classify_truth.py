"""``cvkit classify --truth``: how often the network is right, counted by hand."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from .conftest import Run
from .test_classify import LABELS, MODEL, Classify, counts, order_of, rows, save_network, save_photos

NAMES = ("a.jpg", "below/b.png", "c.png", "d.png", "e.png")
# The rank that the true class of each image shall have: 2 of 5 are among the first 1, 4 of 5 among the first 5.
RANKS = dict(zip(NAMES, (1, 2, 1, 6, 5), strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a network of eight classes, and their names."""
    return save_network(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five images."""
    return save_photos(tmp_path / "photos")


@pytest.fixture
def classify(run: Run, photos: Path, trained: tuple[Path, Path]) -> Classify:
    """Run classify on the photographs with the small network."""
    weights, labels = trained
    return lambda *words: run("classify", photos, "--model", MODEL, "--weights", weights, "--labels", labels, *words)


@pytest.fixture
def order(classify: Classify, photos: Path, tmp_path: Path) -> dict[str, list[int]]:
    """The classes of each image by their rank."""
    assert classify("--out", "order", "--top", len(LABELS)).code == 0
    found = order_of(tmp_path / "order/results.csv")
    return {name: found[str(photos / name)] for name in NAMES}


def true_classes(order: Mapping[str, list[int]]) -> dict[str, int]:
    return {name: order[name][rank - 1] for name, rank in RANKS.items()}


def write_truth(classes: Mapping[str, object], column: str = "class_index", file: str = "truth.csv") -> str:
    with Path(file).open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", column), *classes.items()])
    return file


def test_the_accuracy_by_a_file(classify: Classify, order: dict[str, list[int]], tmp_path: Path) -> None:
    truth = write_truth(true_classes(order))
    ended = classify("--out", "o", "--truth", truth)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "o/accuracy.json").read_text())
    assert list(found) == ["truth", "unjudged", "balanced", "top1", "top5"]
    assert (found["truth"], found["unjudged"]) == (truth, 0)
    assert (found["top1"]["value"], found["top5"]["value"], found["top1"]["n"]) == (0.4, 0.8, 5)
    # Wilson's interval of 2 of 5: (0.4 + 1.9208/5 +- 1.96 sqrt(0.4 * 0.6 / 5 + 0.9604/25)) / (1 + 3.8415/5)
    assert (found["top1"]["low"], found["top1"]["high"]) == pytest.approx((0.1176, 0.7693), abs=1e-4)
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["top-1", "2", "5", "0.4000", "0.1176", "0.7693"] in lines
    assert ["top-5", "4", "5", "0.8000", "0.3755", "0.9638"] in lines
    assert rows(tmp_path / "o/results.csv")[0].keys() == rows(tmp_path / "order/results.csv")[0].keys()
    assert not (tmp_path / "o/per_class.csv").exists()


def test_each_class(classify: Classify, order: dict[str, list[int]], tmp_path: Path) -> None:
    true = true_classes(order)
    document = json.loads(classify("--out", "o", "--truth", write_truth(true), "--per-class", "--json").out)
    table = rows(tmp_path / "o/per_class.csv")
    assert list(table[0]) == [
        *("class_index", "class_id", "label", "images", "top1", "top1_low", "top1_high", "top5", "often")
    ]
    assert [int(row["class_index"]) for row in table] == sorted(set(true.values()))
    for row in table:
        own = [name for name, index in true.items() if index == int(row["class_index"])]
        assert row["label"] == LABELS[int(row["class_index"])]
        assert int(row["images"]) == len(own)
        assert float(row["top1"]) == sum(RANKS[name] == 1 for name in own) / len(own)
        assert float(row["top5"]) == sum(RANKS[name] <= 5 for name in own) / len(own)
        wrong = {LABELS[order[name][0]] for name in own if RANKS[name] > 1}
        assert row["often"] in (wrong or {""})
    balanced = sum(float(row["top1"]) for row in table) / len(table)
    assert json.loads((tmp_path / "o/accuracy.json").read_text())["balanced"] == pytest.approx(balanced)
    assert document["accuracy"]["top1"]["value"] == 0.4
    assert document["accuracy"]["balanced"] == pytest.approx(balanced)
    assert [one["class_index"] for one in document["accuracy"]["classes"]] == sorted(set(true.values()))


def test_labels_and_folders_say_the_same(
    run: Run, trained: tuple[Path, Path], classify: Classify, order: dict[str, list[int]], photos: Path, tmp_path: Path
) -> None:
    named = {name: LABELS[index].upper() for name, index in true_classes(order).items()}
    assert classify("--out", "labels", "--truth", write_truth(named, "label")).code == 0
    for place, (name, label) in enumerate(named.items()):
        target = tmp_path / "sorted" / label.lower() / f"{place}{Path(name).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (photos / name).rename(target)
    weights, labels = trained
    words = ("--model", MODEL, "--weights", weights, "--labels", labels, "--truth", "folders", "--out", "folders")
    assert run("classify", tmp_path / "sorted", *words).code == 0
    first, second = (json.loads((tmp_path / name / "accuracy.json").read_text()) for name in ("labels", "folders"))
    assert second.pop("truth") == "folders"
    assert first.pop("truth") == "truth.csv"
    assert first == second


def test_images_that_the_truth_leaves_out_are_counted(
    classify: Classify, order: dict[str, list[int]], photos: Path, tmp_path: Path
) -> None:
    true = true_classes(order)
    (photos / "bad.png").write_text("no image")
    truth = write_truth({name: true[name] for name in ("a.jpg", "below/b.png", "d.png")} | {"bad.png": 1})
    ended = classify("--out", "o", "--truth", truth)
    assert ended.code == 3
    assert "warning: --truth has no class for 2 images, such as " in ended.err
    found = json.loads((tmp_path / "o/accuracy.json").read_text())
    assert found["unjudged"] == 2
    assert (found["top1"]["value"], found["top1"]["n"]) == (pytest.approx(1 / 3), 3)  # what failed is not judged


def test_shards_and_later_runs_count_all_images(
    classify: Classify, order: dict[str, list[int]], tmp_path: Path
) -> None:
    words = ("--out", "o", "--truth", write_truth(true_classes(order)), "--json")
    half = json.loads(classify(*words, "--shard", "1/2").out)
    assert half["accuracy"]["top1"]["n"] == 3
    whole = json.loads(classify(*words, "--shard", "2/2").out)
    assert whole["accuracy"]["top1"]["n"] == 5
    assert json.loads((tmp_path / "o/accuracy.json").read_text())["top1"]["value"] == 0.4
    again = classify(*words)
    assert counts(again)["skipped"] == 5
    assert json.loads(again.out)["accuracy"] == whole["accuracy"]


def test_another_truth_under_the_same_name_is_refused(classify: Classify, order: dict[str, list[int]]) -> None:
    true = true_classes(order)
    assert classify("--out", "o", "--truth", write_truth(true)).code == 0
    ended = classify("--out", "o", "--truth", write_truth(true | {"a.jpg": 7 - true["a.jpg"]}))
    assert ended.code == 1
    assert "truth was " in ended.err


@pytest.mark.parametrize(
    ("classes", "column", "message"),
    [
        ({"a.jpg": "zebra"}, "label", "truth.csv: line 2: the model has no class 'zebra'."),
        ({"a.jpg": 8}, "class_index", "truth.csv: line 2: the class index 8 is out of range (0 to 7)."),
        ({"a.jpg": "n02123045"}, "class_id", "the class ids of the model are unknown"),
        ({"a.jpg": 1}, "class", "needs the columns image and one of"),
    ],
)
def test_a_truth_that_cannot_be_meant_is_one_line_before_any_work(
    classify: Classify, tmp_path: Path, classes: dict[str, object], column: str, message: str
) -> None:
    ended = classify("--out", "o", "--truth", write_truth(classes, column))
    assert ended.code == 1
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_folders_that_are_no_classes_and_files_that_are_not_there(classify: Classify, tmp_path: Path) -> None:
    for truth, message in (
        ("folders", "the folder 'photos' is not named after one class"),
        ("gone.csv", "gone.csv: No such file"),
    ):
        ended = classify("--out", "o", "--truth", truth)
        assert ended.code == 1
        assert message in ended.err
        assert ended.err.count("\n") == 1
        assert not (tmp_path / "o").exists()


def test_a_truth_that_knows_no_image_is_told_before_any_work(run: Run, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,class_index\nnothere.jpg,1\n")
    ended = run("classify", photos, "--model", "squeezenet1_1", "--weights", "none", "--truth", table, "--out", "o")
    assert ended.code == 1
    assert "names none of the images, such as" in ended.err
    assert not (tmp_path / "o").exists()
