"""Provide a small data set, a small trained run, and a function that runs commands as the shell does."""

import gzip
import hashlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvkit.cli import main as program
from cvkit.models import fetch
from cvkit.models.exported.cache import CACHE_VARIABLE
from cvkit.models.published import pretrained
from tests.data.test_idx import idx_bytes
from tests.labelled import write_classes

from .options import unknown_options


@dataclass(frozen=True)
class Outcome:
    """Exit code and streams of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def run_in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Outcome:
    """Run ``cvkit words...`` in this process, and check that its messages name only options that the command has."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["cvkit", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    captured = capsys.readouterr()
    unknown = unknown_options([str(word) for word in words], captured.err)
    assert not unknown, f"the command has no {unknown}: {captured.err}"
    return Outcome(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command: ``run("predict", path, "--checkpoint", run_folder)``."""
    return lambda *words: run_in_process(monkeypatch, capsys, *words)


@pytest.fixture(scope="session")
def fixation_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and three validation displays."""
    from cvkit.commands.sample_data import sample_fixations
    from cvkit.config import SampleFixationsConfig

    folder = tmp_path_factory.mktemp("data") / "displays"
    sample_fixations(SampleFixationsConfig(out=str(folder), train=6, val=3, size=(96, 128)))
    return folder


TINY = ("--backbone", "timm:test_resnet", "--weights", "none", "--size", "64x96", "--workers", "0")


@pytest.fixture(scope="session")
def trained(fixation_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, trained for two epochs."""
    from cvkit.commands.train_saliency import train_saliency
    from cvkit.config import TrainSaliencyConfig

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = TrainSaliencyConfig(
        data=str(fixation_data),
        backbone="timm:test_resnet",
        weights="none",
        size=(64, 96),
        workers=0,
        epochs=2,
        batch_size=3,
        samples=2,
        device="cpu",
        out=str(folder),
    )
    train_saliency(config)
    return folder


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images with a bright square whose row depends on the label, and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 40, (count, 11, 9))
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 4, 2:6] = rng.integers(180, 255)
    return images.astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of IDX files: 90 train and 33 test images of 11x9, three classes."""
    folder = tmp_path_factory.mktemp("idx") / "digits"
    folder.mkdir()
    for split, count in (("train", 90), ("t10k", 33)):
        images, labels = blobs(count, count)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of three classes: 9, 6 and 5 to train on, and 3 or 2 of each to validate and to test."""
    counts = {"train/ant": 9, "train/bee": 6, "train/cat": 5}
    counts |= {f"{split}/{name}": 3 - (name == "cat") for split in ("val", "test") for name in ("ant", "bee", "cat")}
    return write_classes(tmp_path_factory.mktemp("classes") / "pets", counts)


@pytest.fixture(scope="session")
def classified(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, trained for three epochs and tested."""
    from cvkit.commands.train_classifier import train_classifier
    from cvkit.config import TrainClassifierConfig

    folder = tmp_path_factory.mktemp("runs") / "pets"
    config = TrainClassifierConfig(
        data=str(pets),
        model="timm:test_resnet",
        weights="none",
        input_size=(32, 32),
        mean=(0.4, 0.5, 0.6),
        epochs=3,
        lr=0.003,
        batch_size=4,
        samples=4,
        workers=0,
        test=True,
        device="cpu",
        out=str(folder),
    )
    train_classifier(config)
    return folder


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 90x120 pixels."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


COLOURS = ("blue", "green", "red")


def draw(rng: np.random.Generator, number: int) -> np.ndarray:
    """Return an image of 40x44 with a weak tint, so that a network makes mistakes."""
    image = rng.integers(60, 190, (40, 44, 3))
    image[..., 2 - number] += 8
    return image.astype(np.uint8)


def save_split(folder: Path, each: int, seed: int) -> Path:
    """Write ``each`` images per class into class folders."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(COLOURS):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            Image.fromarray(draw(rng, number)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 9 validation images per class."""
    folder = tmp_path_factory.mktemp("colours") / "colours"
    save_split(folder / "train", 12, 0)
    save_split(folder / "val", 9, 1)
    return folder


@pytest.fixture(scope="session")
def classifier(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a classifier that is right more often than chance."""
    from cvkit.commands.train_classifier import train_classifier
    from cvkit.config import TrainClassifierConfig

    folder = tmp_path_factory.mktemp("runs") / "colours"
    config = TrainClassifierConfig(
        data=str(colours),
        model="timm:test_resnet",
        weights="none",
        input_size=(32, 32),
        epochs=3,
        lr=0.02,
        batch_size=12,
        workers=0,
        samples=0,
        device="cpu",
        out=str(folder),
    )
    train_classifier(config)
    return folder


WEIGHTS = b"some tensors" * 1000
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
WEIGHTS_FILE = f"vgg16-{DIGEST[:8]}.pth"
WEIGHTS_URL = f"https://example.org/{WEIGHTS_FILE}"


class Answer(io.BytesIO):
    """A server's answer."""

    headers: dict[str, str] = {"Content-Length": str(len(WEIGHTS))}  # noqa: RUF012


@pytest.fixture(scope="session")
def labelled(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one image in a folder that is named after its class."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "7").mkdir()
    (folder / "7" / photo.name).write_bytes(photo.read_bytes())
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide an empty cache and a server of vgg16's weights, which are WEIGHTS; return where their file will lie."""
    facts = pretrained.facts
    entry = replace(facts("vgg16"), source=WEIGHTS_URL, file_bytes=len(WEIGHTS))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(pretrained, "facts", lambda name: entry if name.startswith("vgg16") else facts(name))
    monkeypatch.setattr(fetch, "urlopen", lambda *_args, **_more: Answer(WEIGHTS))
    return tmp_path / "torch/hub/checkpoints" / WEIGHTS_FILE


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        of_a_job = name.startswith(("SLURM_", "TORCHELASTIC", "CVKIT_")) or name in ("RANK", "LOCAL_RANK")
        if of_a_job and name != CACHE_VARIABLE:
            monkeypatch.delenv(name)
