"""Test features that frozen layers compute once, in place of running them in every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvkit.catalog import Preprocessing, Pretrained
from cvkit.config import TrainClassifierConfig
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages, FeatureBatches
from cvkit.tasks.classification.data.reading import ImageReader
from cvkit.tasks.classification.data.source import LabelledImages
from cvkit.tasks.classification.features import compute_features, find_last_layers
from cvkit.tasks.classification.freezing import make_plan
from cvkit.tasks.classification.learner import ClassifierLearner

SHAPE = (3, 8, 8)


class Network(nn.Module):
    """A network that flattens the features of ``features``, as the networks of torchvision do."""

    def __init__(self, *last: nn.Module, width: int = 4, pool: int = 1, name: str = "classifier") -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(pool)
        )
        self.name = name
        self.add_module(name, last[0] if len(last) == 1 else nn.Sequential(*last))

    def forward(self, images: Tensor) -> Tensor:
        return self.get_submodule(self.name)(self.features(images).flatten(1))


class Dropping(Network):
    """A network with dropout by a function, as in timm."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).flatten(1)
        return self.get_submodule(self.name)(nn.functional.dropout(features, 0.5, self.training))


class Pooling(nn.Module):
    """A network whose last layer is a convolution that is pooled, as in SqueezeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images)).flatten(1)


def mobilenet() -> nn.Module:
    return Network(nn.Dropout(0.2), nn.Linear(4, 3))


def resnet() -> nn.Module:
    return Network(nn.Linear(4, 3), name="fc")


def vgg() -> nn.Module:
    hidden = nn.Linear(16, 6)
    return Network(hidden, nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 3), pool=2)


LIKE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mobilenet": (mobilenet, 2),
    "resnet": (resnet, 1),
    "vgg": (vgg, 3),
}


def head_of(network: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in list(network.named_parameters())[-2:])


def learner_of(network: nn.Module, **options: Any) -> tuple[ClassifierLearner, ClassImages]:
    torch.manual_seed(0)
    steps = Preprocessing(resize=8, crop=(8, 8))
    facts = Pretrained(model="m", tag=None, preprocessing=steps, num_classes=3)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    images = LabelledImages(labels=np.arange(10) % 3, names=[str(k) for k in range(10)], array=pixels)
    data = ClassImages(ImageReader(images=images, preprocessing=steps, max_pixels=10**6))
    settings = TrainClassifierConfig(data="d", model="m", freeze="backbone", **options).resolved()
    classifier = Classifier(network, facts)
    plan = make_plan(network, head_of(network), settings)
    return ClassifierLearner(classifier, settings, plan, data, facts={"spec": {"classes": 3}}), data


def train(learner: ClassifierLearner, data: ClassImages | FeatureBatches, epochs: int = 3) -> list[float]:
    """Train with Adam, with the random numbers of each step seeded as in the training loop, and return the losses."""
    optimizer = torch.optim.Adam([p for p in learner.model.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for epoch in range(epochs):
        learner.start_epoch(learner.model, epoch)
        for batch in (np.array([1, 4, 7, 2]), np.array([0, 9, 3])):
            torch.manual_seed(epoch)
            loss = learner.loss(learner.model, data.batch(epoch, batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", LIKE)
def test_training_on_features_equals_running_all_layers_in_every_epoch(name: str) -> None:
    build, length = LIKE[name]
    torch.manual_seed(1)
    one, other = build(), build()
    other.load_state_dict(one.state_dict())
    learner, data = learner_of(one)
    learner.start_epoch(one, 0)
    last_layers = find_last_layers(one, head_of(one), SHAPE)
    assert last_layers is not None and len(last_layers) == length
    learner.last_layers = last_layers
    features = FeatureBatches(data, compute_features(learner.classifier, last_layers, data, lambda _: None))
    on_features, on_images = train(learner, features), train(learner_of(other)[0], data)
    assert on_features == pytest.approx(on_images, rel=1e-5)
    assert on_features[-1] != pytest.approx(on_features[0], rel=0.01)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key], rtol=1e-4, atol=1e-6)
    assert learner.scores(one, features.batch(0, np.arange(3)))["accuracy"].shape == (3,)


def test_an_output_that_is_pooled_is_refused() -> None:
    network = Pooling()
    assert find_last_layers(network.eval(), head_of(network), SHAPE) is None


def test_an_input_that_is_random_in_training_is_refused() -> None:
    network = Dropping(nn.Linear(4, 3), name="fc")
    learner, _ = learner_of(network)
    learner.start_epoch(network, 0)
    assert find_last_layers(network, head_of(network), SHAPE) is None
    assert find_last_layers(network.eval(), head_of(network), SHAPE) is not None


def test_a_network_that_is_one_layer_has_no_features() -> None:
    assert find_last_layers(nn.Linear(4, 3), ("weight", "bias"), (4,)) is None


def test_the_search_keeps_the_mode_of_every_layer() -> None:
    network = vgg()
    learner, _ = learner_of(network)
    learner.start_epoch(network, 0)
    modes = [module.training for module in network.modules()]
    assert True in modes and False in modes
    find_last_layers(network, head_of(network), SHAPE)
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_features_are_those_of_evaluation_mode_for_every_image() -> None:
    network = mobilenet()
    learner, data = learner_of(network)
    last_layers = find_last_layers(network, head_of(network), SHAPE)
    assert last_layers is not None
    done: list[int] = []
    features = compute_features(learner.classifier, last_layers, data, done.append)
    images = learner.classifier.normalise(data.images(np.arange(10)))
    torch.testing.assert_close(features, network.eval().features(images).flatten(1))
    assert done == [10] and not features.is_inference()
