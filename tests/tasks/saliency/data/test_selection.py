"""Test which splits are trained on, validated on and scored."""

from pathlib import Path

import pytest

from cvkit.data.splits import UNSPLIT
from cvkit.errors import DataError, UsageError
from cvkit.tasks.saliency.data.layout import Example, Layout
from cvkit.tasks.saliency.data.selection import evaluation_examples, remarks_on_unused, train_val_split


def layout_of(**counts: int) -> Layout:
    names = {"whole": UNSPLIT}
    examples = [
        Example(key=f"{split}{i}", split=names.get(split, split), image=Path(f"{split}{i}.jpg"))
        for split, count in counts.items()
        for i in range(count)
    ]
    return Layout(root=Path("data"), examples=examples)


def keys(examples: list[Example]) -> list[str]:
    return [example.key for example in examples]


def test_existing_splits_are_kept() -> None:
    splits = train_val_split(layout_of(train=3, val=2, test=4), 0.5, seed=0)
    assert keys(splits.train) == ["train0", "train1", "train2"] and keys(splits.val) == ["val0", "val1"]
    assert (splits.train_name, splits.val_name, splits.unused) == ("train", "val", {"test": 4})


@pytest.mark.parametrize("name", ["train", "whole"])
def test_the_seed_determines_the_fraction_for_validation(name: str) -> None:
    layout = layout_of(**{name: 20, "test": 3})
    splits = train_val_split(layout, 0.1, seed=1)
    train, val = splits.train, splits.val
    assert len(train) == 18 and len(val) == 2
    assert {e.key for e in train} | {e.key for e in val} == {f"{name}{i}" for i in range(20)}
    assert {e.split for e in train} == {"train"} and {e.split for e in val} == {"val"}
    assert splits.val_name is None and splits.unused == {"test": 3}
    assert train_val_split(layout, 0.1, seed=1) == splits
    assert any(train_val_split(layout, 0.1, seed=seed).val != val for seed in (2, 3, 4))


def test_validation_gets_at_least_one_image_and_never_all() -> None:
    for fraction in (0.01, 0.99):
        splits = train_val_split(layout_of(whole=2), fraction, 0)
        assert [len(splits.train), len(splits.val)] == [1, 1]
    with pytest.raises(DataError, match="one image only"):
        train_val_split(layout_of(whole=1), 0.5, 0)


def test_a_split_to_train_on_is_chosen_or_asked_for() -> None:
    with pytest.raises(DataError, match=r"no split 'train'; there are: val \(1 image\), test .*--train-split"):
        train_val_split(layout_of(val=1, test=1), 0.5, 0)
    with pytest.raises(DataError, match=r"Did you mean 'trian'\?"):
        train_val_split(layout_of(val=1, trian=1), 0.5, 0)
    splits = train_val_split(layout_of(train=1, val=2, fold1=3, test=4), 0.5, 0, "Fold1", "test")
    assert keys(splits.train) == ["fold10", "fold11", "fold12"] and len(splits.val) == 4
    assert splits.unused == {"train": 1, "val": 2}
    with pytest.raises(DataError, match=r"no split 'fold2'.*Did you mean 'fold1'\?"):
        train_val_split(layout_of(fold1=1, train=3), 0.5, 0, val="fold2")
    with pytest.raises(UsageError, match="--val-split train is the split to train on"):
        train_val_split(layout_of(train=3), 0.5, 0, val="training")


def test_a_misspelt_val_is_refused_and_can_be_named() -> None:
    layout = layout_of(train=12, vall=4)
    with pytest.raises(DataError, match=r"no split 'val', but 'vall': did you mean 'val'\? .*add --val-split vall"):
        train_val_split(layout, 0.1, 0)
    assert len(train_val_split(layout, 0.1, 0, val="vall").val) == 4
    with_val = train_val_split(layout_of(train=12, val=2, vall=4), 0.1, 0)
    assert remarks_on_unused(with_val.unused) == ["the split vall (4 images) is not used. Did you mean 'val'?"]


def test_unused_splits_are_named_except_for_test() -> None:
    splits = train_val_split(layout_of(train=5, holdout=1, test=2, whole=3, train2=2), 0.2, 0)
    assert splits.val_name is None  # nothing resembles val
    assert remarks_on_unused(splits.unused) == [
        "the split holdout (1 image) is not used.",
        "the split train2 (2 images) is not used. Did you mean 'train'?",
        "the split (no split) (3 images) is not used.",
    ]


def test_evaluation_uses_val_then_test_then_the_only_split_besides_train() -> None:
    both = layout_of(train=1, val=2, test=3)
    assert len(evaluation_examples(both, None).examples) == 2
    assert evaluation_examples(layout_of(train=1, test=3), None).name == "test"
    holdout = evaluation_examples(layout_of(train=12, holdout=4), None)
    assert (holdout.name, len(holdout.examples)) == ("holdout", 4)
    assert holdout.warning.endswith("the split holdout (4 images) is scored, the only one besides train")
    assert evaluation_examples(layout_of(holdout=4), None).warning.endswith("is scored, the only one")
    assert not evaluation_examples(both, None).warning and not evaluation_examples(both, "Test").warning


def test_several_possible_splits_must_be_named() -> None:
    for layout in (layout_of(train=1, fold1=2, fold2=3), layout_of(train=1, whole=2), layout_of(fold1=1, whole=2)):
        with pytest.raises(DataError, match=r"no split 'val' or 'test'; there are: .*score with --split"):
            evaluation_examples(layout, None)


def test_scores_of_training_images_are_marked() -> None:
    both = layout_of(train=1, val=2, test=3)
    assert (
        len(evaluation_examples(both, "training").examples) == 1 and len(evaluation_examples(both, "all").examples) == 6
    )
    for wanted, layout in (("train", both), ("all", both), (None, layout_of(train=1))):
        assert "the scores include 1 training image:" in evaluation_examples(layout, wanted).warning
    whole = evaluation_examples(layout_of(whole=4), None)
    assert (whole.name, len(whole.examples)) == ("all", 4)
    assert "all images are scored, including those a model was trained on" in whole.warning


def test_an_unknown_split_is_refused_with_the_list() -> None:
    with pytest.raises(DataError, match=r"no split 'tset'; there are: train \(1 image\), val .*Did you mean 'test'"):
        evaluation_examples(layout_of(train=1, val=2, test=3), "tset")
    with pytest.raises(DataError, match=r"there are: \(no split\) \(1 image\)"):
        evaluation_examples(layout_of(whole=1), "val")
