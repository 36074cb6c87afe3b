"""Test finding labelled images: class folders, IDX files and manifests."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cvkit.errors import DataError
from cvkit.tasks.classification.data.source import LabelledSource, read_source
from tests.data.test_idx import idx_bytes
from tests.labelled import write_classes


def counts(source: LabelledSource) -> dict[str, list[int]]:
    """Return the number of images of each class by split."""
    size = len(source.classes)
    return {name: np.bincount(part.labels, minlength=size).tolist() for name, part in source.splits.items()}


def write_idx(folder: Path, shape: tuple[int, ...] = (4, 3), labels: tuple[int, ...] = (0, 1, 2, 0)) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "t10k"):
        pixels = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
        (folder / f"{split}-images-idx{pixels.ndim}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pixels)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx_bytes(np.array(labels, np.uint8)))
    return folder


def write_manifest(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_text(text, encoding=encoding)
    return str(path)


def test_class_folders_have_one_split_and_the_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    source = read_source(str(write_classes(tmp_path / "pets", {"dog": 2, "cat": 3})))
    assert (source.name, source.classes, counts(source)) == ("pets", ("cat", "dog"), {"train": [3, 2]})
    images = source.splits["train"]
    assert images.array is None and images.paths is not None
    assert [path.parent.name for path in images.paths] == [source.classes[label] for label in images.labels]
    assert images.names == [str(path) for path in images.paths]


def test_split_folders_share_their_classes(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 2, "train/b": 3, "valid/b": 1, "Test/a": 1})
    source = read_source(str(tmp_path))
    assert source.classes == ("a", "b")
    assert counts(source) == {"test": [1, 0], "train": [2, 3], "val": [0, 1]}


def test_a_folder_beside_the_splits_is_named_with_the_split_that_was_meant(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 1, "train/b": 1, "vall/a": 1})
    source = read_source(str(tmp_path))
    assert source.splits.keys() == {"train"}
    assert any("vall (did you mean 'val'?)" in remark for remark in source.remarks)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 2, "train/b": 2, "train/c": 0})
    source = read_source(str(tmp_path))
    assert source.classes == ("a", "b")
    assert source.remarks == (f"{tmp_path}/train/c is empty: is a class missing?",)


def test_images_without_a_class_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path, {"loose": 2})
    with pytest.raises(DataError, match="not in class folders; put the images of each class into one folder"):
        read_source(str(tmp_path / "loose"))
    with pytest.raises(DataError, match="not in class folders"):
        read_source(str(tmp_path / "loose" / "*.png"))


def test_a_loose_image_in_one_split_is_refused_by_name(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 2, "train/b": 2, "val": 1})
    with pytest.raises(DataError, match=r"1 image of val in no class folder, such as .*/val/0\.png"):
        read_source(str(tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv"])
def test_a_missing_source_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_source(str(tmp_path / name))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3)])
def test_idx_files_have_grey_or_rgb_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = read_source(str(write_idx(tmp_path, shape)))
    assert (source.classes, counts(source)) == (("0", "1", "2"), {"test": [2, 1, 1], "train": [2, 1, 1]})
    images = source.splits["train"]
    assert images.paths is None and images.array is not None and images.array.shape == (4, *shape)
    assert images.names == ["train/0", "train/1", "train/2", "train/3"]


def test_a_class_without_images_keeps_its_index_in_idx_files(tmp_path: Path) -> None:
    """The labels of EMNIST's letters begin with 1."""
    source = read_source(str(write_idx(tmp_path, labels=(1, 3))))
    assert source.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("train-labels-idx1-ubyte", None, "there are train images, but no train labels beside them"),
        ("train-labels-idx1-ubyte", np.zeros(3, np.uint8), "3 labels for 4 images"),
        ("train-labels-idx1-ubyte", np.zeros((4, 2), np.uint8), "8 labels for 4 images"),
        ("train-images-idx3-ubyte.gz", np.zeros((4, 3), np.uint8), "4x3 values are no grey or RGB images"),
        ("train-images-idx3-ubyte.gz", np.zeros((4, 3, 3, 2), np.uint8), "4x3x3x2 values are no grey or RGB images"),
        ("train-images-idx3-ubyte.gz", np.zeros((0, 3, 3), np.uint8), "0x3x3 values are no grey or RGB images"),
    ],
)
def test_idx_files_that_do_not_match_are_refused(
    tmp_path: Path, file: str, values: np.ndarray | None, said: str
) -> None:
    write_idx(tmp_path)
    (tmp_path / file).unlink()
    if values is not None:
        (tmp_path / file).write_bytes(idx_bytes(values))
    with pytest.raises(DataError, match=said):
        read_source(str(tmp_path))


def test_a_manifest_has_the_splits_of_its_column(tmp_path: Path) -> None:
    text = "image,label,split\na.jpg,dog,train\nsub/b.jpg,cat,validation\n/abs/c.jpg,dog,Train\nd.jpg,cat,holdout\n"
    source = read_source(write_manifest(tmp_path / "pets.csv", text))
    assert (source.name, source.classes) == ("pets", ("cat", "dog"))
    assert counts(source) == {"train": [0, 2], "val": [1, 0], "holdout": [1, 0]}
    assert source.splits["train"].paths == [tmp_path / "a.jpg", Path("/abs/c.jpg")]
    assert source.splits["val"].paths == [tmp_path / "sub/b.jpg"]


@pytest.mark.parametrize(("suffix", "comma"), [("csv", ","), ("tsv", "\t"), ("CSV", ",")])
def test_a_manifest_without_splits_may_have_other_columns_and_a_byte_order_mark(
    tmp_path: Path, suffix: str, comma: str
) -> None:
    rows = [("Label", "note", "Image"), ("10", "x", " a.jpg "), ("9", "", "b.jpg"), ()]
    text = "\r\n".join(map(comma.join, rows))
    source = read_source(write_manifest(tmp_path / f"m.{suffix}", text, "utf-8-sig"))
    assert source.classes == ("9", "10")  # by value
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert source.splits["train"].paths == [tmp_path / "a.jpg", tmp_path / "b.jpg"]


def test_rows_without_a_split_are_left_out_if_others_have_one(tmp_path: Path) -> None:
    source = read_source(write_manifest(tmp_path / "m.csv", "image,label,split\na,x,train\nb,y,\nc,y,val\n"))
    assert counts(source) == {"train": [1, 0], "val": [0, 1]}
    assert source.remarks == (f"{tmp_path}/m.csv: 1 image without a split left out, because others have one",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this has none"),
        ("image,label\n", "the manifest names no image"),
        ("path,class\na,b\n", "a manifest has the columns image, label and, optionally, split; this has path, class"),
        ("image,label\na,b\nc\n", "line 3 names no label"),
        ("image,label\n,b\n", "line 2 names no image"),
        ('image,label\n"a,b\n', "line 2 names no label"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_source(write_manifest(tmp_path / "m.csv", text))


def test_a_binary_file_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(DataError, match=r"m\.csv: (not a readable manifest|a manifest has the columns)") as caught:
        read_source(str(tmp_path / "m.csv"))
    assert str(caught.value).removeprefix(str(tmp_path)).isprintable()


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4 names no label"):
        read_source(write_manifest(tmp_path / "m.csv", "image,label\na,b\n\nc,\n"))
