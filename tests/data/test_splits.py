"""Test the names of splits."""

import pytest

from cvkit.data.splits import (
    OTHER_WORDS,
    STANDARD,
    UNSPLIT,
    canonical_split,
    choose_split,
    describe_splits,
    is_standard_split,
    order_splits,
    resembled_split,
)
from cvkit.errors import DataError


@pytest.mark.parametrize("word", [*STANDARD, *OTHER_WORDS])
def test_the_forms_of_a_standard_split_have_one_name_in_any_case(word: str) -> None:
    name = OTHER_WORDS.get(word, word)
    assert [canonical_split(form) for form in (word, word.upper(), word.title())] == [name] * 3
    assert is_standard_split(word.upper()) and resembled_split(word.title()) is None


def test_other_names_of_splits_are_kept_as_they_are() -> None:
    for word in ("holdout", "Holdout", "fold 1", "vall", UNSPLIT):
        assert canonical_split(word) == word and not is_standard_split(word)


def test_splits_are_listed_with_counts_in_a_stable_order() -> None:
    counts = {UNSPLIT: 1, "b": 3, "test": 2, "A": 5, "val": 0, "train": 12}
    assert order_splits(counts) == ["train", "val", "test", "A", "b", UNSPLIT]
    assert describe_splits(counts) == (
        "train (12 images), val (0 images), test (2 images), A (5 images), b (3 images), (no split) (1 image)"
    )
    assert describe_splits({}) == "none"
    assert describe_splits({"a\x1b[0m": 2}) == r"a\x1b[0m (2 images)"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("val", "val"), ("Validation", "val"), ("holdout", "Holdout"), ("x", "x"), ("X", "X"), (UNSPLIT, UNSPLIT)],
)
def test_a_split_is_chosen_by_its_name_another_form_or_another_case(wanted: str, name: str) -> None:
    assert choose_split({"val": 1, "Holdout": 2, "x": 3, "X": 4, UNSPLIT: 5}, wanted, "data") == name


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            "holdot",
            r"^data: there is no split 'holdot'; there are: train \(2 images\), holdout \(1 image\)\. Did you mean 'ho",
        ),
        ("zzz", r"holdout \(1 image\)\.$"),
        ("test", "no split 'test'"),
    ],
)
def test_an_unknown_split_is_refused_with_the_list_and_the_nearest_name(wanted: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose_split({"train": 2, "holdout": 1}, wanted, "data")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("vall", "val"),
        ("vaild", "val"),
        ("Validaton", "val"),
        ("val2", "val"),
        ("tets", "test"),
        ("trian", "train"),
        ("trainning", "train"),
        ("holdout", None),
        ("fold1", None),
        ("indoor", None),
        (UNSPLIT, None),
    ],
)
def test_a_misspelt_standard_split_is_recognised(word: str, meant: str | None) -> None:
    assert resembled_split(word) == meant
