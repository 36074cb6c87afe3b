"""Check that a training of a classifier that cannot start or go on says why, and leaves no empty folder."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit import render
from cvkit.engine import checkpoint
from cvkit.tasks.classification import scoring
from tests.labelled import write_classes

from .conftest import Outcome, Run
from .test_damaged_runs import assert_one_line

OUT = "a/b/run"
TINY = ("--model", "timm:test_resnet", "--input-size", 32)
COUNTS = {f"{split}/{name}": 4 if split == "train" else 2 for split in ("train", "val") for name in ("ant", "bee")}


def unchanged(data: Path) -> None:
    del data


def one_class(data: Path) -> None:
    for split in ("train", "val"):
        shutil.rmtree(data / split / "bee")


def one_class_to_train_on(data: Path) -> None:
    shutil.rmtree(data / "train/bee")


def loose(data: Path) -> None:
    for path in list((data / "val").rglob("*.png")):
        path.rename(data / "val" / f"{path.parent.name}{path.name}")
    for name in ("ant", "bee"):
        (data / "val" / name).rmdir()


def corrupt(paths: Iterable[Path]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])


def one_corrupt(data: Path) -> None:
    corrupt([data / "train/ant/0.png"])


def no_val_image(data: Path) -> None:
    corrupt((data / "val").rglob("*.png"))


def no_image_of_a_class(data: Path) -> None:
    write_classes(data / "more", {"cat": 2})
    (data / "more/cat").rename(data / "train/cat")
    shutil.copytree(data / "train/cat", data / "val/cat")
    corrupt((data / "train/cat").iterdir())


def one_class_left(data: Path) -> None:
    corrupt((data / "train/bee").iterdir())
    shutil.rmtree(data / "val/bee")


def wrong_weights(data: Path) -> None:
    from torchvision import models

    torch.save(models.mobilenet_v3_small(weights=None).state_dict(), data.parent / "mobilenet_v3_small.pth")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four training and two validation images of two classes."""
    return write_classes(tmp_path / "pets", COUNTS)


def paths_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


START = [
    (one_class, (), 1, "there is one class only (ant); a classifier needs two or more"),
    (one_class_to_train_on, (), 1, "all training images are of one class (ant)"),
    (loose, (), 1, "4 images of val in no class folder"),
    (one_corrupt, ("--strict",), 1, "1 image cannot be read: "),
    (no_val_image, (), 1, "no val image can be read"),
    (no_image_of_a_class, (), 1, "no training image of the class cat can be read"),
    (one_class_left, (), 1, "the training images that can be read are of one class only"),
    (unchanged, ("--data", "nowhere"), 1, "no such file or folder: nowhere"),
    (unchanged, ("--data", "pets/train/ant"), 1, "put the images of each class into one folder"),
    (unchanged, ("--split", "80/20"), 2, "has the splits train and val already; leave --split out"),
    (unchanged, ("--split", "80/30"), 2, "write per cent of training, validation and test images that add up to 100"),
    (unchanged, ("--split", "100/0"), 2, "add up to 100"),
    (unchanged, ("--freeze", "layer9"), 2, "--freeze layer9: the network has no layer of this name"),
    (unchanged, ("--freeze", "layr4"), 2, "Did you mean 'layer4'?"),
    (unchanged, ("--freeze", "backbone", "--unfreeze-at", 1, "--unfreeze-from", "layr3"), 2, "Did you mean 'layer3'?"),
    (unchanged, ("--unfreeze-at", 1), 2, "need frozen layers: add --freeze backbone"),
    (unchanged, ("--freeze", "backbone", "--unfreeze-from", "layer3"), 2, "add --unfreeze-at EPOCH"),
    (unchanged, ("--freeze", "backbone", "--unfreeze-lr", 0.1), 2, "--unfreeze-lr needs the epoch"),
    (unchanged, ("--model", "timm:test_resnt"), 2, "Did you mean 'timm:test_resnet'?"),
    (unchanged, ("--model", "basic-cn"), 2, "Did you mean 'basic-cnn'?"),
    (unchanged, ("--model", "basic-cnn", "--weights", "imagenet"), 2, "basic-cnn has no published weights"),
    (
        unchanged,
        ("--model", "timm:vgg11", "--weights", "nowhere.pth"),
        1,
        "nowhere.pth: no such file. Write a file, imagenet or none",
    ),
    (unchanged, ("--model", "alexnet", "--input-size", 20), 2, "cannot process images of 20x20"),
    (unchanged, ("--model", "lenet5", "--input-size", 20), 2, "lenet5 needs images of at least 28x28"),
    (wrong_weights, ("--weights", "mobilenet_v3_small.pth"), 1, "Did you forget --model mobilenet_v3_small?"),
    (unchanged, ("--test",), 1, "has no test images"),
    (unchanged, ("--device", "cuda:99"), 2, "--device cuda"),
    (unchanged, ("--lr", 1e9, "--clip-norm", 0, "--optimizer", "sgd"), 1, "use a lower learning rate"),
]


@pytest.mark.parametrize(("damage", "words", "code", "said"), START, ids=[f"{e[3][:40]}" for e in START])
def test_a_training_that_cannot_start_leaves_no_folder(
    run: Run, data: Path, tmp_path: Path, damage: Callable[[Path], None], words: tuple[str, ...], code: int, said: str
) -> None:
    damage(data)
    before = paths_in(tmp_path)
    options = {"--data": "pets", "--weights": "none", "--epochs": 1, "--batch-size": 2, "--workers": 0, "--out": OUT}
    network = () if "--model" in words else TINY
    given = [word for name, value in options.items() if name not in words for word in (name, value)]
    ended = run("train-classifier", *given, *network, *words)
    assert ended.code == code and said in ended.err, ended.err
    assert_one_line(ended, words)
    assert paths_in(tmp_path) == before


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the charts, which take most of the time of a small run."""
    monkeypatch.setattr(render, "curves", lambda *_args, **_more: b"")
    for name in ("confusion_chart", "reliability_diagram"):
        monkeypatch.setattr(scoring, name, lambda *_args, **_more: b"")


def train(run: Run, *words: object, epochs: int = 1) -> Outcome:
    network = (*TINY, "--weights", "none", "--epochs", epochs, "--batch-size", 2, "--samples", 0)
    return run("train-classifier", "--data", "pets", *network, "--workers", 0, "--device", "cpu", "--out", "r", *words)


def test_a_class_without_validation_images_is_a_warning(run: Run, data: Path) -> None:
    shutil.rmtree(data / "val/bee")
    ended = train(run)
    assert ended.code == 0, ended.err
    assert "no validation image of 1 of 2 classes, which are not scored: bee" in ended.err


def test_an_empty_class_folder_is_a_warning(run: Run, data: Path) -> None:
    (data / "train/cat").mkdir()
    ended = train(run)
    assert ended.code == 0 and "pets/train/cat is empty: is a class missing?" in ended.err, ended.err


def test_corrupt_images_are_left_out_by_name(run: Run, data: Path) -> None:
    corrupt([data / "train/ant/0.png", data / "train/bee/2.png", data / "val/bee/1.png"])
    ended = train(run, "--json")
    assert ended.code == 0, ended.err
    assert "left out, 3 images cannot be read: " in ended.err
    assert "pets/train/ant/0.png" in ended.err and "pets/val/bee/1.png" in ended.err
    assert '"unreadable": 3' in ended.out


def test_a_learning_rate_that_diverges_names_files_and_keeps_the_last_good_state(run: Run, data: Path) -> None:
    """The whole network is unfrozen into a learning rate that is far too high."""
    del data
    words = [
        "--optimizer",
        "sgd",
        "--clip-norm",
        0,
        "--freeze",
        "backbone",
        "--unfreeze-at",
        1,
        "--unfreeze-from",
        "all",
    ]
    ended = train(run, *words, "--unfreeze-lr", 1e9, epochs=3)
    assert ended.code == 1 and "or use a lower learning rate; last.pt keeps the last good state" in ended.err, ended.err
    assert "the loss is nan at epoch 2, batch of pets/train/" in ended.err
    assert_one_line(ended, words)
    assert Path("r/last.pt").is_file() and Path("r/best.pt").is_file()
    assert checkpoint.load(Path("r/last.pt"), "training-state")["state"]["epoch"] == 1


def test_a_batch_norm_cannot_train_on_one_value(run: Run, data: Path) -> None:
    del data
    ended = train(run, "--batch-size", 7, "--input-size", 16)
    assert ended.code == 1 and "a batch norm cannot train on a single value per channel" in ended.err, ended.err
    assert_one_line(ended, "batch")
    assert not Path("r").exists()


def test_labels_that_do_not_match_a_run_are_refused(run: Run, pets: Path, classified: Path) -> None:
    Path("labels.txt").write_text("a\nb\n")
    for words in (("classify", pets / "val"), ("gradcam", pets / "val/ant/0.png")):
        ended = run(*words, "--model", classified, "--labels", "labels.txt", "--device", "cpu", "--out", "o")
        assert ended.code == 2 and f"names 2 classes, but the weights of {classified} have 3" in ended.err, ended.err
        assert not Path("o").exists()


@pytest.mark.parametrize("option", [("--weights", "none"), ("--input-size", 64), ("--mean", "0.5,0.5,0.5")])
def test_options_of_named_models_are_refused_for_a_run(
    run: Run, pets: Path, classified: Path, option: tuple[object, ...]
) -> None:
    ended = run("classify", pets / "val", "--model", classified, *option, "--device", "cpu")
    assert ended.code == 2 and str(option[0]) in ended.err, ended.err
    assert_one_line(ended, option)


@pytest.fixture
def copied(pets: Path, classified: Path) -> Path:
    """A copy of a run, and of its data in ``other``."""
    shutil.copytree(pets, "other")
    return Path(shutil.copytree(classified, "r"))


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_not_resumed_with_other_classes(run: Run, copied: Path) -> None:
    for split in ("train", "val", "test"):
        Path("other", split, "bee").rename(f"other/{split}/wasp")
    before = content(copied)
    ended = run("resume", "r", "--epochs", 4, "--data", "other")
    assert ended.code == 1, ended.err
    said = "r was started with the classes ant, bee, cat, and other has ant, cat, wasp: resume it with the same data"
    assert said in ended.err
    assert_one_line(ended, "classes")
    assert content(copied) == before


def test_a_run_is_not_resumed_with_other_images(run: Run, copied: Path) -> None:
    before = content(copied)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save("other/train/ant/1.png")
    ended = run("resume", "r", "--epochs", 4, "--data", "other")
    assert ended.code == 1 and "as many images, with other content or in another order" in ended.err
    Path("other/train/ant/1.png").unlink()
    ended = run("resume", "r", "--epochs", 4, "--data", "other")
    assert ended.code == 1 and "20 train images then, 19 now" in ended.err
    assert content(copied) == before
