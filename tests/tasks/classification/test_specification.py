"""Test that a classifier is rebuilt from its checkpoint, and that a damaged checkpoint is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvkit.engine import checkpoint
from cvkit.errors import WeightsError
from cvkit.models.loaded import Request
from cvkit.tasks import registry
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.kind import KIND, from_checkpoint
from cvkit.tasks.classification.specification import NetworkSpec, own_facts

SPEC = NetworkSpec(name="lenet5", classes=3, size=(28, 28))
VIT = NetworkSpec(name="timm:test_vit", classes=3, size=(64, 64), arguments=("img_size=(64, 64)",))


def content_of(spec: NetworkSpec) -> dict[str, Any]:
    from dataclasses import replace

    facts = replace(own_facts("lenet5", spec.size), num_classes=3, labels=("a", "b", "c"))
    torch.manual_seed(0)
    network = spec.build()
    metadata = Classifier(network, facts, spec=spec).metadata()
    return {**metadata, "weights": network.state_dict(), "epoch": 2, "config": {"seed": 0}}


@pytest.mark.parametrize("spec", [SPEC, VIT], ids=lambda spec: spec.name)
def test_a_specification_is_rebuilt_from_plain_values(spec: NetworkSpec) -> None:
    assert NetworkSpec.from_dict(spec.as_dict()) == spec
    assert spec.build().eval()(torch.zeros(spec.shape)).shape == (1, 3)


@pytest.mark.parametrize("spec", [SPEC, VIT], ids=lambda spec: spec.name)
def test_a_classifier_is_rebuilt_from_its_checkpoint(tmp_path: Path, spec: NetworkSpec) -> None:
    content = content_of(spec)
    checkpoint.save(tmp_path / "best.pt", KIND.checkpoint, content)
    loaded = registry.load_model(Request(name=str(tmp_path / "best.pt")))
    assert loaded.spec == spec and loaded.facts.labels == ("a", "b", "c")  # type: ignore[attr-defined]
    assert loaded.facts.preprocessing == own_facts("lenet5", spec.size).preprocessing  # type: ignore[attr-defined]
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, content["weights"][name])
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, *spec.size), dtype=np.uint8))
    assert loaded.to(torch.device("cpu"), "fp32").run(images).shape == (2, 3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "mobilenet_v99"}, "mobilenet_v99"),
        ({"name": "timm:test_vit99"}, "test_vit99"),
        ({"name": "mobilenet_v3_small"}, "its weights do not fit mobilenet_v3_small"),
        ({"name": 3}, "does not describe a classifier"),
        ({"classes": 0}, "does not describe a classifier"),
        ({"classes": 4}, "not those of a network with 4 classes"),
        ({"classes": 10**12}, "not those of a network with 1000000000000 classes"),
        ({"size": [0, 28]}, "does not describe a classifier"),
        ({"size": [10**6, 10**6]}, "does not describe a classifier"),
        ({"size": [28]}, "does not describe a classifier"),
        ({"size": [32, 32]}, "its preprocessing is damaged"),
        ({"arguments": [3]}, "does not describe a classifier"),
        ({"extra": 1}, "does not describe a classifier"),
    ],
)
def test_a_wrong_specification_is_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    content = content_of(SPEC)
    content["spec"] |= values
    content["labels"] = []
    checkpoint.save(tmp_path / "best.pt", KIND.checkpoint, content)
    with pytest.raises(WeightsError, match=rf"best\.pt.*{said}"):
        registry.load_model(Request(name=str(tmp_path / "best.pt")))


def test_a_specification_that_asks_for_terabytes_is_refused(tmp_path: Path) -> None:
    content = content_of(SPEC)
    content["spec"] |= {"name": "basic-cnn", "size": [8192, 8192]}
    content["preprocessing"] |= {"crop": [8192, 8192], "resize": [8192, 8192]}
    checkpoint.save(tmp_path / "best.pt", KIND.checkpoint, content)
    with pytest.raises(WeightsError, match="its weights do not fit basic-cnn with 3 classes"):
        registry.load_model(Request(name=str(tmp_path / "best.pt")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preprocessing": {}}, "its preprocessing is damaged"),
        ({"labels": ["a", "b"]}, "its class names are damaged"),
        ({"labels": "abc"}, "its class names are damaged"),
        ({"class_ids": ["n1"]}, "its class names are damaged"),
        ({"weights": None}, "its weights are damaged"),
        ({"weights": {"out.weight": 3}}, "its weights are damaged"),
    ],
)
def test_damaged_facts_of_a_checkpoint_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        from_checkpoint({**content_of(SPEC), **change}, Path("best.pt"), "")


def test_a_checkpoint_without_labels_is_valid() -> None:
    loaded = from_checkpoint({**content_of(SPEC), "labels": []}, Path("best.pt"), "")
    assert loaded.facts.labels == () and loaded.facts.num_classes == 3
