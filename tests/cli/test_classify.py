"""``cvkit classify`` as the shell runs it."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.cli import classify as command
from cvkit.models import fetch
from cvkit.tasks.classification import specification

from .conftest import Outcome, Run

MODEL = "squeezenet1_1"
COLUMNS = ["image", "rank", "class_index", "class_id", "label", "probability"]
LABELS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")
Classify = Callable[..., Outcome]


def save_network(folder: Path) -> tuple[Path, Path]:
    """Write the weights of a network of eight classes, and their names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tensors = specification.make(MODEL, len(LABELS)).state_dict()
        tensors["classifier.1.weight"] = torch.randn_like(tensors["classifier.1.weight"])
        tensors["classifier.1.bias"] = torch.linspace(2, 2.5, len(LABELS))
    torch.save(tensors, folder / "eight.pth")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return folder / "eight.pth", folder / "labels.txt"


def save_photos(folder: Path) -> Path:
    """Write five images: landscape, portrait in a folder below, grey, with transparency, and of 16 bits."""
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((120, 80)).save(folder / "a.jpg")
    Image.fromarray(colours[:, :5] // 2).resize((50, 80)).save(folder / "below/b.png")
    Image.fromarray(colours[..., 0]).save(folder / "c.png")
    Image.fromarray(np.dstack([colours, colours[..., :1]])).save(folder / "d.png")
    Image.fromarray(colours[..., 1].astype(np.uint16) * 257).save(folder / "e.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a network of eight classes, and their names."""
    return save_network(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five images of all kinds."""
    return save_photos(tmp_path / "photos")


@pytest.fixture
def classify(run: Run, photos: Path, trained: tuple[Path, Path]) -> Classify:
    """Run classify on the photographs with the small network."""
    weights, labels = trained
    return lambda *words: run("classify", photos, "--model", MODEL, "--weights", weights, "--labels", labels, *words)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def order_of(path: Path) -> dict[str, list[int]]:
    """The classes of each image by their rank, from a results.csv."""
    order: dict[str, list[int]] = {}
    for row in rows(path):
        order.setdefault(row["image"], []).append(int(row["class_index"]))
    return order


def counts(ended: Outcome) -> dict[str, int]:
    return json.loads(ended.out)["batch"]["counts"]


def test_every_image_gets_its_most_likely_classes(classify: Classify, photos: Path, tmp_path: Path) -> None:
    ended = classify("--out", "o", "--top", len(LABELS))
    assert ended.code == 0, ended.err
    assert (tmp_path / "o/results.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    table = rows(tmp_path / "o/results.csv")
    names = ["a.jpg", "below/b.png", "c.png", "d.png", "e.png"]
    assert [row["image"] for row in table] == [str(photos / name) for name in names for _ in LABELS]
    for start in range(0, len(table), len(LABELS)):
        part = table[start : start + len(LABELS)]
        assert [row["rank"] for row in part] == [str(rank) for rank in range(1, 9)]
        shares = [float(row["probability"]) for row in part]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert sorted(int(row["class_index"]) for row in part) == list(range(8))
        assert all(row["label"] == LABELS[int(row["class_index"])] and row["class_id"] == "" for row in part)
    assert len({tuple(order) for order in order_of(tmp_path / "o/results.csv").values()}) > 1
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert manifest["command"] == "classify"
    assert manifest["counts"] == {"inputs": 5, "done": 5, "failed": 0}
    assert manifest["settings"]["model"] == MODEL
    assert manifest["settings"]["precision"] == "fp32"
    assert manifest["classes"] == 8


def test_the_classes_of_imagenet_have_ids_and_labels(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("classify", photos / "a.jpg", "--model", MODEL, "--weights", "none").code == 0
    table = rows(tmp_path / "classify" / MODEL / "results.csv")  # the folder when none is named
    assert len(table) == 3
    assert all(row["class_id"].startswith("n0") or row["class_id"].startswith("n1") for row in table)
    assert all(row["label"] for row in table)


def test_a_broken_image_costs_a_row(classify: Classify, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    ended = classify("--out", "o", "--batch-size", 3, "--workers", 4)
    assert ended.code == 3
    assert "1 failed (failures.csv)" in ended.out
    assert [Path(row["input"]).name for row in rows(tmp_path / "o/failures.csv")] == ["bad.jpg"]
    table = rows(tmp_path / "o/results.csv")
    assert [Path(row["image"]).name for row in table if row["rank"] in ("1", "")] == [
        *("a.jpg", "bad.jpg", "b.png", "c.png", "d.png", "e.png")
    ]
    assert list(table[3].values()) == [str(photos / "bad.jpg"), "", "", "", "", ""]


def test_batches_and_shards_change_nothing(classify: Classify, tmp_path: Path) -> None:
    assert classify("--out", "one", "--batch-size", 1, "--workers", 1).code == 0
    assert classify("--out", "all", "--batch-size", 5, "--workers", 3).code == 0
    for shard in ("2/2", "1/2"):
        assert classify("--out", "shards", "--batch-size", 2, "--shard", shard).code == 0
    tables = [rows(tmp_path / name / "results.csv") for name in ("one", "all", "shards")]
    for first, *others in zip(*tables, strict=True):
        for other in others:
            assert [first[name] for name in COLUMNS[:5]] == [other[name] for name in COLUMNS[:5]]
            assert float(first["probability"]) == pytest.approx(float(other["probability"]), rel=1e-4)


def test_the_same_command_goes_on(classify: Classify, photos: Path, tmp_path: Path) -> None:
    words = ("--out", "o", "--json")
    first = classify(*words)
    assert counts(first) == {"inputs": 5, "skipped": 0, "done": 5, "failed": 0}
    before = (tmp_path / "o/results.csv").read_text()
    again = classify(*words)
    assert counts(again) == {"inputs": 5, "skipped": 5, "done": 0, "failed": 0}
    assert (tmp_path / "o/results.csv").read_text() == before
    assert json.loads(again.out)["rows"] == json.loads(first.out)["rows"]
    shutil.copy(photos / "a.jpg", photos / "b.jpg")
    assert counts(classify(*words)) == {"inputs": 6, "skipped": 5, "done": 1, "failed": 0}
    assert counts(classify(*words, "--overwrite"))["done"] == 6


def test_other_settings_are_refused_with_the_difference(
    run: Run, classify: Classify, photos: Path, tmp_path: Path
) -> None:
    assert classify("--out", "o").code == 0
    before = (tmp_path / "o/results.csv").read_text()
    (tmp_path / "truth.csv").write_text("image,class_index\na.jpg,1\n")
    (tmp_path / "other.txt").write_text("".join(f"{label}\n" for label in reversed(LABELS)))
    for words, said in (
        (("--top", 2), "(top was 3, is 2)"),
        (("--precision", "bf16"), "(precision was fp32, is bf16)"),
        (("--truth", "truth.csv"), "(truth was None, is "),
        (("--labels", "other.txt"), "(labels_sha256 was "),
    ):
        ended = classify("--out", "o", *words)
        assert ended.code == 1
        assert f"o holds results of other settings {said}" in ended.err
        assert ended.err.splitlines()[-1].startswith("error: ")
    ended = run("classify", photos, "--model", MODEL, "--weights", "none", "--out", "o")
    assert ended.code == 1
    assert "is random" in ended.err
    assert (tmp_path / "o/results.csv").read_text() == before


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_other_formats_hold_the_same_rows(classify: Classify, photos: Path, tmp_path: Path, kind: str) -> None:
    (photos / "bad.png").write_text("hello")
    assert classify("--out", "o", "--format", kind).code == 3
    if kind == "json":
        found = json.loads((tmp_path / "o/results.json").read_text())
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(tmp_path / "o/results.parquet")
        assert [str(field.type) for field in table.schema] == ["string", "int32", "int32", "string", "string", "double"]
        found = table.to_pylist()
    assert [list(row) for row in found] == [COLUMNS] * 15
    plain = [row for row in rows(tmp_path / "o/results.csv") if row["rank"]]
    assert [{name: str(value) for name, value in row.items()} for row in found] == plain


def test_parquet_without_pyarrow_is_refused_before_any_work(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    ended = classify("--out", "o", "--format", "parquet")
    assert ended.code == 2
    assert "pip install 'cvkit[parquet]'" in ended.err
    assert not (tmp_path / "o").exists()


def test_json_is_one_document(classify: Classify, tmp_path: Path) -> None:
    document = json.loads(classify("--out", "o", "--json").out)
    assert sorted(document) == ["accuracy", "batch", "rows", "unjudged"]
    assert document["accuracy"] is None
    written = rows(tmp_path / "o/results.csv")
    assert [{name: str(value) for name, value in row.items()} for row in document["rows"]] == written


def test_the_table_shows_every_image_with_bars(classify: Classify, photos: Path, tmp_path: Path) -> None:
    ended = classify("--out", "o")
    lines = ended.out.splitlines()
    table = rows(tmp_path / "o/results.csv")
    for row in table:
        share = float(row["probability"])
        line = next(line for line in lines if row["label"] in line.split() and f"{share:.4f}" in line)
        assert ("█" in line) == (share > 1 / 12)
    assert sum(str(photos) in line for line in lines) == 5  # at the first class of each
    assert lines[-1] == "5 images classified, results in o"
    assert lines[1].split() == ["image", "class", "probability"]
    quiet = classify("--out", "o", "--quiet")
    assert quiet.err == ""


def test_of_many_images_the_first_are_shown(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.MAX_SHOWN == 100
    monkeypatch.setattr(command, "MAX_SHOWN", 3)
    ended = classify("--out", "o")
    assert "... the first 3 images; o/results.csv lists all of them." in ended.out
    assert "c.png" in ended.out
    assert "d.png" not in ended.out
    assert len(rows(tmp_path / "o/results.csv")) == 15
    monkeypatch.setattr(command, "MAX_SHOWN", 5)
    assert "..." not in classify("--out", "o").out


def test_of_a_few_classes_all_are_shown(run: Run, photos: Path, tmp_path: Path) -> None:
    torch.save(specification.make(MODEL, 2).state_dict(), "two.pth")
    words = ("classify", photos / "a.jpg", "--model", MODEL, "--weights", "two.pth", "--out", "o")
    ended = run(*words)
    assert ended.code == 0, ended.err
    table = rows(tmp_path / "o/results.csv")
    assert [(row["rank"], row["class_id"], row["label"]) for row in table] == [("1", "", ""), ("2", "", "")]
    assert "two.pth is none of the published files of squeezenet1_1" in ended.err
    assert run(*words, "--top", 4).err.endswith("error: --top 4: squeezenet1_1 has 2 classes.\n")


def test_logits_that_are_no_numbers_fail_their_image(run: Run, photos: Path, tmp_path: Path) -> None:
    tensors = specification.make(MODEL, 4).state_dict()
    tensors["classifier.1.weight"][2] = 3e38  # finite, but the scores of the class overflow
    torch.save(tensors, "large.pth")
    ended = run("classify", photos, "--model", MODEL, "--weights", "large.pth", "--out", "o")
    assert ended.code == 3
    failures = rows(tmp_path / "o/failures.csv")
    assert len(failures) == 5
    assert all("NaN" in row["message"] for row in failures)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--top", 9), 2, "--top 9: squeezenet1_1 has 8 classes."),
        (("--top", 0), 2, "--top must be 1 or more"),
        (("--per-class",), 2, "--per-class needs the true classes: add --truth"),
        (("--format", "parket"), 2, "Did you mean 'parquet'?"),
        (("--model", "squeezenet"), 2, "Did you mean 'squeezenet1_"),
        (("--model", "timm:squeezenet1_1"), 2, "timm has no 'squeezenet1_1', but torchvision has squeezenet1_1"),
        (("--model", "resnet18d"), 2, "torchvision has no 'resnet18d', but timm has resnet18d: write timm:resnet18d."),
        (("--model", "resnet18"), 1, "does not fit"),
        (("--weights", "IMAGENET1K_V1"), 1, "--model squeezenet1_1.IMAGENET1K_V1"),
        (("--weights", "none"), 2, "labels.txt names 8 classes, but the weights of squeezenet1_1 have 1000."),
        (("--labels", "gone.txt"), 1, "--labels gone.txt cannot be read"),
        (("--batch-size", "many"), 2, "--batch-size 'many'"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(
    classify: Classify, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    ended = classify("--out", "o", *words)
    assert ended.code == code, ended.err
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""
    assert not (tmp_path / "o").exists()


def test_more_classes_than_imagenet_has_are_refused(run: Run, photos: Path) -> None:
    ended = run("classify", photos, "--model", MODEL, "--weights", "none", "--top", 1001)
    assert ended.code == 2
    assert ended.err == "error: --top 1001: squeezenet1_1 has 1000 classes.\n"


def test_without_a_network_the_error_says_what_to_do(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_args: object, **_more: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(fetch, "urlopen", no_network)
    ended = run("classify", photos, "--model", MODEL)
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "cvkit models download squeezenet1_1" in last
    assert "--weights FILE" in last
