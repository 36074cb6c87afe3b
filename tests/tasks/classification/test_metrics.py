import math
from dataclasses import asdict

import pytest

from cvkit.intervals import proportion
from cvkit.tasks.classification.metrics import accuracy


def test_accuracy_by_hand() -> None:
    # Class 7: ranks 1, 2, 6, 3, once predicted as 9, twice as 2. Class 2: correct both times. Class 0: rank 9.
    truth = [7, 2, 7, 7, 0, 2, 7]
    ranks = [1, 1, 2, 6, 9, 1, 3]
    predicted = [7, 2, 9, 2, 5, 2, 2]
    found = accuracy(truth, ranks, predicted)
    assert found.top1 == proportion(3, 7)
    assert found.top5 == proportion(5, 7)
    assert [(c.class_index, c.top1.value, c.top5.value, c.top1.n, c.often) for c in found.classes] == [
        (0, 0.0, 0.0, 1, 5),
        (2, 1.0, 1.0, 2, None),
        (7, 0.25, 0.75, 4, 2),
    ]
    assert found.balanced == pytest.approx((0 + 1 + 0.25) / 3)
    assert asdict(found)["classes"][1]["top1"]["n"] == 2


def test_the_fifth_rank_counts_and_the_sixth_does_not() -> None:
    found = accuracy([1, 1], [5, 6], [0, 0])
    assert found.top5 == found.classes[0].top5 == proportion(1, 2)


def test_the_smaller_index_is_named_if_two_classes_are_predicted_equally_often() -> None:
    assert accuracy([1] * 4, [2] * 4, [8, 3, 8, 3]).classes[0].often == 3


def test_the_rank_decides_if_an_image_is_wrong_when_logits_are_equal() -> None:
    # The prediction comes from a sort that orders equal logits differently.
    assert accuracy([1], [2], [1]).classes[0].often is None
    assert accuracy([1], [1], [0]).classes[0].often is None


def test_accuracy_of_no_images_is_nan() -> None:
    found = accuracy([], [], [])
    assert found.classes == () and found.top1.n == found.top5.n == 0
    assert math.isnan(found.balanced) and math.isnan(found.top1.value)


def test_invalid_ranks_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        accuracy([1, 2], [1], [1, 2])
    with pytest.raises(ValueError, match="from 1, not from 0"):
        accuracy([1, 2], [1, 0], [1, 2])
