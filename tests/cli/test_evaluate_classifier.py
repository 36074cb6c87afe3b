"""``cvkit evaluate`` on classifiers, as the shell runs it."""

import csv
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvkit.commands.evaluate import classification
from cvkit.config import EvaluateConfig
from cvkit.config.evaluation import CLASSIFIER_FIELDS, SALIENCY_FIELDS
from cvkit.config.option import fields_of
from cvkit.engine.scores import SCORE_FILES
from cvkit.tasks.classification.classifier import Classifier
from tests.data.test_idx import idx_bytes

from .conftest import COLOURS, Outcome, Run

CPU = ("--device", "cpu", "--workers", "1")
RANDOM = ("--model", "timm:test_resnet", "--weights", "none", "--input-size", "32", *CPU)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def scores_of(ended: Outcome, code: int = 0) -> dict[str, Any]:
    assert ended.code == code, ended.err
    metrics: dict[str, Any] = json.loads(ended.out)["metrics"]
    return metrics


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that scores are equal up to the rounding of probabilities."""
    assert found.keys() == expected.keys()
    exact = {"ci95", "images", "top5_accuracy"}
    assert all(found[name] == expected[name] for name in exact)
    for name in found.keys() - exact:
        assert found[name] == pytest.approx(expected[name], rel=1e-4)


def own_metrics(folder: Path) -> dict[str, Any]:
    """Return the scores of the validation split that the training wrote."""
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["val"]
    return metrics


def the_only_error(ended: Outcome) -> str:
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and ended.code in (1, 2) and "Traceback" not in ended.err, ended.err
    return errors[0]


def test_a_run_scores_as_classify_and_as_its_own_metrics(
    run: Run, colours: Path, classifier: Path, tmp_path: Path
) -> None:
    ended = run("evaluate", "--data", colours, "--model", classifier, "--out", "s", "--json", *CPU)
    metrics = scores_of(ended)
    assert "splits: train (36 images), val (27 images); scored: val" in ended.err
    classified = run(
        "classify", colours / "val", "--model", classifier, "--truth", "folders", "--out", "c", "--json", *CPU
    )
    top1 = json.loads(classified.out)["accuracy"]["top1"]
    assert metrics["accuracy"] == top1["value"] and metrics["ci95"] == [top1["low"], top1["high"]]
    assert 1 / 3 < metrics["accuracy"] < 1
    assert_alike(metrics, own_metrics(classifier))
    assert json.loads((tmp_path / "s/metrics.json").read_text()) == {"val": metrics}
    table, firsts = read_rows(tmp_path / "s/results.csv"), read_rows(tmp_path / "c/results.csv")
    predicted = {row["image"]: row["label"] for row in firsts if row["rank"] == "1"}
    assert {row["image"]: row["predicted"] for row in table} == predicted
    for row in table:
        assert row["label"] == Path(row["image"]).parent.name
        assert (row["true_rank"] == "1") == (row["label"] == row["predicted"])
        assert float(row["true_probability"]) <= float(row["probability"])
    report = read_rows(tmp_path / "s/report.csv")
    assert [(row["label"], row["count"]) for row in report] == [(name, "9") for name in COLOURS]
    for name in ("confusion.png", "reliability.png", "mistakes.png"):
        with Image.open(tmp_path / "s" / name) as picture:
            assert min(picture.size) > 100
    manifest = json.loads((tmp_path / "s/manifest.json").read_text())
    assert manifest["model"] == "timm:test_resnet" and set(manifest["files"]) == set(classification.FILES)


def test_the_table_has_accuracy_interval_ece_f1_and_log_loss(run: Run, colours: Path, classifier: Path) -> None:
    ended = run("evaluate", "--data", colours, "--model", classifier, *CPU)
    own = own_metrics(classifier)
    values = [own["accuracy"], *own["ci95"], own["ece"], own["macro_f1"], own["log_loss"]]
    cells = next(line.split() for line in ended.out.splitlines() if line.startswith(" val"))
    assert cells[:2] == ["val", "27"] and cells[5] == "-"  # no top-5 of three classes
    shown = [float(cell) for cell in (*cells[2:5], *cells[6:])]
    assert shown == pytest.approx(values, abs=1e-3)


def test_labels_in_another_order_and_spelling_score_alike(run: Run, colours: Path, classifier: Path) -> None:
    rows = ["image,label,split"]
    for name in reversed(COLOURS):
        rows += [f"{path},{name.upper()},heldout" for path in sorted((colours / "val" / name).iterdir())]
    Path("list.csv").write_text("\n".join(rows))
    ended = run("evaluate", "--data", "list.csv", "--model", classifier, "--json", *CPU)
    assert_alike(scores_of(ended), own_metrics(classifier))
    assert "the split heldout (27 images) is scored, the only one" in ended.err


def test_classes_that_the_model_does_not_have_are_named(run: Run, colours: Path, classifier: Path) -> None:
    shutil.copytree(colours / "val", "colours/val")
    shutil.copytree(colours / "train", "colours/train")
    words = ("evaluate", "--data", "colours", "--model", classifier, *CPU)
    Path("colours/train/red").rename("colours/train/crimson")
    assert run(*words).code == 0  # no scored image has this class
    Path("colours/val/red").rename("colours/val/reed")
    assert "no class 'reed'. Did you mean 'red'?" in the_only_error(run(*words))


def test_a_model_without_labels_needs_as_many_classes_and_says_what_it_assumes(
    run: Run, colours: Path, classifier: Path
) -> None:
    named = ("evaluate", "--data", colours, "--model", "timm:test_resnet", "--json", "--input-size", "32", *CPU)
    save_state(classifier, Path("bare.pth"))
    assumed = run(*named, "--weights", "bare.pth", "--crop-pct", "1")
    assert scores_of(assumed)["images"] == 27
    assert "the order of colours is assumed: 0 is blue, 1 is green, 2 is red." in assumed.err
    Path("labels.txt").write_text("red\ngreen\nblue\n")
    other = run(*named, "--weights", "bare.pth", "--crop-pct", "1", "--labels", "labels.txt")
    assert "is assumed: 0 is" not in other.err and scores_of(other) != scores_of(assumed)
    shutil.copytree(colours / "val" / "red", "more/val/red")
    shutil.copytree(colours / "val" / "red", "more/val/pink")
    message = the_only_error(run("evaluate", "--data", "more", *named[3:], "--weights", "bare.pth"))
    assert "more has 2 classes, but the model has 3, whose names are unknown" in message and "--labels FILE" in message


def save_state(folder: Path, path: Path) -> None:
    """Write the weights of a run without labels."""
    import torch

    torch.save(torch.load(folder / "best.pt", weights_only=True)["weights"], path)


def test_any_split_is_listed_and_scored_by_name(run: Run, colours: Path, classifier: Path) -> None:
    shutil.copytree(colours / "train", "colours/train")
    shutil.copytree(colours / "val", "colours/holdout")
    Path("colours/notes").mkdir()
    Image.new("RGB", (40, 40)).save("colours/notes/plan.png")
    words = ("evaluate", "--data", "colours", "--model", classifier, "--json", *CPU)
    chosen, named = run(*words), run(*words, "--split", "Holdout")
    assert scores_of(chosen) == scores_of(named) and json.loads(chosen.out)["split"] == "holdout"
    assert "splits: train (36 images), holdout (27 images); scored: holdout" in named.err
    assert "no val or test split: the split holdout (27 images) is scored, the only one besides train" in chosen.err
    assert "notes beside the splits of colours is left out" in chosen.err
    unsplit = run("evaluate", "--data", "colours/holdout", *words[3:])
    assert scores_of(unsplit) == scores_of(named) and json.loads(unsplit.out)["split"] == "all"
    assert "warning: no val or test split: all images are scored" in unsplit.err
    wrong = the_only_error(run(*words, "--split", "holdot"))
    assert "no split 'holdot'; there are: train (36 images), holdout (27 images). Did you mean 'holdout'?" in wrong
    train, every = run(*words, "--split", "train"), run(*words, "--split", "all")
    assert (scores_of(train)["images"], scores_of(every)["images"]) == (36, 63)
    for ended in (train, every):
        assert "warning: the scores include 36 training images" in ended.err
    Path("colours/train").rename("colours/other")
    assert scores_of(run(*words, "--split", "holdout"))["images"] == 27


def test_idx_files_are_scored_by_index_without_training_images(run: Run) -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(12, dtype=np.uint8) % 10
    Path("digits").mkdir()
    Path("digits/t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx_bytes(rng.integers(0, 255, (12, 28, 28)).astype(np.uint8)))
    )
    Path("digits/t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    words = ("--model", "basic-cnn", "--weights", "none", "--batch-size", "5", *CPU)
    ended = run("evaluate", "--data", "digits", *words, "--out", "s", "--json")
    assert scores_of(ended)["images"] == 12 and json.loads(ended.out)["split"] == "test"
    assert "the class names 0, 1, 2, ... of digits are taken for class indices" in ended.err
    assert [row["label"] for row in read_rows(Path("s/results.csv"))] == [str(label) for label in labels]


def test_bad_images_are_listed_and_the_exit_code_is_3(run: Run, colours: Path, classifier: Path) -> None:
    shutil.copytree(colours / "val", "colours/val")
    Path("colours/val/red/0.png").write_bytes(b"no image")
    cut = Path("colours/val/blue/3.png")
    cut.write_bytes(cut.read_bytes()[:100])
    words = ("evaluate", "--data", "colours", "--model", classifier, *CPU)
    ended = run(*words, "--out", "s", "--json")
    metrics = scores_of(ended, code=3)
    assert metrics["images"] == 25
    assert [Path(row["input"]) for row in json.loads(ended.out)["failed"]] == [cut, Path("colours/val/red/0.png")]
    assert [Path(row["input"]) for row in read_rows(Path("s/failures.csv"))] == [cut, Path("colours/val/red/0.png")]
    assert len(read_rows(Path("s/results.csv"))) == 25
    assert ended.err.count("warning: colours/val/") == 2
    for path in Path("colours/val").rglob("*.png"):
        path.write_bytes(b"no image")
    assert "none of the 27 images could be scored" in the_only_error(run(*words))


def test_images_with_values_that_are_not_finite_are_listed(
    run: Run, colours: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = Classifier.logits

    def break_first(self: Classifier, images: Any) -> Any:
        values = logits(self, images).clone()
        values[0, 0] = float("nan")
        return values

    monkeypatch.setattr(Classifier, "logits", break_first)
    ended = run("evaluate", "--data", colours, "--model", classifier, "--json", "--batch-size", "9", *CPU)
    assert scores_of(ended, code=3)["images"] == 24
    assert {row["kind"] for row in json.loads(ended.out)["failed"]} == {"model"}


def test_batches_that_do_not_fit_into_memory_are_halved(
    run: Run, colours: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = Classifier.logits

    def limited(self: Classifier, images: Any) -> Any:
        if len(images) > 3:
            raise MemoryError
        return logits(self, images)

    monkeypatch.setattr(Classifier, "logits", limited)
    ended = run("evaluate", "--data", colours, "--model", classifier, "--json", "--batch-size", "16", *CPU)
    assert_alike(scores_of(ended), own_metrics(classifier))


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "safetensors"])
def test_an_exported_file_scores_alike(run: Run, colours: Path, classifier: Path, format: str) -> None:
    file = f"model.{format}"
    assert run("export", classifier, "--format", format, "--out", file).code == 0
    words = ("evaluate", "--data", colours, "--json", *CPU)
    replaced = [("timm:test_resnet", "--weights", file)] if format == "onnx" else []
    for model in ((file,), (classifier / "best.pt",), *replaced):
        assert_alike(scores_of(run(*words, "--model", *model)), own_metrics(classifier))


def test_options_of_the_other_kind_are_refused(
    run: Run, colours: Path, classifier: Path, trained: Path, fixation_data: Path
) -> None:
    for option in (("--protocol", "tuebingen"), ("--no-emd",), ("--with-baselines",), ("--baseline", "mean")):
        message = the_only_error(run("evaluate", "--data", colours, "--model", classifier, *option))
        assert message.startswith(f"error: {option[0]} has no effect, because {classifier} is a classifier: leave out")
    for option in (("--labels", "l.txt"), ("--batch-size", "4")):
        message = the_only_error(run("evaluate", "--data", fixation_data, "--model", trained, *option))
        assert message.startswith(f"error: {option[0]} has no effect, because {trained} is a saliency network")
        message = the_only_error(run("evaluate", "--data", fixation_data, "--maps", "m", *option))
        assert message.startswith(f"error: {option[0]} has no effect, because --maps names saliency maps")
    for model in (classifier, trained):
        message = the_only_error(
            run("evaluate", "--data", colours, "--model", model, "--mean", "0.5", "--crop-pct", "1")
        )
        assert "--mean, --crop-pct have no effect on" in message
    message = the_only_error(run("evaluate", "--data", colours, *RANDOM, "--sigma-px", "3", "--seed", "1"))
    assert "--sigma-px, --seed have no effect" in message


def test_options_of_a_kind_are_fields_with_a_default() -> None:
    fields = fields_of(EvaluateConfig)
    for name in SALIENCY_FIELDS | CLASSIFIER_FIELDS:
        assert not fields[name].required
    assert not SALIENCY_FIELDS & CLASSIFIER_FIELDS


def test_data_of_the_other_kind_get_a_clear_line(
    run: Run, colours: Path, classifier: Path, trained: Path, fixation_data: Path
) -> None:
    message = the_only_error(run("evaluate", "--data", fixation_data, "--model", classifier))
    assert "has images with maps or fixations, for saliency, but" in message and "is a classifier" in message
    message = the_only_error(run("evaluate", "--data", colours, "--model", trained))
    assert "has images with classes, for a classifier, but" in message and "is a saliency network" in message
    message = the_only_error(run("evaluate", "--data", colours, "--maps", colours))
    assert "for a classifier, but --maps names saliency maps" in message


def test_the_data_are_checked_before_weights_are_downloaded(
    run: Run, fixation_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvkit.models.fetch.download", pytest.fail)
    assert "no such file or folder" in the_only_error(run("evaluate", "--data", "gone", "--model", "vgg16"))
    assert "is a classifier" in the_only_error(run("evaluate", "--data", fixation_data, "--model", "vgg16"))


def test_scores_of_another_kind_are_replaced_only_with_overwrite(
    run: Run, colours: Path, classifier: Path, fixation_data: Path
) -> None:
    saliency = ("evaluate", "--data", fixation_data, "--maps", fixation_data / "maps/val", "--no-emd", "--out", "s")
    other = ("evaluate", "--data", colours, "--model", classifier, "--out", "s", *CPU)
    assert run(*saliency).code == 0
    assert "s already holds scores" in the_only_error(run(*other))
    assert run(*other, "--overwrite").code == 0
    assert {path.name for path in Path("s").iterdir() if path.is_file()} == {*classification.FILES, "manifest.json"}
    assert "s already holds scores" in the_only_error(run(*other))
    assert run(*saliency, "--overwrite").code == 0
    assert {path.name for path in Path("s").iterdir() if path.is_file()} == {
        *("scores.csv", "summary.json", "manifest.json")
    }
    assert set(classification.FILES) <= set(SCORE_FILES)


def test_the_settings_of_saliency_scores_name_no_option_of_classifiers(run: Run, fixation_data: Path) -> None:
    words = ("evaluate", "--data", fixation_data, "--maps", fixation_data / "maps/val", "--no-emd", "--out", "s")
    assert run(*words).code == 0
    assert not CLASSIFIER_FIELDS & json.loads(Path("s/summary.json").read_text())["settings"].keys()
