"""Test the network at the start of a training run: its weights, its last layer and its preprocessing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvkit.catalog import CLASSIFIERS
from cvkit.config import TrainClassifierConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models import fetch
from cvkit.models.published import pretrained
from cvkit.progress import Event
from cvkit.tasks.classification.networks.build import build
from cvkit.tasks.classification.specification import make
from cvkit.tasks.classification.starting import StartedClassifier, start_classifier

CLASSES = ("ant", "bee", "cat")
TINY = "timm:test_resnet"


def start(model: str, weights: str = "none", **options: Any) -> StartedClassifier:
    settings = TrainClassifierConfig(data="d", model=model, weights=weights, **options)
    return start_classifier(settings.resolved(), CLASSES, lambda _: None)


def save(path: Path, network: nn.Module) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


def seeded(name: str, classes: int) -> nn.Module:
    torch.manual_seed(9)
    return make(name, classes)


def assert_only_the_last_layer_is_new(started: StartedClassifier, expected: dict[str, Tensor]) -> None:
    for name, value in started.network.state_dict().items():
        if name in started.head:
            assert value.shape[0] == len(CLASSES)
        else:
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (TINY, "fc"),
        ("timm:test_vit", "head"),
        ("squeezenet1_1", "classifier.1"),
    ],
)
def test_only_the_last_layer_is_random(tmp_path: Path, name: str, head: str) -> None:
    other = seeded(name, 7)
    started = start(name, save(tmp_path / "w.pth", other))
    assert started.head == (f"{head}.weight", f"{head}.bias")
    assert_only_the_last_layer_is_new(started, other.state_dict())
    assert started.weights == str(tmp_path / "w.pth")
    assert (started.spec.classes, started.facts.num_classes, started.facts.labels) == (3, 3, CLASSES)
    assert not torch.equal(started.network.state_dict()[f"{head}.weight"], other.state_dict()[f"{head}.weight"][:3])


def test_the_last_layer_of_as_many_classes_is_random_too(tmp_path: Path) -> None:
    other = seeded(TINY, 3)
    started = start(TINY, save(tmp_path / "w.pth", other))
    assert_only_the_last_layer_is_new(started, other.state_dict())
    assert not torch.equal(started.network.state_dict()["fc.weight"], other.state_dict()["fc.weight"])


def test_the_last_layer_is_a_function_of_the_seed(tmp_path: Path) -> None:
    file = save(tmp_path / "w.pth", seeded(TINY, 5))
    weights = []
    for seed in (0, 0, 1):
        torch.rand(3)
        weights.append(start(TINY, file, seed=seed).network.state_dict()["fc.weight"])
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_last_layer_has_small_outputs(tmp_path: Path) -> None:
    """The default of timm's EfficientNets is far larger."""
    name = "timm:test_efficientnet"
    started = start(name, save(tmp_path / "w.pth", seeded(name, 5)))
    bound = started.network.get_submodule("classifier").in_features ** -0.5
    assert started.network.state_dict()["classifier.weight"].abs().max() <= bound


def test_random_weights_are_a_function_of_the_seed() -> None:
    one, same, other = (start(TINY, seed=seed).network.state_dict()["conv1.0.weight"] for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert start(TINY).weights == ""


@pytest.mark.parametrize("name", ["lenet5", "basic-cnn"])
def test_networks_of_cvkit_start_from_random_weights_or_from_a_file(tmp_path: Path, name: str) -> None:
    facts = CLASSIFIERS[name]
    started = start(name)
    assert started.weights == "" and started.spec.size == facts.size
    assert started.facts.preprocessing.crop == started.facts.preprocessing.resize == facts.size
    torch.manual_seed(9)
    other = build(name, 8, facts.size, facts.channels)
    assert_only_the_last_layer_is_new(start(name, save(tmp_path / "w.pth", other)), other.state_dict())


def test_a_checkpoint_of_cvkit_is_a_weights_file(tmp_path: Path) -> None:
    other = seeded(TINY, 4)
    torch.save({"kind": "classifier", "weights": other.state_dict(), "epoch": 3}, tmp_path / "best.pt")
    assert_only_the_last_layer_is_new(start(TINY, str(tmp_path / "best.pt")), other.state_dict())


def test_published_weights_have_their_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = seeded(TINY, 1000)
    file = save(tmp_path / "w.pth", other)
    monkeypatch.setattr(fetch, "download", lambda *_: Path(file))
    started = start(TINY, "imagenet")
    assert_only_the_last_layer_is_new(started, other.state_dict())
    assert started.facts.preprocessing == pretrained.facts(TINY).preprocessing
    assert started.spec.size == started.facts.preprocessing.crop


def test_options_change_the_preprocessing() -> None:
    started = start(TINY, input_size=(48, 64), mean=(0.1, 0.2, 0.3), crop_pct=1.0)
    assert started.spec.size == started.facts.preprocessing.crop == (48, 64)
    assert started.facts.preprocessing.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("with_file", [True, False])
def test_a_transformer_is_built_for_another_input_size(tmp_path: Path, with_file: bool) -> None:
    name = "timm:test_vit"
    weights = save(tmp_path / "w.pth", seeded(name, 5)) if with_file else "none"
    started = start(name, weights, input_size=(64, 64))
    assert started.network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    assert started.spec.build().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_arguments_of_the_network_are_kept(tmp_path: Path) -> None:
    for weights in ("none", save(tmp_path / "w.pth", seeded(TINY, 5))):
        started = start(TINY, weights, model_arg=("drop_rate=0.25",))
        assert started.spec.arguments == ("drop_rate=0.25",)
        assert started.network.drop_rate == started.spec.build().drop_rate == 0.25


@pytest.mark.parametrize(
    ("model", "weights", "options", "said"),
    [
        ("timm:test_resnett", "none", {}, "Did you mean 'timm:test_resnet'"),
        ("mobilenet_v22", "none", {}, "Did you mean"),
        ("basic-cn", "none", {}, "Did you mean 'basic-cnn'"),
        (
            "alexnet",
            "none",
            {"input_size": (20, 20)},
            "alexnet.* does not run: The network cannot process images of 20x20 pixels",
        ),
        ("basic-cnn", "none", {"input_size": (4, 4)}, "basic-cnn needs images of at least 8x8"),
        (TINY, "none", {"model_arg": ("xyz=3",)}, "--model-arg xyz"),
        ("lenet5", "none", {"model_arg": ("xyz=3",)}, "--model-arg"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(
    model: str, weights: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        start(model, weights, **options)


def test_imagenet_weights_that_are_not_published_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="basic-cnn has no published weights; use none or a file"):
        start("basic-cnn", "imagenet")
    entry = replace(pretrained.facts(TINY), source="")
    monkeypatch.setattr(pretrained, "facts", lambda _: entry)
    with pytest.raises(UsageError, match=f"{TINY} has no published weights; use none or a file"):
        start(TINY, "imagenet")


@pytest.mark.parametrize("model", ["squeezenet1_1", "basic-cnn"])
def test_weights_of_another_network_name_it(tmp_path: Path, model: str) -> None:
    # The name of the file shows the network; without it, all networks of torchvision would be compared for seconds.
    file = save(tmp_path / "mobilenet_v3_small-1.pth", seeded("mobilenet_v3_small", 1000))
    with pytest.raises(WeightsError, match=r"does not fit.* Did you forget --model mobilenet_v3_small\?"):
        start(model, file)


def test_a_file_that_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("<html>")
    for name in (TINY, "basic-cnn"):
        with pytest.raises(WeightsError, match=r"cannot be read as weights|is not a file of tensors"):
            start(name, str(tmp_path / "w.pth"))
        with pytest.raises(WeightsError, match="nowhere"):
            start(name, "nowhere.pth")


def test_the_note_about_assumed_preprocessing_is_reported(tmp_path: Path) -> None:
    file = save(tmp_path / "w.pth", seeded(TINY, 5))
    events: list[Event] = []
    settings = TrainClassifierConfig(data="d", model=TINY, weights=file).resolved()
    start_classifier(settings, CLASSES, events.append)
    assert any("is none of the published files" in str(getattr(event, "text", "")) for event in events)
