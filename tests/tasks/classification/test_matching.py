"""Test how the classes of a data set are matched to those of a model."""

from dataclasses import replace

import pytest

from cvkit.catalog import Preprocessing, Pretrained
from cvkit.errors import DataError
from cvkit.tasks.classification.matching import UNMATCHED, MatchedClasses, match_classes

STEPS = Preprocessing(resize=8, crop=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
NAMED = Pretrained(
    model="m", tag=None, preprocessing=STEPS, num_classes=3, labels=("tabby, tabby cat", "hot dog", "8"), class_ids=()
)
BARE = replace(NAMED, labels=())


def match(*classes: str, facts: Pretrained = NAMED, present: tuple[int, ...] | None = None) -> MatchedClasses:
    return match_classes(classes, range(len(classes)) if present is None else present, facts, "data")


def test_names_are_matched_in_any_order_case_and_spelling() -> None:
    found = match("Hot_Dog", "8", "tabby")
    assert found.indices.tolist() == [1, 2, 0] and found.labels == NAMED.labels and found.note == ""


def test_two_names_of_one_class_are_one_class() -> None:
    assert match("tabby", "tabby cat").indices.tolist() == [0, 0]


def test_ids_are_matched() -> None:
    with_ids = replace(BARE, class_ids=("n00000001", "n00000002", "n00000003"))
    assert match("n00000003", "n00000001", facts=with_ids).indices.tolist() == [2, 0]
    with pytest.raises(DataError, match="no class with the id 'n00000009'"):
        match("n00000003", "n00000009", facts=with_ids)


def test_an_unknown_class_without_scored_images_does_not_matter() -> None:
    found = match("tabby", "zebra", present=(0, 0))
    assert found.indices.tolist() == [0, UNMATCHED]


def test_unknown_classes_are_named_with_a_suggestion() -> None:
    with pytest.raises(DataError, match=r"data: the model has no class 'hotdog'. Did you mean 'hot dog'\?.*--labels"):
        match("tabby", "hotdog")
    with pytest.raises(
        DataError, match=r"2 of its classes are not classes of the model: 'hotdog', 'zebra'\. The first"
    ):
        match("tabby", "hotdog", "zebra")
    with pytest.raises(DataError, match=r"12 of its classes .*'c9' and 2 more\."):
        match(*(f"c{k}" for k in range(12)))


def test_indices_are_reported() -> None:
    found = match("2", "0", facts=BARE)
    assert found.indices.tolist() == [2, 0] and found.labels == ("0", "1", "2")
    assert found.note.startswith("the class names 2, 0 of data are taken for class indices of the model")
    assert match("1", "8").note.startswith("the class names 1 of data")
    assert match("8").indices.tolist() == [2]  # a label, although the index 8 is out of range


def test_the_order_is_assumed_only_without_names_and_for_as_many_classes() -> None:
    found = match("a", "b", "c", facts=BARE)
    assert found.indices.tolist() == [0, 1, 2] and found.labels == ("a", "b", "c")
    assert "the order of data is assumed: 0 is a, 1 is b, 2 is c. Name the classes with --labels FILE" in found.note
    with pytest.raises(DataError, match="data has 2 classes, but the model has 3, whose names are unknown"):
        match("a", "b", facts=BARE)
    with pytest.raises(DataError, match="3 of its classes are not"):
        match("a", "b", "c")
