"""Test reading of IDX files."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from cvkit.data.idx import find_idx, read_idx
from cvkit.errors import DataError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array: np.ndarray, kind: int = 0x08) -> bytes:
    """Return an array as the bytes of an IDX file."""
    return bytes((0, 0, kind, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_compressed_files_are_recognised_by_their_content(tmp_path: Path, name: str, packed: bool) -> None:
    content = idx_bytes(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    assert np.array_equal(read_idx(tmp_path / name), IMAGES)


GOOD = idx_bytes(IMAGES)
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"hello, world", "not an IDX file"),
        (b"\x01" + GOOD[1:], "not an IDX file"),
        (b"\0\0\x08\x00", "not an IDX file"),
        (b"\0\0\x0d\x03" + GOOD[4:], "IDX type 0x0d; only unsigned bytes"),
        (GOOD[:9], "the IDX header is cut off"),
        (GOOD[:-1], r"by its header \(2x3x4\) it holds 24 bytes, but has 23"),
        (GOOD + b"\0", "holds 24 bytes, but has more"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "more than there is memory for"),
        (PACKED[:-9], "the compressed file is damaged"),
        (PACKED[:12] + bytes(8) + PACKED[20:], "the compressed file is damaged"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")


NAMES = {
    "mnist": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
    "dots": ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte"),
    "emnist": (
        "emnist-letters-train-images-idx3-ubyte",
        "emnist-letters-train-labels-idx1-ubyte",
        "emnist-letters-test-images-idx3-ubyte",
    ),
}


@pytest.mark.parametrize("path", ["", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_files_are_found_under_their_usual_names(tmp_path: Path, names: tuple[str, str, str], path: str) -> None:
    folder = tmp_path / path
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*names, "README", "train-images.txt"):
        (folder / name).touch()
    train_images, train_labels, test_images = (folder / name for name in names)
    assert find_idx(tmp_path) == {
        "train": {"images": train_images, "labels": train_labels},
        "test": {"images": test_images},
    }


def test_a_duplicate_file_counts_once_and_a_second_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").touch()
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    assert find_idx(tmp_path) == {"train": {"images": tmp_path / "train-images-idx3-ubyte"}}
    (tmp_path / "emnist-digits-train-images-idx3-ubyte").touch()
    with pytest.raises(DataError, match="several data sets"):
        find_idx(tmp_path)
    assert find_idx(tmp_path / "nowhere") == {}


@pytest.mark.shared
def test_the_real_fashion_mnist_is_read(shared: Path) -> None:
    found = find_idx(shared / "data/fashion-mnist")
    images, labels = read_idx(found["test"]["images"]), read_idx(found["test"]["labels"])
    assert images.shape == (10_000, 28, 28) and np.bincount(labels).tolist() == [1000] * 10
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_a_fifo_with_the_name_of_an_idx_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    (path,) = find_idx(tmp_path)["train"].values()
    with pytest.raises(DataError, match="is a FIFO, not a file"):
        read_idx(path)
