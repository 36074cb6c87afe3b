"""Check shell completion as the script that Typer installs for bash calls it."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cvkit.catalog import SALIENCY_MODELS
from cvkit.cli import main as program
from cvkit.cli.console import ProgressMode
from cvkit.config.classification import METHODS
from cvkit.config.embedding import EMBEDDING_FORMATS
from cvkit.config.train_saliency import LOSSES
from cvkit.config.training import OPTIMIZERS
from cvkit.tasks.classification import names
from tests.test_architecture import HEAVY

from .options import options_by_command

MAX_SECONDS = 0.5


def bash(*words: str) -> dict[str, str]:
    """Return the environment in which bash asks for completions of the last word of ``cvkit words...``."""
    return {
        **os.environ,
        "_CVKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["cvkit", *words]),
        "COMP_CWORD": str(len(words)),
    }


def complete(*words: str) -> list[str]:
    """Return what bash offers for the last word of ``cvkit words...``."""
    command = [sys.executable, "-m", "cvkit"]
    ended = subprocess.run(command, env=bash(*words), capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines() if ended.stdout.strip() else []


def test_commands_are_completed() -> None:
    assert set(complete("")) == {command.name.split()[0] for command in program.ALL_COMMANDS}
    assert complete("train-s") == ["train-saliency"]
    assert complete("models", "sh") == ["show"]


def test_options_are_completed() -> None:
    expected = {flag for flag in options_by_command()[("train-saliency",)] if flag.startswith("--b")}
    assert set(complete("train-saliency", "--b")) == expected
    assert complete("evaluate", "--no-em") == ["--no-emd"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train-saliency", "--loss", ""), list(LOSSES)),
        (("train-saliency", "--loss", "kl-"), [loss for loss in LOSSES if loss.startswith("kl-")]),
        (("train-saliency", "--model", ""), list(SALIENCY_MODELS)),
        (("train-saliency", "--optimizer", ""), list(OPTIMIZERS)),
        (("gradcam", "--method", "guided"), [method for method in METHODS if method.startswith("guided")]),
        (("cae-embed", "--format", ""), list(EMBEDDING_FORMATS)),
        (("cae-embed", "--format", "csv,p"), [f"csv,{name}" for name in EMBEDDING_FORMATS if name.startswith("p")]),
        (("export", "--dynamic", "no"), ["none"]),
        (("predict", "--progress", ""), list(ProgressMode)),
    ],
)
def test_choices_are_completed(words: tuple[str, ...], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_paths_are_completed() -> None:
    Path("runs/one").mkdir(parents=True)
    Path("runs/two.onnx").touch()
    Path(".hidden").touch()
    for words in (("predict",), ("predict", "--model"), ("train-saliency", "--data"), ("resume",)):
        assert complete(*words, "")[-1] == "runs/"
        assert complete(*words, "runs/") == ["runs/one/", "runs/two.onnx"]
    assert "runs/" in complete("export", "ru")
    assert complete("train-saliency", "--weights", "r") == ["runs/"]


def test_model_names_are_completed() -> None:
    for words in (("gradcam", "--model"), ("models", "path")):
        found = complete(*words, "resnet1")
        assert {"resnet101", "resnet152", "resnet18"} <= set(found)
        assert all(name.startswith("resnet1") for name in found)
    assert "mlnet-paper" in complete("export", "mln") and "mlnet-paper" in complete("models", "show", "mln")
    assert "vgg16.IMAGENET1K_V1" in complete("classify", "--model", "vgg16.")
    assert "resnet18" in complete("train-saliency", "--backbone", "resn")


def test_layers_of_the_named_model_are_completed() -> None:
    found = complete("gradcam", "--model", "resnet18", "--layer", "layer4")
    assert "layer4" in found and "layer4.1.conv2" in found
    assert complete("gradcam", "--layer", "features.2") == [
        name for name in names.layers("vgg16") if name.startswith("features.2")
    ]  # of the default model


def test_classes_of_the_named_model_are_completed() -> None:
    assert complete("gradcam", "--model", "resnet18", "--class", "tabb") == ["tabby"]
    Path("labels.txt").write_text("car\ncargo ship\nbus\n")
    words = ("gradcam", "--model", "resnet18", "--weights", "own.pth", "--labels", "labels.txt", "--class", "car")
    assert complete(*words) == ["car", "cargo ship"]


def test_a_name_of_timm_is_completed_after_its_colon() -> None:
    """Bash divides ``timm:resnet18`` into three words, and replaces the last one only."""
    found = complete("gradcam", "--model", "timm", ":", "resnet10")
    assert "resnet10t" in found
    assert all(name.startswith("resnet10") for name in found)
    assert "resnet10t" in complete("train-saliency", "--backbone", "timm", ":", "resnet10")
    assert len(complete("gradcam", "--model", "timm", ":")) > 500
    assert "layer4" in complete("gradcam", "--model", "timm", ":", "resnet18", "--layer", "lay")


def test_fish_is_given_whole_names_of_timm() -> None:
    environment = {
        **os.environ,
        "_CVKIT_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": "cvkit gradcam --model timm:resnet10",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    command = [sys.executable, "-m", "cvkit"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "timm:resnet10t" in ended.stdout.splitlines()


def test_words_may_be_divided_by_spaces() -> None:
    environment = {**bash("gradcam", "--model", "vgg16.I"), "COMP_WORDS": "cvkit gradcam --model vgg16.I"}
    command = [sys.executable, "-m", "cvkit"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "vgg16.IMAGENET1K_V1" in ended.stdout.splitlines()


def test_unknown_names_complete_to_nothing() -> None:
    assert complete("gradcam", "--model", "no-such-model", "--layer", "lay") == []
    assert complete("gradcam", "--model", "zzzz") == []
    assert complete("predict", "gone/") == []


def seconds_of(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    return time.perf_counter() - start


SLOWEST = ("gradcam", "--model", "resnet18", "--class", "tabb")  # reads the table of names and the labels


def test_a_completion_takes_less_than_half_a_second() -> None:
    """On a busy machine, less than half of the time that ``import torch`` takes at the same moment."""
    command = [sys.executable, "-m", "cvkit"]
    median = statistics.median(seconds_of(command, bash(*SLOWEST)) for _ in range(3))
    assert median < MAX_SECONDS or median < 0.5 * seconds_of([sys.executable, "-c", "import torch"], dict(os.environ))


@pytest.mark.parametrize("words", [SLOWEST, ("gradcam", "--layer", "f"), ("train-saliency", "--backbone", "r")])
def test_a_completion_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "cvkit"]
    ended = subprocess.run(command, env=bash(*words), capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert ended.stdout and "cvkit" in loaded
    assert not loaded & set(HEAVY)


def test_own_networks_are_completed_for_every_command_that_takes_them() -> None:
    for words in (("classify", "--model"), ("gradcam", "--model"), ("export",), ("evaluate", "--model")):
        assert set(complete(*words, "basic")) == {"basic-cnn"}
    assert complete("evaluate", "--model", "mlnet") == [name for name in SALIENCY_MODELS if name.startswith("mlnet")]


def test_layers_and_classes_of_a_run_are_completed() -> None:
    Path("run").mkdir()
    document = {"model": "resnet18", "resolved": {"classes": ["roses", "tulips"]}}
    Path("run/config.json").write_text(json.dumps(document))
    assert complete("gradcam", "--model", "run", "--class", "r") == ["roses"]
    assert complete("gradcam", "--model", "run", "--layer", "layer4.1.conv2") == ["layer4.1.conv2"]
