"""Check messages that several commands share. The fixture ``run`` checks that they name only options of the command."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.engine import checkpoint
from cvkit.models import fetch

from .conftest import TINY, Run
from .options import command_of, unknown_options


def test_options_of_other_commands_are_recognised() -> None:
    assert command_of(["models", "show", "vgg16"]) == ("models", "show")
    assert command_of(["predict", "a.png"]) == ("predict",)
    assert unknown_options(["predict", "a"], "error: name another --out or --lr.") == {"--lr"}
    assert unknown_options(["predict", "a"], "error: `cvkit train-saliency --lr 1` helps.") == set()
    assert unknown_options(["predict", "a"], "error: `cvkit predict --lr 1` helps.") == {"--lr"}
    assert unknown_options(["predict", "a"], "error: start it with `srun --ntasks-per-node 2`.") == set()
    assert unknown_options(["predict", "a"], "error: No such option: --lr Did you mean --out?") == set()
    assert unknown_options(["models", "path", "a"], "error: use it with `--weights FILE`.") == set()
    assert unknown_options(["models", "path", "a"], "error: use it with `--weight FILE`.") == {"--weight"}
    assert unknown_options(["evaluate", "--no-emd"], "error: leave out --no-emd, or add --emd.") == set()


@pytest.fixture
def rising(run: Run, fixation_data: Path) -> Path:
    """A run of one epoch whose settings make the next one fail."""
    words = ("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--samples", 0, "--device", "cpu")
    assert run(*words, "--out", "r").code == 0
    content = checkpoint.load(Path("r/last.pt"), "training-state")
    content["model"] = {
        name: torch.full_like(value, float("nan")) if value.is_floating_point() else value
        for name, value in content["model"].items()
    }
    checkpoint.save(Path("r/last.pt"), "training-state", {key: content[key] for key in content.keys() - {"kind"}})
    return Path("r")


def test_a_resumed_run_that_fails(run: Run, rising: Path) -> None:
    ended = run("resume", rising, "--epochs", 3)
    assert ended.code == 1
    assert "not finite" in ended.err or "nan" in ended.err


def test_a_resumed_run_of_a_precision_that_the_machine_does_not_have(run: Run, trained: Path) -> None:
    shutil.copytree(trained, "r")
    settings = json.loads(Path("r/config.json").read_text())
    Path("r/config.json").write_text(json.dumps({**settings, "precision": "fp16"}))
    ended = run("resume", "r", "--epochs", 3, "--device", "cpu")
    assert ended.code in (1, 2) and "fp16" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("sample-data", "fixations", "file"),
        ("demo", "--out", "file"),
        ("predict", "PHOTO", "--model", "TRAINED", "--out", "file"),
        ("classify", "PHOTO", "--model", "squeezenet1_1", "--weights", "none", "--out", "file"),
        ("train-saliency", "--data", "DATA", *TINY, "--out", "file"),
        ("cae-embed", "--data", "DIGITS", "--out", "file"),
        ("evaluate", "--data", "DATA", "--maps", "DATA/maps/val", "--out", "file"),
        ("models", "download", "vgg16", "--to", "file"),
        ("export", "TRAINED", "--out", "file/x.onnx"),
    ],
    ids=lambda words: words[0] if words[0] not in ("models", "sample-data") else "-".join(words[:2]),
)
def test_a_file_where_a_folder_is_to_be_written(
    run: Run, request: pytest.FixtureRequest, cache: Path, words: tuple[str, ...]
) -> None:
    fixtures = {"PHOTO": "photo", "TRAINED": "trained", "DATA": "fixation_data", "DIGITS": "digits"}
    Path("file").write_text("a file")
    paths = [
        str(request.getfixturevalue(fixtures[word.split("/")[0]])) + word.removeprefix(word.split("/")[0])
        if word.split("/")[0] in fixtures
        else word
        for word in words
    ]
    ended = run(*paths)
    assert ended.code in (1, 2)
    assert "file" in ended.err and ended.err.splitlines()[-1].startswith("error: ")
    assert Path("file").read_text() == "a file"
    del cache


def no_network(*_arguments: Any, **_options: Any) -> None:
    raise URLError("no network")


@pytest.mark.parametrize(
    "words",
    [
        ("models", "download", "vgg16"),
        ("models", "path", "vgg16"),
        ("classify", "PHOTO", "--model", "vgg16"),
        ("gradcam", "PHOTO", "--model", "vgg16"),
        ("export", "vgg16"),
        ("train-saliency", "--data", "DATA", "--backbone", "vgg16", "--epochs", "1"),
    ],
    ids=" ".join,
)
def test_weights_that_cannot_be_downloaded(
    run: Run,
    photo: Path,
    fixation_data: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    del cache
    monkeypatch.setattr(fetch, "urlopen", no_network)
    ended = run(*({"PHOTO": photo, "DATA": fixation_data}.get(word, word) for word in words))
    assert ended.code == 1
    error = ended.err.splitlines()[-1]
    assert error.startswith("error: ") and "vgg16" in error


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "PHOTO", "--model", "MODEL"),
        ("evaluate", "--data", "DATA", "--model", "MODEL"),
        ("cae-embed", "--data", "DIGITS", "--model", "MODEL"),
        ("classify", "PHOTO", "--model", "MODEL"),
        ("gradcam", "PHOTO", "--model", "MODEL"),
        ("export", "MODEL"),
        ("models", "show", "MODEL"),
        ("resume", "MODEL"),
    ],
    ids=lambda words: "-".join(word for word in words[:2] if word.islower()),
)
@pytest.mark.parametrize("kind", ["missing", "empty", "unfinished", "text", "bare", "state", "damaged", "unknown"])
def test_a_model_that_cannot_be_opened(
    run: Run, request: pytest.FixtureRequest, trained: Path, kind: str, words: tuple[str, ...]
) -> None:
    values = {"PHOTO": "photo", "DATA": "fixation_data", "DIGITS": "digits"}
    model = bad_model(kind, trained)
    ended = run(*(model if word == "MODEL" else value(request, values, word) for word in words))
    assert ended.code in (1, 2), ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in ended.err


def value(request: pytest.FixtureRequest, fixtures: dict[str, str], word: str) -> object:
    return request.getfixturevalue(fixtures[word]) if word in fixtures else word


def bad_model(kind: str, trained: Path) -> Path:
    """Write a reference that no command can open as a model."""
    folder, file = Path("typo"), Path("typo.pt")
    if kind == "empty":
        folder.mkdir()
    elif kind == "unfinished":
        folder.mkdir()
        shutil.copy(trained / "last.pt", folder)
    elif kind == "text":
        file.write_text("text")
    elif kind == "bare":
        torch.save({"weight": torch.zeros(3)}, file)
    elif kind == "state":
        shutil.copy(trained / "last.pt", file)
    elif kind == "damaged":
        file.write_bytes((trained / "best.pt").read_bytes()[:5000])
    elif kind == "unknown":
        checkpoint.save(file, "detector", {"weights": {}})
    return file if file.exists() else folder


def test_images_that_are_too_large_or_too_small(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "small.png")
    Image.fromarray(np.zeros((400, 500, 3), np.uint8)).save(folder / "large.png")
    for words in (
        ("predict", folder, "--model", trained),
        ("classify", folder, "--model", "squeezenet1_1", "--weights", "none"),
        ("gradcam", folder, "--model", "squeezenet1_1", "--weights", "none"),
    ):
        ended = run(*words, "--max-pixels", 1000)
        assert ended.code == 3 and "200,000 pixels" in ended.err


def test_the_options_of_export_for_its_images(run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Path("images").mkdir()
    Image.new("1", (20_000, 10_000)).save("images/huge.png")
    ended = run("export", trained, "--calibrate", "images", "--out", "x.onnx")
    assert ended.code == 1 and "200,000,000 pixels" in ended.err


@pytest.mark.parametrize("size", ["8x8", "16x16"])
def test_a_network_is_given_too_small_an_image(run: Run, size: str) -> None:
    for name in ("mlnet", "vgg16", "inception_v3", "timm:resnet10t"):
        ended = run("models", "show", name, "--size", size)
        assert ended.code in (0, 2), ended.err
