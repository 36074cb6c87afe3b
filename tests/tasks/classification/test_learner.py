"""Test the loss and the validation scores of classifiers in training, by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvkit.catalog import Preprocessing, Pretrained
from cvkit.config import TrainClassifierConfig
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.data.reading import ImageReader
from cvkit.tasks.classification.data.source import LabelledImages
from cvkit.tasks.classification.freezing import make_plan
from cvkit.tasks.classification.learner import ClassifierLearner, class_weights

Batch = dict[str, Tensor]


class Fixed(nn.Module):
    """A network that returns given logits, whatever the images."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.out = nn.Linear(1, 1)
        self.logits = torch.tensor(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)] + 0 * self.out.weight.sum()


def learner_of(network: nn.Module, labels: list[int], classes: int = 3, **options: Any) -> ClassifierLearner:
    steps = Preprocessing(resize=4, crop=(4, 4), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    facts = Pretrained(model="m", tag=None, preprocessing=steps, num_classes=classes)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 3), dtype=np.uint8)
    images = LabelledImages(labels=np.array(labels), names=[f"{k}.jpg" for k in range(len(labels))], array=pixels)
    data = ClassImages(ImageReader(images=images, preprocessing=steps, max_pixels=10**6))
    settings = TrainClassifierConfig(data="d", model="m", **options).resolved()
    classifier = Classifier(network, facts)
    plan = make_plan(network, ("out.weight", "out.bias"), settings)
    return ClassifierLearner(classifier, settings, plan, data, facts={"spec": {"classes": classes}})


def loss_of(logits: list[list[float]], labels: list[int], **options: Any) -> float:
    learner = learner_of(Fixed(logits), labels, len(logits[0]), **options)
    return learner.loss(learner.model, learner.data.batch(0, np.arange(len(labels)))).item()


def test_the_loss_is_the_mean_cross_entropy() -> None:
    # Softmax of (ln 6, ln 3, ln 1) is (0.6, 0.3, 0.1); of (0, 0, 0), a third each.
    logits = [[math.log(6), math.log(3), 0.0], [0.0, 0.0, 0.0]]
    assert loss_of(logits, [1, 2]) == pytest.approx((-math.log(0.3) - math.log(1 / 3)) / 2)


def test_label_smoothing_distributes_a_part_over_all_classes() -> None:
    logits = [[math.log(6), math.log(3), 0.0]]
    all_classes = -(math.log(0.6) + math.log(0.3) + math.log(0.1)) / 3
    expected = 0.9 * -math.log(0.3) + 0.1 * all_classes
    assert loss_of(logits, [1], label_smoothing=0.1) == pytest.approx(expected)


def test_class_weights_are_the_inverse_of_the_class_sizes() -> None:
    weights = class_weights(torch.tensor([0, 0, 0, 2]), 4)
    # Four images of two classes: 4 / (2 * 3) and 4 / (2 * 1); their mean over the images is 1.
    assert weights.tolist() == pytest.approx([2 / 3, 0, 2, 0])


def test_a_balanced_loss_is_the_mean_of_the_weighted_images() -> None:
    logits = [[math.log(6), math.log(3), 0.0]] * 4
    by_hand = (3 * 2 / 3 * -math.log(0.6) + 2 * -math.log(0.1)) / 4
    assert loss_of(logits, [0, 0, 0, 2], balance="loss") == pytest.approx(by_hand)


def test_a_balanced_loss_does_not_depend_on_the_division_into_batches() -> None:
    logits = [[1.0, 0.2, 0.0]] * 6
    learner = learner_of(Fixed(logits), [0, 0, 0, 1, 0, 2], balance="loss", label_smoothing=0.1)
    whole = learner.loss(learner.model, learner.data.batch(0, np.arange(6))).item()
    for sizes in ([6], [2, 4], [1] * 6):
        parts = np.split(np.arange(6), np.cumsum(sizes)[:-1])
        losses = [learner.loss(learner.model, learner.data.batch(0, part)).item() for part in parts]
        assert np.average(losses, weights=sizes) == pytest.approx(whole)


def test_mixing_is_a_function_of_the_seed_of_the_step() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    learner = learner_of(network, [0, 1, 2, 0, 1, 2], mixup=0.4, cutmix=1.0)
    batch = learner.data.batch(0, np.arange(6))
    pixels = batch["image"].clone()
    losses = []
    for seed in (*range(6), 0):
        torch.manual_seed(seed)
        losses.append(learner.loss(network, batch).item())
    assert losses[0] == losses[6] and len(set(losses)) == 6
    assert torch.equal(batch["image"], pixels)


def test_mixed_images_are_compared_with_mixed_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_of(Fixed([[math.log(6), math.log(3), 0.0]] * 2), [0, 2], mixup=0.4)
    mixed: list[Tensor] = []
    mixing = learner._mixing

    def record(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = mixing(images, labels)
        mixed.append(labels)
        return images, labels

    monkeypatch.setattr(learner, "_mixing", record)
    loss = learner.loss(learner.model, learner.data.batch(0, np.arange(2))).item()
    logs = torch.tensor([0.6, 0.3, 0.1]).log()
    assert loss == pytest.approx(float(-(mixed[0] * logs).sum(1).mean()))
    assert mixed[0].sum(1).tolist() == pytest.approx([1, 1])


def test_the_scores_of_each_image_are_its_loss_and_whether_it_is_right() -> None:
    logits = [[math.log(6), math.log(3), 0.0]] * 3
    learner = learner_of(Fixed(logits), [0, 1, 2], label_smoothing=0.2, balance="loss", mixup=1.0)
    scores = learner.scores(learner.model, learner.data.batch(0, np.arange(3)))
    assert scores["loss"].tolist() == pytest.approx([-math.log(p) for p in (0.6, 0.3, 0.1)])
    assert scores["accuracy"].tolist() == [1, 0, 0]
    assert "top5_accuracy" not in scores


def test_six_classes_or_more_have_a_top_5_accuracy() -> None:
    logits = [[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 3
    learner = learner_of(Fixed(logits), [0, 4, 5], classes=6)
    scores = learner.scores(learner.model, learner.data.batch(0, np.arange(3)))
    assert scores["top5_accuracy"].tolist() == [1, 1, 0] and scores["accuracy"].tolist() == [1, 0, 0]


def test_images_are_normalised_as_the_weights_require() -> None:
    seen: list[Tensor] = []

    class Recording(Fixed):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images)

    learner = learner_of(Recording([[0.0, 0.0, 0.0]] * 2), [0, 1])
    batch: Batch = learner.data.batch(0, np.arange(2))
    learner.loss(learner.model, batch)
    learner.scores(learner.model, batch)
    for images in seen:
        torch.testing.assert_close(images, (batch["image"] / 255 - 0.5) / 0.5)


def test_a_message_names_at_most_eight_files() -> None:
    learner = learner_of(Fixed([[0.0, 0.0, 0.0]]), [0, 1, 2] * 4)
    assert learner.names(learner.data.batch(0, np.array([3, 5]))) == ["3.jpg", "5.jpg"]
    names = learner.names(learner.data.batch(0, np.arange(9)))
    assert len(names) == 9 and names[-1] == "..."
