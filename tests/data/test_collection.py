"""Test data sets in memory: splits, labels, sizes and remarks."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvkit.catalog import FASHION_MNIST
from cvkit.data.collection import Collection, ReadOptions, choose_splits, find_source, read_collection
from cvkit.engine.result_folder import mark_as_result
from cvkit.errors import DataError, UsageError

from .test_idx import idx_bytes

RNG = np.random.default_rng(0)


def write_idx(folder: Path, **arrays: np.ndarray) -> Path:
    """Write arrays named like ``train_images`` as compressed IDX files."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        split, what = name.split("_")
        file = f"{'t10k' if split == 'test' else 'train'}-{what}-idx{array.ndim}-ubyte.gz"
        (folder / file).write_bytes(gzip.compress(idx_bytes(array.astype(np.uint8))))
    return folder


def digits(count: int, size: int = 6) -> np.ndarray:
    return RNG.integers(0, 256, (count, size, size))


def photographs(folder: Path, *names: str, size: tuple[int, int] = (20, 16), grey: bool = False) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0]) if grey else (size[1], size[0], 3)
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


def read(folder: Path, **settings: object) -> Collection:
    return read_collection(find_source(str(folder)), ReadOptions(**settings))  # type: ignore[arg-type]


def test_idx_files_with_their_labels(tmp_path: Path) -> None:
    images, labels = digits(5), np.array([1, 0, 2, 1, 0])
    collection = read(
        write_idx(tmp_path, train_images=images, train_labels=labels, test_images=digits(2), test_labels=labels[:2])
    )
    train = collection.splits["train"]
    assert np.array_equal(train.images[:, 0].numpy(), images) and train.labels is not None
    assert train.labels.tolist() == labels.tolist() and train.labels.dtype == np.int64
    assert list(train.names) == ["0", "1", "2", "3", "4"]
    assert len(collection.splits["test"]) == 2 and collection.remarks == []
    assert collection.class_name(2) == "2"


def test_the_seed_determines_the_fraction_that_is_held_out(tmp_path: Path) -> None:
    folder = write_idx(tmp_path, train_images=digits(20), train_labels=np.arange(20) % 3)
    one, again, other = (read(folder, test_fraction=0.25, seed=seed) for seed in (1, 1, 2))
    assert [len(one.splits[name]) for name in ("train", "test")] == [15, 5]
    assert sorted([*one.splits["train"].names, *one.splits["test"].names], key=int) == [str(n) for n in range(20)]
    assert one.splits["test"].names == again.splits["test"].names != other.splits["test"].names
    assert "5 of the images are held out as test" in one.remarks[0]


def test_a_limit_draws_a_sample_of_each_split(tmp_path: Path) -> None:
    folder = write_idx(
        tmp_path,
        train_images=digits(30),
        train_labels=np.arange(30) % 7,
        test_images=digits(9),
        test_labels=np.arange(9),
    )
    train = read(folder, limit=10).splits["train"]
    assert len(train) == 10 and train.labels is not None
    numbers = [int(name) for name in train.names]
    assert numbers == sorted(numbers) and numbers != list(range(10))
    assert train.labels.tolist() == [number % 7 for number in numbers]
    assert len(read(folder, limit=10).splits["test"]) == 9


def test_val_is_used_as_test_if_there_is_no_test_split(tmp_path: Path) -> None:
    names = [f"{split}/{kind}/{n}.png" for split in ("train", "val") for kind in ("a", "b") for n in range(2)]
    collection = read(photographs(tmp_path, *names))
    assert list(collection.splits) == ["train", "test"] and collection.classes == ("a", "b")
    assert "val is taken for it" in collection.remarks[0]
    photographs(tmp_path, "test/a/9.png")
    assert sorted(read(tmp_path).splits) == ["test", "train", "val"]


def test_small_photographs_of_one_size_keep_it(tmp_path: Path) -> None:
    names = [f"{kind}/{n}.png" for kind in "ab" for n in range(4)]
    collection = read(photographs(tmp_path / "small", *names))
    assert collection.splits["train"].images.shape[1:] == (3, 16, 20)
    large = read(photographs(tmp_path / "large", *names, size=(90, 70)))
    assert large.splits["train"].images.shape[1:] == (3, 64, 64)
    assert large.remarks[0] == "images of 70x90 are resized to 64x64 (--size)"
    photographs(tmp_path / "small", "a/odd.png", size=(7, 9))
    mixed = read(tmp_path / "small")
    assert mixed.remarks[0] == "images of several sizes are resized to 64x64 (--size)"
    assert read(tmp_path / "small", size=(5, 9)).splits["test"].images.shape[1:] == (3, 5, 9)


def test_grey_photographs_have_one_channel(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(4)]
    photographs(tmp_path, *names, grey=True)
    assert read(tmp_path).splits["train"].images.shape[1] == 1
    assert read(tmp_path, color="rgb").splits["train"].images.shape[1] == 3
    photographs(tmp_path, "4.png")
    assert read(tmp_path).splits["train"].images.shape[1] == 3
    assert read(tmp_path, color="grey").splits["train"].images.shape[1] == 1


def test_idx_images_are_resized_too(tmp_path: Path) -> None:
    folder = write_idx(tmp_path, train_images=np.full((4, 6, 6), 80), test_images=digits(2))
    collection = read(folder, size=(3, 9))
    assert collection.splits["train"].images.shape == (4, 1, 3, 9)
    assert set(collection.splits["train"].images.flatten().tolist()) == {80}


def test_missing_labels_and_a_single_class_have_one_remark_each(tmp_path: Path) -> None:
    images = {"train_images": digits(4), "test_images": digits(2)}
    folder = write_idx(tmp_path / "none", **images, train_labels=np.zeros(4))
    assert read(folder).remarks == ["no labels for test: no colours by class, and no 10-NN accuracy"]
    folder = write_idx(tmp_path / "one", **images, train_labels=np.zeros(4), test_labels=np.zeros(2))
    assert read(folder).remarks == ["all images are of one class: no 10-NN accuracy"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": digits(4), "train_labels": np.zeros(3)}, "3 labels for 4 images"),
        ({"train_images": digits(4), "train_labels": np.zeros((2, 2))}, "2x2 labels for 4 images"),
        ({"train_images": np.zeros((4, 6))}, "does not hold images"),
        ({"train_labels": np.zeros(3)}, "labels, but no train images"),
        ({"test_images": digits(3)}, "no train images beside them"),
        ({"train_images": np.zeros((6, 0, 5)), "test_images": digits(2)}, "images of 0x5 pixels hold nothing"),
        ({"train_images": digits(1)}, "2 are needed to train on, and one to test"),
        ({"train_images": digits(1), "test_images": digits(1)}, "1 image to train on; 2 or more are needed"),
        ({"train_images": digits(0), "test_images": digits(1)}, "no train images"),
    ],
)
def test_unusable_data_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write_idx(tmp_path / "data", **arrays))
    assert "\n" not in str(caught.value)


def test_unreadable_photographs_are_listed_and_a_data_set_of_them_is_refused(tmp_path: Path) -> None:
    photographs(tmp_path, *(f"{n}.png" for n in range(5)))
    (tmp_path / "bad.png").write_bytes(b"no image")
    collection = read(tmp_path)
    assert [Path(each.name).name for each in collection.failures] == ["bad.png"]
    assert sum(len(part) for part in collection.splits.values()) == 5
    for path in tmp_path.glob("?.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable train image is left: .*an empty file"):
        read(tmp_path)


def test_only_existing_splits_can_be_embedded(tmp_path: Path) -> None:
    source = find_source(str(write_idx(tmp_path / "idx", train_images=digits(4), test_images=digits(2))))
    assert choose_splits(source, ("Testing", "train")) == ("test", "train")
    with pytest.raises(UsageError, match="--embed val: the data has train and test only"):
        choose_splits(source, ("val",))
    folder = photographs(tmp_path / "three", *(f"{split}/a/1.png" for split in ("train", "val", "test")))
    assert choose_splits(find_source(str(folder)), ("validation", "test")) == ("val", "test")


def test_a_split_of_any_name_is_read_if_it_is_named(tmp_path: Path) -> None:
    photographs(tmp_path, *(f"train/{index}.png" for index in range(3)), "Holdout/3.png", "notes/4.png")
    source = find_source(str(tmp_path), ("train", "holdout"))
    assert choose_splits(source, ("train", "holdout")) == ("train", "Holdout")
    assert source.remarks == (f"notes beside the splits of {tmp_path} is left out",)
    collection = read_collection(source, ReadOptions())
    assert {name: len(part) for name, part in collection.splits.items()} == {"train": 2, "test": 1, "Holdout": 1}
    with pytest.raises(UsageError, match=r"--embed holdot: the data has train and test only"):
        choose_splits(find_source(str(tmp_path), ("holdot",)), ("holdot",))


def test_the_digest_depends_on_images_labels_and_splits(tmp_path: Path) -> None:
    images, labels = digits(20), np.arange(20) % 3
    folder = write_idx(tmp_path / "one", train_images=images, train_labels=labels)
    same = write_idx(tmp_path / "two", train_images=images, train_labels=labels)
    assert read(folder).sha256() == read(same).sha256() != read(folder, seed=1).sha256()
    other = write_idx(tmp_path / "three", train_images=images, train_labels=labels[::-1])
    assert read(other).sha256() != read(folder).sha256()


def test_files_and_folders_beside_splits_or_classes_have_a_remark(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "a", *(f"{kind}/{n}.png" for kind in ("train", "bus", "car") for n in range(4)))
    assert read(folder).remarks[0].startswith("bus, car beside the splits of ")
    folder = photographs(tmp_path / "b", "montage.png", *(f"{kind}/{n}.png" for kind in "ab" for n in range(4)))
    assert "the folders below it are not taken for classes" in read(folder).remarks[0]


def test_a_run_folder_inside_the_data_is_ignored(tmp_path: Path) -> None:
    folder = photographs(tmp_path, *(f"{n}.png" for n in range(5)))
    photographs(tmp_path, "run/curves.png")
    assert len(find_source(str(folder)).paths()) == 6
    mark_as_result(tmp_path / "run")
    assert len(find_source(str(folder)).paths()) == 5


def test_test_images_of_another_size_have_a_remark(tmp_path: Path) -> None:
    folder = write_idx(tmp_path, train_images=digits(4), test_images=digits(2, size=9))
    assert read(folder).remarks[0] == "the test images are resized to the size of the train images"


@pytest.mark.shared
def test_fashion_mnist_has_its_class_names(shared: Path) -> None:
    collection = read(shared / "data/fashion-mnist", limit=100)
    assert collection.classes == FASHION_MNIST
