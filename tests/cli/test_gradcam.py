"""``cvkit gradcam`` as the shell runs it."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.tasks.attribution import METHODS
from cvkit.tasks.classification import loading, specification

from .conftest import Outcome, Run

MODEL = ("--model", "squeezenet1_1")
COLUMNS = ["image", "rank", "class_index", "class_id", "label", "probability"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of three classes, saved as a script would."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "three.pth"
    torch.save(specification.make("squeezenet1_1", 3).state_dict(), path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs: wide, tall in a folder below, and grey."""
    from skimage import data

    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    Image.fromarray(data.astronaut()[:300, :400]).save(folder / "a.png")
    Image.fromarray(data.chelsea()[:, :180]).save(folder / "below/b.jpg")
    Image.fromarray(data.camera()[:256, :256]).save(folder / "c.png")
    return folder


@pytest.fixture
def explain(run: Run, photos: Path, weights: Path) -> "Iterator[Run]":
    """Run gradcam on the photographs with the small network."""

    def go(*words: object) -> Outcome:
        return run("gradcam", photos, *MODEL, "--weights", weights, *words)

    return go  # type: ignore[return-value]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_every_kind_of_file_for_every_rank(explain: Run, tmp_path: Path) -> None:
    ended = explain("--rank", "1-2", "--save", "map,overlay,panel,npy", "--out", "o")
    assert ended.code == 0, ended.err
    table = rows(tmp_path / "o/results.csv")
    assert list(table[0]) == [*COLUMNS, "map", "overlay", "panel", "npy"]
    assert [(Path(row["image"]).name, row["rank"]) for row in table] == [
        (name, rank) for name in ("a.png", "b.jpg", "c.png") for rank in "12"
    ]
    sizes = {"a.png": (300, 400), "b.jpg": (300, 180), "c.png": (256, 256)}
    for row in table:
        size = sizes[Path(row["image"]).name]
        exact = np.load(tmp_path / "o" / row["npy"])
        assert exact.shape == size
        assert exact.dtype == np.float32
        assert exact.min() == 0
        assert exact.max() == 1
        stored = pixels(tmp_path / "o" / row["map"])
        assert stored.dtype in (np.uint16, np.int32)
        assert np.abs(stored / 65535 - exact).max() <= 0.51 / 65535
        assert pixels(tmp_path / "o" / row["overlay"]).shape == (*size, 3)
        assert pixels(tmp_path / "o" / row["panel"]).shape[1] > 3 * min(336, size[1])
    assert table[2]["map"] == "below/b.rank1.map.png"
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert manifest["settings"]["layer"] == "features.12"
    assert len(manifest["settings"]["weights_sha256"]) == 64


def test_outside_of_the_crop_the_map_is_zero_and_the_overlay_dark(explain: Run, photos: Path, tmp_path: Path) -> None:
    assert explain("--save", "npy,overlay", "--out", "o", "--alpha", "0").code == 0
    # 300x400 is resized to 256x341, of which the middle 224x224 is cut: 16 of 256 rows and 58 of 341 columns are left
    values = np.load(tmp_path / "o/a.rank1.npy")
    top, left = round(16 * 300 / 256), round(58 * 400 / 341)
    bottom, right = round((16 + 224) * 300 / 256), round((58 + 224) * 400 / 341)
    inside = np.zeros_like(values, dtype=bool)
    inside[top:bottom, left:right] = True
    assert not values[~inside].any()
    assert values[inside].max() == 1
    laid, whole = pixels(tmp_path / "o/a.rank1.overlay.jpg").astype(float), pixels(photos / "a.png").astype(float)
    assert np.abs(laid - whole)[inside].mean() < 5
    assert np.abs(laid - 0.4 * whole)[~inside].mean() < 5


def test_squash_sees_the_whole_image(explain: Run, photos: Path, tmp_path: Path) -> None:
    assert explain("--save", "npy,overlay", "--out", "o", "--alpha", "0", "--fit", "squash").code == 0
    laid, whole = pixels(tmp_path / "o/a.rank1.overlay.jpg").astype(float), pixels(photos / "a.png").astype(float)
    assert np.abs(laid - whole).mean() < 5


def test_ranks_agree_with_classify(explain: Run, run: Run, photos: Path, weights: Path, tmp_path: Path) -> None:
    assert explain("--rank", "1-3", "--save", "npy", "--out", "o").code == 0
    assert run("classify", photos, *MODEL, "--weights", weights, "--out", "c").code == 0
    ours, theirs = rows(tmp_path / "o/results.csv"), rows(tmp_path / "c/results.csv")
    for one, other in zip(ours, theirs, strict=True):
        assert [one[name] for name in COLUMNS[:5]] == [other[name] for name in COLUMNS[:5]]
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)


def test_a_class_by_name_or_index_is_that_of_its_rank(explain: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat fish\n")
    assert explain("--rank", "3,1", "--save", "npy", "--out", "ranks", "--labels", labels).code == 0
    by_rank = rows(tmp_path / "ranks/results.csv")
    assert [row["rank"] for row in by_rank] == ["1", "3"] * 3
    words = ("--class", "bee", "--class", "2", "--class", "CAT_fish")
    assert explain(*words, "--save", "npy", "--out", "classes", "--labels", labels).code == 0
    by_class = rows(tmp_path / "classes/results.csv")
    assert [(row["class_index"], row["label"]) for row in by_class] == [("1", "bee"), ("2", "cat fish")] * 3
    assert by_class[0]["npy"] == "a.class1.npy"
    ranked = {(row["image"], row["class_index"]): row for row in by_rank}
    shared = [
        (row, ranked[row["image"], row["class_index"]])
        for row in by_class
        if (row["image"], row["class_index"]) in ranked
    ]
    assert shared
    for one, other in shared:
        assert one["rank"] == other["rank"]
        same = np.load(tmp_path / "classes" / one["npy"]), np.load(tmp_path / "ranks" / other["npy"])
        assert np.allclose(*same, atol=1e-5)


def test_batches_and_shards_give_the_same_files(explain: Run, tmp_path: Path) -> None:
    assert explain("--save", "npy", "--out", "one", "--batch-size", "1").code == 0
    for shard in ("1/2", "2/2"):
        assert explain("--save", "npy", "--out", "two", "--batch-size", "3", "--shard", shard).code == 0
    first, second = rows(tmp_path / "one/results.csv"), rows(tmp_path / "two/results.csv")
    for one, other in zip(first, second, strict=True):
        assert [one[name] for name in COLUMNS[:5]] == [other[name] for name in COLUMNS[:5]]
        assert np.allclose(np.load(tmp_path / "one" / one["npy"]), np.load(tmp_path / "two" / other["npy"]), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_a_map(run: Run, photos: Path, weights: Path, tmp_path: Path, method: str) -> None:
    layer = () if method == "guided-backprop" else ("--layer", "features.4")
    words = ("--weights", weights, "--method", method, *layer, "--save", "npy", "--out", "o")
    ended = run("gradcam", photos / "c.png", *MODEL, *words)
    assert ended.code == 0, ended.err
    values = np.load(tmp_path / "o/c.rank1.npy")
    assert values.max() == 1
    assert np.isfinite(values).all()


def test_faithfulness_adds_columns_and_a_summary(run: Run, photos: Path, weights: Path, tmp_path: Path) -> None:
    words = ("--weights", weights, "--save", "npy", "--out", "o", "--faithfulness", "--rank", "1-2")
    ended = run("gradcam", photos / "c.png", *MODEL, *words)
    assert ended.code == 0, ended.err
    table = rows(tmp_path / "o/results.csv")
    names = ["drop", "increase", "deletion", "insertion", "road"]
    assert list(table[0]) == [*COLUMNS, "npy", *names]
    summary = json.loads((tmp_path / "o/faithfulness.json").read_text())
    for name in names:
        assert summary[name]["mean"] == pytest.approx(sum(float(row[name]) for row in table) / 2)
        assert summary[name]["n"] == 2
    assert "faithfulness" in ended.out
    assert all(0 <= float(row["drop"]) <= 1 and row["increase"] in ("0.0", "1.0") for row in table)


def test_the_three_best_are_printed_and_json_is_one_document(explain: Run, photos: Path, tmp_path: Path) -> None:
    ended = explain("--save", "npy", "--out", "o")
    line = next(line for line in ended.out.splitlines() if line.startswith(str(photos / "a.png")))
    assert [line.count(f"{place} ") >= 1 for place in (1, 2, 3)] == [True] * 3
    assert line.count("%") == 3
    document = json.loads(explain("--save", "npy", "--out", "o", "--json").out)
    assert document["batch"]["counts"]["skipped"] == 3
    assert document["layer"] == "features.12"
    assert [row["npy"] for row in document["rows"]] == [row["npy"] for row in rows(tmp_path / "o/results.csv")]
    assert [rank for rank, _, _ in document["predictions"][str(photos / "a.png")]] == [1, 2, 3]


def test_a_bad_image_costs_a_line(explain: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").write_bytes(b"no image")
    ended = explain("--save", "npy", "--out", "o")
    assert ended.code == 3
    failures = rows(tmp_path / "o/failures.csv")
    assert [Path(row["input"]).name for row in failures] == ["b.png"]
    assert [Path(row["image"]).name for row in rows(tmp_path / "o/results.csv")] == ["a.png", "b.png", "b.jpg", "c.png"]


def test_the_same_command_does_what_is_missing(explain: Run, tmp_path: Path) -> None:
    assert explain("--out", "o").code == 0
    kept = (tmp_path / "o/c.rank1.map.png").stat().st_mtime_ns
    (tmp_path / "o/a.rank1.panel.jpg").unlink()
    ended = explain("--out", "o")
    assert "1 images explained" in ended.out
    assert "2 done before" in ended.out
    assert (tmp_path / "o/a.rank1.panel.jpg").exists()
    assert (tmp_path / "o/c.rank1.map.png").stat().st_mtime_ns == kept
    other = explain("--out", "o", "--rank", "2")
    assert other.code == 1
    assert "rank was [1], is [2]" in other.err


def test_formats_of_the_map(explain: Run, tmp_path: Path) -> None:
    for kind in ("png", "colour"):
        assert explain("--save", "map", "--format", kind, "--out", kind, "--colormap", "viridis").code == 0
    grey, colour = pixels(tmp_path / "png/a.rank1.map.png"), pixels(tmp_path / "colour/a.rank1.map.png")
    assert grey.dtype == np.uint8
    assert grey.shape == (300, 400)
    assert colour.shape == (300, 400, 3)
    assert tuple(colour[0, 0]) == (68, 1, 84)  # the low end of viridis


def test_the_default_folder_names_model_and_rank(explain: Run, tmp_path: Path) -> None:
    assert explain("--save", "npy").code == 0
    assert (tmp_path / "gradcam/squeezenet1_1-rank1/results.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--rank", "0"), 2, "ranks count from 1"),
        (("--rank", "4"), 2, "--rank 4: squeezenet1_1 has 3 classes"),
        (("--rank", "two"), 2, "write a rank, a range or a list"),
        (("--class", "3"), 2, "--class: the class index 3 is out of range (0 to 2)"),
        (
            ("--class", "tabby"),
            2,
            "the labels of the model are unknown: use the index of the class (0 to 2) or --labels FILE",
        ),
        (("--layer", "features.99"), 2, "has no layer 'features.99'. Did you mean 'features."),
        (("--layer", "classifier.3"), 2, "has no spatial grid"),
        (("--method", "grad-cam"), 2, "Did you mean 'gradcam'?"),
        (("--save", "maps"), 2, "Did you mean 'map'?"),
        (("--save", ""), 2, "--save is empty"),
        (("--fit", "pad"), 2, "crop, squash"),
        (("--colormap", "infernal"), 2, "Did you mean 'inferno'?"),
        (("--model", "squeezenet"), 2, "Did you mean 'squeezenet1_"),
        (("--model", "resnet18"), 1, "does not fit"),
        (("--alpha", "2"), 2, "--alpha must be at least 0 and at most 1, not 2"),
        (("--rank", "2", "--class", "1"), 2, "use one of them"),
        (("--layer", "features.4", "--method", "guided-backprop"), 2, "leave --layer out"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(
    explain: Run, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    ended = explain("--out", "o", *words)
    assert ended.code == code, ended.err
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.shared
def test_the_maps_of_dog_and_cat_lie_on_dog_and_cat(run: Run, shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    words = ("--model", "mobilenet_v2", "--weights", data / "weights/mobilenet_v2-torchvision.pth", "--save", "npy")
    # In both.png the dog's head and body are above, the cat below.
    ended = run(
        "gradcam", data / "photos/both.png", *words, "--class", "bull mastiff", "--class", "tabby", "--out", "o"
    )
    assert ended.code == 0, ended.err
    dog, cat = (np.load(tmp_path / f"o/both.class{index}.npy") for index in (243, 281))
    middle = dog.shape[0] * 6 // 10
    assert dog[:middle].sum() > 0.8 * dog.sum()
    assert cat[middle:].sum() > 0.8 * cat.sum()
    # In dog_cat.jfif the dog is on the left, the cat on the right.
    words = (*words, "--fit", "squash", "--out", "p")
    ended = run("gradcam", data / "photos/dog_cat.jfif", *words, "--class", "golden retriever", "--class", "tabby")
    assert ended.code == 0, ended.err
    dog, cat = (np.load(tmp_path / f"p/dog_cat.class{index}.npy") for index in (207, 281))
    middle = dog.shape[1] * 55 // 100
    assert dog[:, :middle].sum() > 0.6 * dog.sum()
    assert cat[:, middle:].sum() > 0.6 * cat.sum()
    shutil.rmtree(tmp_path / "o")


def test_the_methods_of_the_settings_are_those_there_are() -> None:
    from cvkit.config.classification import METHODS as NAMES

    assert tuple(METHODS) == NAMES


def test_the_predictions_printed_are_those_of_classify(
    explain: Run, run: Run, photos: Path, weights: Path, tmp_path: Path
) -> None:
    found = json.loads(explain("--save", "npy", "--rank", "3", "--out", "o", "--json").out)["predictions"]
    assert run("classify", photos, *MODEL, "--weights", weights, "--out", "c").code == 0
    for row in rows(tmp_path / "c/results.csv"):
        rank, name, share = found[row["image"]][int(row["rank"]) - 1]
        assert (str(rank), name) == (row["rank"], row["class_index"])
        assert share == pytest.approx(float(row["probability"]), abs=1e-5)


def test_squash_gives_the_network_the_whole_image(explain: Run, photos: Path, weights: Path, tmp_path: Path) -> None:
    from cvkit.data.fit import fit_squash
    from cvkit.data.images import read_image
    from cvkit.tasks.classification.classifier import Classifier

    assert explain("--save", "npy", "--out", "o", "--fit", "squash").code == 0
    loaded = loading.load("squeezenet1_1", str(weights))
    classifier = Classifier(loaded.network, loaded.facts)
    pixels, _ = fit_squash(read_image(photos / "a.png"), classifier.preprocessing)
    shares = classifier.logits(pixels[None]).softmax(1)[0]
    first = rows(tmp_path / "o/results.csv")[0]
    assert float(first["probability"]) == pytest.approx(float(shares.max()), abs=1e-5)


def test_a_large_photograph_is_read_again_and_gives_the_same(
    explain: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert explain("--save", "map,panel", "--out", "kept").code == 0
    monkeypatch.setattr("cvkit.commands.gradcam.explaining.MAX_KEPT_BYTES", 0)
    assert explain("--save", "map,panel", "--out", "again").code == 0
    for kept in sorted((tmp_path / "kept").rglob("*.*g")):
        assert kept.read_bytes() == (tmp_path / "again" / kept.relative_to(tmp_path / "kept")).read_bytes()


def test_faithfulness_judges_the_map_of_its_own_class(
    run: Run, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvkit.tasks.attribution.faithfulness import Faithfulness

    seen: list[tuple[torch.Tensor, float]] = []

    def spy(image: torch.Tensor, heat: torch.Tensor, score: object) -> Faithfulness:
        seen.append((heat, float(score(image[None]))))  # type: ignore[operator]
        return Faithfulness(drop=0, increase=0, deletion=0, insertion=0, road=0)

    monkeypatch.setattr("cvkit.commands.gradcam.explaining.faithfulness", spy)
    words = ("--weights", weights, "--save", "npy", "--out", "o", "--faithfulness", "--rank", "1-3")
    assert run("gradcam", photos / "c.png", *MODEL, *words).code == 0
    for (heat, share), row in zip(seen, rows(tmp_path / "o/results.csv"), strict=True):
        placed = np.load(tmp_path / "o" / row["npy"])[16:240, 16:240]  # 256x256, of which the middle 224x224 is seen
        assert np.abs(heat.numpy() - placed).max() < 1e-3
        assert share == pytest.approx(float(row["probability"]), abs=1e-5)
