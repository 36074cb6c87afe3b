"""Test that an explanation from the activation of the target layer equals that of the whole network."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.models.exported.graph import run_with_activation
from cvkit.tasks.attribution import METHODS, Explainer
from cvkit.tasks.attribution.shortcut import Shortcut
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import specification

SIZE = (64, 64)
BY_LAYER = [name for name, method in METHODS.items() if method.needs in ("gradients", "activation")]


def top_two(logits: Tensor) -> Tensor:
    return logits.topk(2, dim=1).indices


class Counting(nn.Module):
    """Counts the images that pass a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.images = layer, 0

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        output: Tensor = self.layer(images)
        return output


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg11", "timm:resnet10t", "densenet121"])
def test_explanations_equal_those_of_the_whole_network(name: str) -> None:
    torch.manual_seed(0)
    network = specification.make(name, 10).eval()
    target = default_target(specification.blueprint(name, 10), (1, 3, *SIZE), 10)
    shortcut = Shortcut(network, target, SIZE)
    images = torch.randn(3, 3, *SIZE)
    head = shortcut.head
    seen = []
    shortcut.head = lambda pixels: seen.append(len(pixels)) or head(pixels)  # type: ignore[func-returns-value]
    for method in BY_LAYER:
        whole = Explainer(network, target, method=method)(images, top_two)
        short = Explainer(network, target, method=method, shortcut=shortcut)(images, top_two)
        assert torch.equal(short.classes, whole.classes)
        assert torch.allclose(short.logits, whole.logits, atol=1e-5)
        assert torch.allclose(short.maps, whole.maps, atol=1e-5), method
    assert seen == [3] * len(BY_LAYER)


def test_the_layers_before_the_target_are_skipped_and_restored() -> None:
    counting = Counting(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(counting, nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(5)).eval()
    network(torch.zeros(1, 3, 8, 8))
    target = TargetLayer(name="2")
    shortcut = Shortcut(network, target, (8, 8))
    images = torch.randn(2, 3, 8, 8)
    _, activation = run_with_activation(network, "2", images)
    expected = Explainer(network, target)(images, top_two)
    shortcut.head = lambda _: activation.detach()
    counting.images = 0
    assert torch.allclose(Explainer(network, target, shortcut=shortcut)(images, top_two).maps, expected.maps)
    assert counting.images == 0
    assert all("forward" not in vars(module) for module in network.modules())
    assert torch.equal(network(images), expected.logits) and counting.images == 2


class Skipping(nn.Module):
    """A network in which a connection leads around the middle layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        output: Tensor = self.last((values + self.middle(values)).mean((2, 3)))
        return output


class InPlace(nn.Module):
    """A network whose own code writes into the output of a layer before the target layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.last(self.middle(F.relu(self.first(images), inplace=True)).mean((2, 3)))
        return output


@pytest.mark.parametrize(
    ("network", "message"), [(Skipping(), "in another way"), (InPlace(), "writes into the outputs of layers")]
)
def test_networks_that_cannot_be_divided_are_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shortcut(network.eval(), TargetLayer(name="middle"), (8, 8))
    assert all("forward" not in vars(module) for module in network.modules())
