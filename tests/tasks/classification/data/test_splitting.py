"""Test the division of labelled images into training, validation and test images."""

import numpy as np
import pytest

from cvkit.errors import DataError, UsageError
from cvkit.tasks.classification.data.source import LabelledImages, LabelledSource
from cvkit.tasks.classification.data.splitting import Splits, split_images, stratified


def source_of(**splits: list[int]) -> LabelledSource:
    """Return a source whose splits have images of these classes."""
    size = max(label for labels in splits.values() for label in labels) + 1
    return LabelledSource(
        name="pets",
        classes=tuple("abcdefgh"[:size]),
        splits={
            name: LabelledImages(
                labels=np.array(labels, np.int64),
                names=[f"{name}{number}" for number in range(len(labels))],
                array=np.zeros((len(labels), 2, 2), np.uint8),
            )
            for name, labels in splits.items()
        },
    )


def labels_of(splits: Splits) -> dict[str, list[int]]:
    return {name: sorted(part.labels.tolist()) for name, part in splits.images.items()}


def test_each_class_is_divided_in_the_same_proportions() -> None:
    labels = np.array([0] * 20 + [1] * 8 + [2] * 4)
    train, val, test = stratified(labels, (75, 15, 10), seed=0)
    # By hand: 15 % and 10 % of 20, 8 and 4 are 3, 1.2, 0.6 and 2, 0.8, 0.4.
    assert np.bincount(labels[val], minlength=3).tolist() == [3, 1, 1]
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 1, 0]
    assert np.bincount(labels[train], minlength=3).tolist() == [15, 6, 3]
    assert sorted([*train, *val, *test]) == list(range(32))
    assert all(np.array_equal(group, np.sort(group)) for group in (train, val, test))


def test_a_class_of_one_image_is_trained_on() -> None:
    groups = stratified(np.array([0, 1, 1]), (50, 50), seed=0)
    assert 0 in groups[0] and len(groups[1]) == 1


def test_the_draw_is_a_function_of_the_seed_and_of_each_class_alone() -> None:
    labels = np.array([0, 1] * 30)
    first, again, other = (stratified(labels, (80, 20), seed)[1].tolist() for seed in (3, 3, 4))
    assert first == again != other
    more = stratified(np.concatenate([labels, [2] * 9]), (80, 20), 3)[1]
    assert [index for index in more if index < 60] == first


def test_validation_images_are_held_out_of_data_without_any() -> None:
    splits = split_images(source_of(train=[0] * 20 + [1] * 10), None, None, seed=0)
    assert labels_of(splits) == {"train": [0] * 18 + [1] * 9, "val": [0, 0, 1]}
    assert splits.remarks == ("no split val: 3 training images held out for validation",)


def test_given_percentages_are_drawn_without_a_remark() -> None:
    splits = split_images(source_of(train=[0] * 20 + [1] * 20), (50, 25, 25), None, seed=0)
    assert labels_of(splits) == {"train": [0] * 10 + [1] * 10, "val": [0] * 5 + [1] * 5, "test": [0] * 5 + [1] * 5}
    assert not splits.remarks


def test_the_test_images_of_the_data_stay_test_images() -> None:
    source = source_of(train=[0, 1] * 10, test=[0, 1, 1])
    splits = split_images(source, (80, 20), None, seed=0)
    assert labels_of(splits) == {"train": [0] * 8 + [1] * 8, "val": [0, 0, 1, 1], "test": [0, 1, 1]}
    assert splits.images["test"].names == source.splits["test"].names


@pytest.mark.parametrize(
    ("percentages", "splits"),
    [
        ((80, 20), {"train": [0, 1], "val": [0, 1]}),
        ((80, 10, 10), {"train": [0, 1] * 9, "test": [0, 1]}),
    ],
)
def test_splits_that_the_data_has_are_not_drawn_again(
    percentages: tuple[float, ...], splits: dict[str, list[int]]
) -> None:
    with pytest.raises(UsageError, match=f"pets has the splits {' and '.join(splits)} already; leave --split out"):
        split_images(source_of(**splits), percentages, None, seed=0)


def test_other_splits_are_left_out_by_name() -> None:
    splits = split_images(source_of(train=[0, 1], val=[0, 1], holdout=[0, 0]), None, None, seed=0)
    assert splits.images.keys() == {"train", "val"}
    assert splits.remarks == ("not used: holdout (2 images)",)


def test_a_class_without_validation_images_is_remarked() -> None:
    splits = split_images(source_of(train=[0, 1, 2, 3, 4], val=[1]), None, None, seed=0)
    assert splits.remarks == ("no validation image of 4 of 5 classes, which are not scored: a, c, d, ...",)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_without_training_images_is_an_error(split: str) -> None:
    parts = {"train": [0, 1], "val": [0, 1], split: [0, 2]}
    with pytest.raises(DataError, match=f"the class c has {split} images but no training image"):
        split_images(source_of(**parts), None, None, seed=0)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": [0, 0, 0]}, "there is one class only \\(a\\)"),
        ({"train": [1, 1], "val": [0, 1]}, "all training images are of one class \\(b\\)"),
        ({"val": [0, 1], "holdout": [1]}, "there is no split train; there are: val \\(2 images\\), holdout \\(1 image"),
        ({"train": [0, 1]}, "there is no val image; each class needs more images, or a larger part"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(splits: dict[str, list[int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split_images(source_of(**splits), None, None, seed=0)


def test_a_limit_draws_from_all_classes_in_the_order_of_the_data() -> None:
    source = source_of(train=[0] * 50 + [1] * 50, val=[0, 1])
    images = split_images(source, None, 20, seed=0).images
    assert len(images["train"]) == 20 and len(images["val"]) == 2
    numbers = [int(name.removeprefix("train")) for name in images["train"].names]
    assert numbers == sorted(numbers)
    assert set(images["train"].labels.tolist()) == {0, 1}
    assert images["train"].names == split_images(source, None, 20, seed=0).images["train"].names
    assert images["train"].names != split_images(source, None, 20, seed=1).images["train"].names


def test_a_limit_that_leaves_no_training_image_of_a_class_is_named() -> None:
    with pytest.raises(DataError, match="or raise --limit"):
        split_images(source_of(train=[0] * 30 + [1], val=[0, 1]), None, 2, seed=0)
