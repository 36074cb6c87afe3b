"""Fixtures of the attribution tests: a network whose maps are computed by hand, real classifiers and photographs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cvkit.catalog import Pretrained
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier

PHOTOS = ("photos/both.png", "photos/dog.jpg", "photos/dog_cat.jfif", "photos/horses.jpg")


class Tiny(nn.Module):
    """A network with two channels of 2x2 positions, an in-place ReLU and a linear head with 2 classes."""

    def __init__(self, head: list[list[float]]) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        self.features.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 2, bias=False)
        self.head.weight.data = torch.tensor(head)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.relu(self.features(images)).flatten(1))


@pytest.fixture
def tiny() -> Tiny:
    """Return a network with known weights."""
    return Tiny([[1.0, 2.0, 0.0, 1.0, -1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 3.0, 1.0, 0.0, 4.0, 0.0, 0.0]])


def load_shared(shared: Path, name: str) -> Classifier:
    """Load a classifier with its published weights."""
    return Classifier(*_loaded(shared, name))


def _loaded(shared: Path, name: str) -> tuple[nn.Module, "Pretrained"]:
    loaded = loading.load(name, str(shared / f"data/weights/{name}-torchvision.pth"))
    return loaded.network, loaded.facts


def photographs(shared: Path, classifier: Classifier, more: int = 0) -> Tensor:
    """Return real photographs (N, 3, h, w), normalised for the classifier."""
    paths = [shared / "data" / name for name in PHOTOS]
    paths += sorted((shared / "data/imagenet-samples").glob("*.JPEG"))[:more]
    fitted = [fit_crop(read_image(path), classifier.preprocessing)[0] for path in paths]
    return classifier.normalise(torch.stack(fitted))
