"""Test which network a weights file is recognised as."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models

from cvkit.models import recognition
from cvkit.models.recognition import recognise_network


def tensors_of(name: str, classes: int = 1000) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(models.get_model(name, weights=None, num_classes=classes).state_dict())


@pytest.fixture
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with few networks of torchvision, because all of them take 4 s."""
    names = ["mobilenet_v2", "resnet18", "resnet34", "vgg16", "wide_resnet50_2", "resnet50"]
    monkeypatch.setattr(recognition, "torchvision_names", lambda: names)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mobilenet_v2.pth", "mobilenet_v2"),
        ("mobilenet_v2-b0353104.pth", "mobilenet_v2"),
        ("MobileNet_V2_mine.safetensors", "mobilenet_v2"),
        ("vgg16_bn-6c64b313.pth", "vgg16_bn"),
        ("tf_efficientnet_lite0-timm.pth", "timm:tf_efficientnet_lite0"),
        ("resnet18-5c106cde.pth", "resnet18"),
        ("resnet180.pth", None),
        ("best.pth", None),
    ],
)
def test_a_file_without_known_tensors_is_recognised_by_its_name(file: str, name: str | None) -> None:
    assert recognise_network(Path(file), {"x": torch.zeros(3)}) == name


@pytest.mark.usefixtures("few_networks")
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_is_recognised_by_its_tensors_whatever_its_head_prefix_and_name(prefix: str) -> None:
    for name, classes in (("resnet18", 1000), ("mobilenet_v2", 5), ("resnet50", 3), ("vgg16", 1000)):
        tensors = tensors_of(name, classes)
        if name == "vgg16":
            tensors = {key: value for key, value in tensors.items() if key.startswith("features.")}
        named = {prefix + key: value for key, value in tensors.items()}
        assert recognise_network(Path("best.pth"), named) == name
    assert recognise_network(Path("resnet34.pth"), tensors_of("resnet18")) == "resnet18"
    assert recognise_network(Path("resnet50-mine.pth"), tensors_of("resnet50"), search=False) == "resnet50"
    assert recognise_network(Path("best.pth"), tensors_of("resnet50"), search=False) is None


@pytest.mark.usefixtures("few_networks")
def test_a_network_of_timm_is_recognised_by_name_and_tensors() -> None:
    import timm

    with torch.device("meta"):
        tensors = dict(timm.create_model("resnet18d", num_classes=7).state_dict())
    assert recognise_network(Path("resnet18d_ra2-48a79e06.pth"), tensors) == "timm:resnet18d"


@pytest.mark.slow
def test_networks_are_found_among_all_of_torchvision() -> None:
    for name in ("densenet121", "vit_b_16", "wide_resnet50_2"):
        assert recognise_network(Path("best.pth"), tensors_of(name)) == name
    regnet = dict(models.get_model("regnet_y_400mf", weights=None).state_dict())  # cannot be built on the meta device
    assert recognise_network(Path("best.pth"), regnet) == "regnet_y_400mf"
