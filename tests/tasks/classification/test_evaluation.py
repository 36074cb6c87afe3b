import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_recall_fscore_support
from torch import Tensor

from cvkit.catalog import METRICS
from cvkit.intervals import proportion
from cvkit.tasks.classification.evaluation import (
    REPORT_COLUMNS,
    calibration_error,
    evaluate_probabilities,
    metrics_document,
    reliability_bins,
    report_rows,
    worst_mistakes,
)

# Six images of three of four classes. Predictions: 0, 0, 1, 1, 1, 0; correct: the first, third, fourth and sixth.
TRUTH = torch.tensor([0, 1, 1, 1, 2, 0])
PROBABILITIES = torch.tensor(
    [
        [0.9, 0.1, 0.0, 0.0],
        [0.6, 0.4, 0.0, 0.0],
        [0.3, 0.7, 0.0, 0.0],
        [0.2, 0.8, 0.0, 0.0],
        [0.0, 0.95, 0.05, 0.0],
        [0.5, 0.25, 0.25, 0.0],
    ],
    dtype=torch.float64,
)


def random_case(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(count, classes, generator=generator)).softmax(1)
    return torch.randint(classes, (count,), generator=generator), probabilities


def test_scores_by_hand() -> None:
    scores = evaluate_probabilities(TRUTH, PROBABILITIES)
    assert scores.count == 6 and scores.accuracy == proportion(4, 6)
    # Class 0: 3 predictions, 2 images, 2 correct. Class 1: 3, 3, 2. Class 2: 0, 1, 0. Class 3 does not occur.
    f1 = [2 * 2 / 5, 2 * 2 / 6, 0.0]
    assert [each.f1 for each in scores.classes[:3]] == pytest.approx(f1)
    assert scores.macro_f1 == pytest.approx(sum(f1) / 3)
    assert [each.precision for each in scores.classes[:2]] == pytest.approx([2 / 3, 2 / 3])
    assert [each.recall for each in scores.classes[:3]] == pytest.approx([1, 2 / 3, 0])
    assert [each.count for each in scores.classes] == [2, 3, 1, 0]
    assert math.isnan(scores.classes[2].precision)
    assert all(math.isnan(getattr(scores.classes[3], name)) for name in ("precision", "recall", "f1"))
    # Each confidence lies in its own bin: 0.9 in bin 14 (of 15, from 1), 0.6 on the upper border of bin 9, and so on.
    errors = [abs(1 - 0.9), 0.6, abs(1 - 0.7), abs(1 - 0.8), 0.95, abs(1 - 0.5)]
    assert scores.ece == pytest.approx(sum(errors[:1] + errors[1:4] + errors[5:]) / 6 + errors[4] / 6)
    assert scores.log_loss == pytest.approx(-sum(map(math.log, [0.9, 0.4, 0.7, 0.8, 0.05, 0.5])) / 6)
    assert scores.confusion().tolist() == [[2, 0, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(("count", "classes"), [(400, 7), (300, 2), (40, 30)])
def test_scores_equal_those_of_scikit_learn(count: int, classes: int) -> None:
    truth, probabilities = random_case(count, classes)
    scores = evaluate_probabilities(truth, probabilities)
    true, predicted = truth.numpy(), probabilities.numpy().argmax(1)
    assert scores.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))
    everything = list(range(classes))
    expected = precision_recall_fscore_support(true, predicted, labels=everything, zero_division=np.nan)
    for k, name in enumerate(("precision", "recall", "f1")):
        values = [getattr(each, name) for each in scores.classes]
        assert values == pytest.approx(expected[k].tolist(), nan_ok=True), name
    assert np.array_equal(scores.confusion(), confusion_matrix(true, predicted, labels=everything))
    assert scores.confusion().dtype == np.int64
    double = probabilities.double() / probabilities.double().sum(1, keepdim=True)
    assert scores.log_loss == pytest.approx(log_loss(true, double.numpy(), labels=everything), rel=1e-6)


def naive_calibration_error(truth: Tensor, probabilities: Tensor) -> float:
    """Compute equation 5 of Guo et al. 2017 by loops over bins and images."""
    error = 0.0
    for m in range(1, 16):
        bin_images = []
        for true, row in zip(truth.tolist(), probabilities.tolist(), strict=True):
            if (m - 1) / 15 < max(row) <= m / 15:
                bin_images.append((max(row), row.index(max(row)) == true))
        if bin_images:
            accuracy = sum(correct for _, correct in bin_images) / len(bin_images)
            confidence = sum(value for value, _ in bin_images) / len(bin_images)
            error += len(bin_images) / len(truth) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_calibration_error_equals_a_loop_over_bins_and_images(classes: int) -> None:
    truth, probabilities = random_case(300, classes, seed=1)
    assert evaluate_probabilities(truth, probabilities).ece == pytest.approx(
        naive_calibration_error(truth, probabilities), abs=1e-9
    )


def test_a_confidence_on_a_border_belongs_to_the_lower_bin() -> None:
    values = torch.tensor([0.0, 1 / 15, 2 / 15, 0.6, 0.6000001, 1.0, 1.0000001], dtype=torch.float64)
    bins = reliability_bins(values, torch.ones(7, dtype=torch.bool))
    assert {k: each.count for k, each in enumerate(bins) if each.count} == {0: 2, 1: 1, 8: 1, 9: 1, 14: 2}
    assert bins[8].high == bins[9].low == 0.6
    assert math.isnan(bins[5].accuracy) and math.isnan(bins[5].confidence)


def test_calibration_error_of_known_bins() -> None:
    # Two bins: 4 images at 0.9 of which 3 are correct, and 1 wrong image at 0.3.
    confidence = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.3], dtype=torch.float64)
    bins = reliability_bins(confidence, torch.tensor([True, True, True, False, False]))
    assert calibration_error(bins) == pytest.approx((4 * 0.15 + 1 * 0.3) / 5)
    assert (bins[13].accuracy_low, bins[13].accuracy_high) == (proportion(3, 4).low, proportion(3, 4).high)


def test_top5_accuracy_is_undefined_for_five_classes_or_fewer() -> None:
    truth, probabilities = random_case(50, 5)
    assert math.isnan(evaluate_probabilities(truth, probabilities).top5_accuracy)
    truth, probabilities = random_case(50, 6)
    lowest = probabilities.argmin(1) == truth
    assert evaluate_probabilities(truth, probabilities).top5_accuracy == pytest.approx(1 - lowest.double().mean())


def test_equal_probabilities_rank_by_class_index() -> None:
    scores = evaluate_probabilities(torch.tensor([0, 6]), torch.full((2, 8), 1 / 8))
    assert scores.predicted.tolist() == [0, 0]
    assert scores.accuracy.value == 0.5 and scores.top5_accuracy == 0.5


def test_the_log_loss_of_an_impossible_class_is_finite() -> None:
    scores = evaluate_probabilities(torch.tensor([1]), torch.tensor([[1.0, 0.0]]))
    assert scores.log_loss == pytest.approx(52 * math.log(2))  # the distance of 1 to the next float64 is 2 ** -52


def test_half_precision_is_accepted() -> None:
    truth, probabilities = random_case(20, 6)
    for dtype in (torch.float16, torch.bfloat16):
        assert evaluate_probabilities(truth, probabilities.to(dtype)).count == 20


@pytest.mark.parametrize("classes", [1, 3])
def test_scores_of_no_images_are_undefined(classes: int) -> None:
    scores = evaluate_probabilities(torch.zeros(0, dtype=torch.int64), torch.zeros(0, classes))
    assert scores.confusion().tolist() == [[0] * classes] * classes
    document = metrics_document(scores)
    assert document.pop("images") == 0
    assert set(document.values()) == {None}


def test_one_class_is_always_right() -> None:
    scores = evaluate_probabilities(torch.zeros(3, dtype=torch.int64), torch.ones(3, 1))
    assert (scores.accuracy.value, scores.ece, scores.macro_f1, scores.log_loss) == (1, 0, 1, 0)
    assert worst_mistakes(scores, torch.ones(3, 1), 5) == []


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        ([0, 1], [[1.0, 0.0]], "probabilities \\(N, K\\)"),
        ([0], [1.0], "probabilities \\(N, K\\)"),
        ([0, 0], [[1.0, 0.0], [2.0, 1.0]], "image 1 are no distribution: their sum is 3"),
        ([0], [[1.5, -0.5]], "image 0 are no distribution"),
        ([0], [[math.nan, 1.0]], "image 0 are no distribution: their sum is nan"),
        ([2], [[0.5, 0.5]], r"in 0\.\.1"),
        ([-1], [[0.5, 0.5]], r"in 0\.\.1"),
    ],
)
def test_invalid_probabilities_and_classes_are_refused(truth: list[int], probabilities: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_probabilities(torch.tensor(truth), torch.tensor(probabilities))


def test_the_worst_mistake_is_the_most_confident_one() -> None:
    scores = evaluate_probabilities(TRUTH, PROBABILITIES)
    mistakes = worst_mistakes(scores, PROBABILITIES, 10)
    assert [(each.index, each.true_class, each.predicted) for each in mistakes] == [(4, 2, 1), (1, 1, 0)]
    assert (mistakes[0].probability, mistakes[0].true_probability) == (0.95, 0.05)
    assert worst_mistakes(scores, PROBABILITIES, 1) == mistakes[:1]


def test_equally_confident_mistakes_are_ordered_by_the_true_class_and_then_by_position() -> None:
    rows = [[0.6, 0.3, 0.1], [0.6, 0.1, 0.3], [0.6, 0.1, 0.3]]
    scores = evaluate_probabilities(torch.tensor([1, 1, 1]), probabilities := torch.tensor(rows))
    assert [each.index for each in worst_mistakes(scores, probabilities, 3)] == [1, 2, 0]


def test_the_metrics_document_has_the_documented_keys_and_no_nan() -> None:
    document = metrics_document(evaluate_probabilities(TRUTH, PROBABILITIES))
    assert list(document) == ["accuracy", "top5_accuracy", "ci95", "ece", "macro_f1", "log_loss", "images"]
    assert document["top5_accuracy"] is None and document["images"] == 6
    assert document["ci95"] == [proportion(4, 6).low, proportion(4, 6).high]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) - {"ci95", "images"} <= METRICS.keys()


def test_the_rows_of_the_report_leave_undefined_cells_empty() -> None:
    rows = list(report_rows(evaluate_probabilities(TRUTH, PROBABILITIES), ["a", "b", "c", "d"]))
    assert [tuple(row) for row in rows] == [REPORT_COLUMNS] * 4
    assert rows[2] == {"class_index": 2, "label": "c", "precision": None, "recall": 0.0, "f1": 0.0, "count": 1}
    assert rows[3] == {"class_index": 3, "label": "d", "precision": None, "recall": None, "f1": None, "count": 0}
    assert next(report_rows(evaluate_probabilities(TRUTH, PROBABILITIES), []))["label"] == ""
