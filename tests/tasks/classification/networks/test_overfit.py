"""Test that each network of the source documents overfits 32 photographs.

Each test takes up to a few minutes: run them with ``pytest -m slow``.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from cvkit.catalog import CLASSIFIERS, IMAGENET_MEAN, IMAGENET_STD
from cvkit.data.idx import read_idx
from cvkit.data.images import read_image, resize_image
from cvkit.tasks.classification.networks.build import build
from cvkit.tasks.classification.specification import make

pytestmark = [pytest.mark.slow, pytest.mark.shared]

IMAGES = 32
MAX_LOSS = 0.1  # mean cross entropy in evaluation mode; that of five classes at random is 1.61
CHECK_EVERY = 5


@dataclass(frozen=True)
class Setting:
    """How to train a network.

    Attributes:
        size: Side of the images in pixels.
        learning_rate: Its learning rate.
        steps: Largest number of steps; each uses all 32 images.
    """

    size: int
    learning_rate: float
    steps: int


FASHION = {
    "basic-cnn": Setting(28, 1e-3, 400),
    "lenet5": Setting(28, 3e-3, 60),
}
FLOWERS = {
    "alexnet-2012": Setting(131, 1e-4, 60),
    "xception-mini": Setting(64, 1e-3, 60),
    "resnet34": Setting(64, 1e-3, 40),
    "vgg16": Setting(32, 1e-4, 80),
    "googlenet": Setting(64, 1e-3, 40),
    "timm:legacy_xception": Setting(64, 3e-4, 20),
    "timm:legacy_senet154": Setting(32, 3e-4, 30),
}


def read_fashion_mnist(folder: Path) -> tuple[Tensor, Tensor]:
    """Return the first 32 images as (32, 1, 28, 28) in 0..1, and their classes."""
    images = torch.from_numpy(read_idx(folder / "train-images-idx3-ubyte.gz")[:IMAGES].copy())
    labels = torch.from_numpy(read_idx(folder / "train-labels-idx1-ubyte.gz")[:IMAGES].copy())
    return images[:, None].float() / 255, labels.long()


def read_flowers(folder: Path, side: int) -> tuple[Tensor, Tensor]:
    """Return 32 photographs of five classes as (32, 3, side, side) in 0..1, and their classes."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(sorted(path.iterdir()), label) for label, path in enumerate(classes)]
    chosen = [(files[i % len(files)][0][i // len(files)], i % len(files)) for i in range(IMAGES)]
    images = torch.stack([resize_image(read_image(path), (side, side)) for path, _ in chosen])
    return images.float() / 255, torch.tensor([label for _, label in chosen])


def overfit(network: nn.Module, images: Tensor, labels: Tensor, setting: Setting) -> tuple[int, float, float]:
    """Train until all images are classified and the loss is small; return (steps, loss, accuracy).

    The statistics of batch norms are computed anew before each check. Their moving averages start at a variance of 1:
    with them Xception classifies at chance after 55 steps, with statistics of the images it needs 5 steps.
    """
    optimizer = torch.optim.Adam(network.parameters(), setting.learning_rate)
    loss = accuracy = float("nan")
    for step in range(1, setting.steps + 1):
        optimizer.zero_grad()
        F.cross_entropy(network.train()(images), labels).backward()
        optimizer.step()
        if step % CHECK_EVERY == 0:
            update_bn([images], network)
            with torch.no_grad():
                logits = network.eval()(images)
            loss = F.cross_entropy(logits, labels).item()
            accuracy = (logits.argmax(1) == labels).double().mean().item()
            if accuracy == 1 and loss < MAX_LOSS:
                return step, loss, accuracy
    return setting.steps, loss, accuracy


@pytest.mark.parametrize("name", FASHION)
def test_a_network_overfits_32_images_of_fashion_mnist(name: str, shared: Path) -> None:
    setting, facts = FASHION[name], CLASSIFIERS[name]
    images, labels = read_fashion_mnist(shared / "data/fashion-mnist")
    torch.manual_seed(0)
    network = build(name, 10, (setting.size, setting.size), channels=1)
    steps, loss, accuracy = overfit(network, (images - facts.mean[0]) / facts.std[0], labels, setting)
    assert accuracy == 1 and loss < MAX_LOSS, f"{accuracy:.3f}, {loss:.3f} after {steps} steps"


@pytest.mark.parametrize("name", FLOWERS)
def test_a_network_overfits_32_photographs_of_flowers(name: str, shared: Path) -> None:
    setting, facts = FLOWERS[name], CLASSIFIERS.get(name)
    images, labels = read_flowers(shared / "data/flowers5/train", setting.size)
    mean, std = (facts.mean, facts.std) if facts else (IMAGENET_MEAN, IMAGENET_STD)
    images = (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    torch.manual_seed(0)
    network = build(name, 5, (setting.size, setting.size)) if facts else make(name, 5)
    steps, loss, accuracy = overfit(network, images, labels, setting)
    assert accuracy == 1 and loss < MAX_LOSS, f"{accuracy:.3f}, {loss:.3f} after {steps} steps"
