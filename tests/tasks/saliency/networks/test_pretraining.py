from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cvkit.errors import WeightsError
from cvkit.models.weights import read_tensors
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.build import SaliencySpec, build
from cvkit.tasks.saliency.networks.pretraining import load_backbone
from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX


@pytest.fixture(scope="module")
def mlnet() -> SaliencyModel:
    torch.manual_seed(0)
    return build(SaliencySpec.of("mlnet"))


@pytest.fixture(scope="module")
def vgg_tensors(mlnet: SaliencyModel) -> dict[str, Tensor]:
    """Other values than the network's own, under the names of vgg16-conv.pth."""
    return {
        name: torch.full_like(value, 0.001 * i + 0.001)
        for i, (name, value) in enumerate(mlnet.backbone.state_dict().items())
    }


def torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, value in tensors.items():
        layer, kind = name.split(".")
        named[f"features.{TORCHVISION_INDEX[layer]}.{kind}"] = value
    return {**named, "features.28.weight": torch.zeros(512, 512, 3, 3), "classifier.0.bias": torch.zeros(4)}


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        ("own", ".pth"), ("own", ".safetensors"), ("torchvision", ".pth"), ("torchvision", ".safetensors"),
        ("module.", ".pt"), ("backbone.", ".pth"), ("module.torchvision", ".pth"), ("container", ".pth"),
        ("half", ".pth"),
    ],
)  # fmt: skip
def test_vgg16_loads_in_every_naming(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path, form: str, suffix: str
) -> None:
    content: dict[str, Any] = {
        "own": vgg_tensors,
        "torchvision": torchvision_names(vgg_tensors),
        "module.": prefixed(vgg_tensors, "module."),
        "backbone.": prefixed(vgg_tensors, "backbone."),
        "module.torchvision": prefixed(torchvision_names(vgg_tensors), "module."),
        "container": {"epoch": 3, "state_dict": vgg_tensors},
        "half": {name: value.half() for name, value in vgg_tensors.items()},
    }[form]
    path = tmp_path / f"weights{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    start_again(mlnet)
    load_backbone(mlnet, path, zero_bias=False)
    for name, value in mlnet.backbone.state_dict().items():
        torch.testing.assert_close(value, vgg_tensors[name], rtol=1e-3, atol=0)
        assert value.dtype == torch.float32
    assert mlnet.spec.fixed_norm


def start_again(model: SaliencyModel) -> None:
    with torch.no_grad():
        for value in model.backbone.parameters():
            value.zero_()


def test_biases_become_zero_for_mlnet_unless_told_otherwise(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "vgg16-conv.pth"
    torch.save(vgg_tensors, path)
    load_backbone(mlnet, path)
    for name, value in mlnet.backbone.named_parameters():
        assert (value == 0).all() if name.endswith("bias") else torch.equal(value, vgg_tensors[name])
    load_backbone(mlnet, path, zero_bias=False)
    assert all(torch.equal(value, vgg_tensors[name]) for name, value in mlnet.backbone.named_parameters())


def test_none_changes_nothing() -> None:
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_backbone(model, "none")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.spec.fixed_norm


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "timm:mobilenetv3_small_100", "timm:resnet10t", "timm:convnext_atto"]
)
def test_full_classifiers_load_into_feature_extractors(name: str, tmp_path: Path) -> None:
    import timm
    import torchvision

    torch.manual_seed(1)
    short = name.removeprefix("timm:")
    classifier = (
        timm.create_model(short) if name.startswith("timm:") else torchvision.models.get_model(name, weights=None)
    ).eval()
    path = tmp_path / "classifier.safetensors"
    save_file(classifier.state_dict(), path)
    model = build(SaliencySpec.of("mlnet", backbone=name)).eval()
    load_backbone(model, path)
    loaded = {value.sum().item() for value in model.backbone.state_dict().values() if value.dim() > 1}
    given = {value.sum().item() for value in classifier.state_dict().values() if value.dim() > 1}
    assert loaded and loaded <= given


def test_a_wrong_file_names_the_first_tensors_and_changes_nothing(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    start_again(mlnet)
    wrong = {**vgg_tensors, "conv1_1.weight": torch.zeros(64, 1, 3, 3)}
    del wrong["conv2_1.bias"]
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as caught:
        load_backbone(mlnet, tmp_path / "wrong.pth")
    assert "conv1_1.weight is 64x1x3x3, 64x3x3x3 is needed; conv2_1.bias is missing (of 16 tensors)" in str(
        caught.value
    )
    assert all((value == 0).all() for value in mlnet.backbone.parameters())

    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"conv1_1.weight is missing; .* and 13 more \(of 16 tensors\)"):
        load_backbone(mlnet, tmp_path / "other.pth")


def test_imagenet_without_internet_says_how_to_go_on(mlnet: SaliencyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_network)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(WeightsError, match=r"cvkit models download vgg16.*--weights FILE.*--weights none"):
        load_backbone(mlnet, "imagenet")


@pytest.mark.shared
def test_the_real_mobilenet_gives_the_features_of_the_whole_network(shared: Path) -> None:
    import torchvision

    path = shared / "data/weights/mobilenet_v2-torchvision.pth"
    model = build(SaliencySpec.of("mlnet", backbone="mobilenet_v2"))
    load_backbone(model, path)
    model.train()  # its norms are folded (mean 0, variance 1): they must not use a batch's statistics in training
    whole = torchvision.models.mobilenet_v2(weights=None).eval()
    whole.load_state_dict(read_tensors(path))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images)[-1], whole.features(images))
