"""Test folders of images with classes and splits."""

from pathlib import Path

import pytest
from PIL import Image

from cvkit.data.class_folders import read_every_split, read_folder
from cvkit.data.splits import UNSPLIT
from cvkit.errors import DataError


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def examples(folder: Path) -> dict[str, list[tuple[str, int | None]]]:
    return {
        split: [(image.path.relative_to(folder).as_posix(), image.label) for image in images]
        for split, images in read_folder(str(folder)).splits.items()
    }


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    for name in ("cat/2.png", "cat/1.png", "ant/deep/x.jpg", ".hidden/y.png", "ant/.z.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert examples(tmp_path) == {"train": [("ant/deep/x.jpg", 0), ("cat/1.png", 1), ("cat/2.png", 1)]}
    assert read_folder(str(tmp_path)).classes == ("ant", "cat")


def test_all_splits_have_the_same_classes(tmp_path: Path) -> None:
    for name in ("train/b/1.png", "train/c/1.png", "valid/a/1.png", "valid/c/2.png", "Test/b/9.png"):
        picture(tmp_path / name)
    assert examples(tmp_path) == {
        "train": [("train/b/1.png", 1), ("train/c/1.png", 2)],
        "val": [("valid/a/1.png", 0), ("valid/c/2.png", 2)],
        "test": [("Test/b/9.png", 1)],
    }
    assert read_folder(str(tmp_path)).classes == ("a", "b", "c")


def test_a_flat_folder_and_flat_splits_have_no_classes(tmp_path: Path) -> None:
    picture(tmp_path / "flat/b.png")
    picture(tmp_path / "flat/sub/a.png")
    assert examples(tmp_path / "flat") == {"train": [("b.png", None), ("sub/a.png", None)]}
    picture(tmp_path / "split/train/1.png")
    picture(tmp_path / "split/val/2.png")
    assert examples(tmp_path / "split") == {"train": [("train/1.png", None)], "val": [("val/2.png", None)]}
    assert read_folder(str(tmp_path / "split")).classes == ()


def test_a_folder_named_like_a_split_is_a_class_if_there_is_no_train_folder(tmp_path: Path) -> None:
    picture(tmp_path / "test/1.png")
    picture(tmp_path / "tram/1.png")
    assert examples(tmp_path) == {"train": [("test/1.png", 0), ("tram/1.png", 1)]}


def test_images_of_a_glob_have_no_classes(tmp_path: Path) -> None:
    picture(tmp_path / "a/1.png")
    picture(tmp_path / "b/2.png")
    images = read_folder(str(tmp_path / "*/*.png")).splits["train"]
    assert [(image.path.name, image.label) for image in images] == [("1.png", None), ("2.png", None)]


def test_folders_without_images_and_duplicate_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in the folder"):
        read_folder(str(tmp_path))
    with pytest.raises(DataError, match="no such file or folder"):
        read_folder(str(tmp_path / "nowhere"))
    picture(tmp_path / "two/train/1.png")
    picture(tmp_path / "two/training/1.png")
    with pytest.raises(DataError, match="train and training are the same split"):
        read_folder(str(tmp_path / "two"))


def test_a_folder_beside_the_splits_is_named_with_the_split_that_was_meant(tmp_path: Path) -> None:
    for name in ("train/1.png", "vall/2.png", "notes/3.png"):
        picture(tmp_path / name)
    folder = read_folder(str(tmp_path))
    assert list(folder.splits) == ["train"]
    assert folder.remarks == (f"notes, vall (did you mean 'val'?) beside the splits of {tmp_path} is left out",)
    assert list(read_folder(str(tmp_path), ("VALL",)).splits) == ["train", "vall"]


@pytest.mark.shared
def test_ants_bees_has_two_classes(shared: Path) -> None:
    folder = read_folder(str(shared / "data/ants-bees"))
    assert folder.classes == ("ants", "bees")
    assert {split: len(images) for split, images in folder.splits.items()} == {"train": 245, "val": 153}


def test_paths_that_cannot_be_read_are_listed_and_change_no_classes(tmp_path: Path) -> None:
    for name in ("ant/1.png", "cat/1.png"):
        picture(tmp_path / name)
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "cat/broken.png").symlink_to("gone.png")
    (tmp_path / "dog").symlink_to("/not/mounted")
    (tmp_path / "eel").symlink_to("ant")
    assert examples(tmp_path) == {
        "train": [
            ("ant/1.png", 0),
            ("broken.png", None),
            ("cat/1.png", 1),
            ("cat/broken.png", 1),
            ("dog", 2),
            ("eel/1.png", 3),
        ]
    }
    assert read_folder(str(tmp_path)).classes == ("ant", "cat", "dog", "eel")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"the folder cannot be searched \(Permission denied\)"):
        read_folder(str(tmp_path))


def every_split(folder: Path, *named: str) -> dict[str, list[str]]:
    found = read_every_split(str(folder), named)
    return {
        split: [image.path.relative_to(folder).as_posix() for image in images] for split, images in found.splits.items()
    }


def test_every_folder_of_class_folders_beside_a_split_is_a_split(tmp_path: Path) -> None:
    for name in ("valid/a/1.png", "holdout/b/2.png", "notes/plan.png", "mixed/3.png", "mixed/a/4.png"):
        picture(tmp_path / name)
    (tmp_path / "empty/a").mkdir(parents=True)
    assert every_split(tmp_path) == {"holdout": ["holdout/b/2.png"], "val": ["valid/a/1.png"]}
    found = read_every_split(str(tmp_path))
    assert found.classes == ("a", "b") and [image.label for image in found.splits["holdout"]] == [1]
    assert found.remarks == (f"empty, mixed, notes beside the splits of {tmp_path} is left out",)


def test_a_split_without_a_usual_name_must_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "holdout/a/1.png")
    picture(tmp_path / "other/a/2.png")
    assert every_split(tmp_path) == {UNSPLIT: ["holdout/a/1.png", "other/a/2.png"]}
    assert read_every_split(str(tmp_path)).classes == ("holdout", "other")
    assert every_split(tmp_path, "Holdout") == {"holdout": ["holdout/a/1.png"], "other": ["other/a/2.png"]}


def test_a_class_named_train_is_no_split(tmp_path: Path) -> None:
    for name in ("bus/1.png", "train/1.png"):
        picture(tmp_path / name)
    assert every_split(tmp_path) == {UNSPLIT: ["bus/1.png", "train/1.png"]}


def test_two_folders_of_one_split_are_refused_among_all_splits(tmp_path: Path) -> None:
    for name in ("val/a/1.png", "validation/a/1.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match="val and validation are the same split"):
        read_every_split(str(tmp_path))
