"""Test reading every image once before training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cvkit.tasks.classification.data import prepare as module
from cvkit.tasks.classification.data.prepare import Prepared, fits_in_memory, prepare
from cvkit.tasks.classification.data.source import LabelledImages

from .conftest import MakeReader


def run(reader: object, cache: bool = True) -> Prepared:
    return prepare(reader, cache=cache, threads=2, on_progress=lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def copied(image_files: LabelledImages, tmp_path: Path) -> LabelledImages:
    """The JPEG files in a folder of their own."""
    paths = [tmp_path / f"{number}.jpg" for number in range(len(image_files))]
    for path, source in zip(paths, image_files.paths or [], strict=True):
        shutil.copy(source, path)
    return LabelledImages(labels=image_files.labels, names=[path.name for path in paths], paths=paths)


def test_images_of_one_size_are_cached_as_one_tensor(make_reader: MakeReader) -> None:
    reader = make_reader()
    prepared = run(reader)
    assert isinstance(prepared.cached, torch.Tensor) and prepared.cached.shape == (12, 3, 16, 16)
    assert all(torch.equal(prepared.cached[k], reader(k)) for k in range(12))
    assert run(reader, cache=False).cached is None


def test_images_of_several_sizes_are_cached_as_a_list(make_reader: MakeReader, copied: LabelledImages) -> None:
    from PIL import Image

    assert copied.paths is not None
    Image.new("RGB", (200, 50)).save(copied.paths[4])
    reader = make_reader(images=copied, whole=True)
    prepared = run(reader)
    assert isinstance(prepared.cached, list)
    assert all(torch.equal(prepared.cached[k], reader(k)) for k in range(12))


def test_the_progress_counts_all_images(make_reader: MakeReader) -> None:
    done: list[int] = []
    prepare(make_reader(), cache=False, threads=2, on_progress=done.append)
    assert done == list(range(1, 13))


@pytest.mark.parametrize("cache", [True, False])
def test_unreadable_files_are_listed_and_left_out(make_reader: MakeReader, copied: LabelledImages, cache: bool) -> None:
    assert copied.paths is not None
    copied.paths[2].write_text("no image")
    copied.paths[7].unlink()
    copied.paths[8].write_bytes(copied.paths[8].read_bytes()[:300])
    prepared = run(make_reader(images=copied), cache)
    assert [failure.name for failure in prepared.failures] == ["2.jpg", "7.jpg", "8.jpg"]
    assert all(failure.name in failure.message for failure in prepared.failures)
    kept = [k for k in range(12) if k not in (2, 7, 8)]
    assert prepared.reader.images.names == [f"{k}.jpg" for k in kept]
    assert prepared.reader.images.labels.tolist() == copied.labels[kept].tolist()
    assert (prepared.cached is not None) == cache
    if cache:
        assert prepared.cached is not None and len(prepared.cached) == len(kept)


def test_no_usable_image_is_no_error_here(make_reader: MakeReader, copied: LabelledImages) -> None:
    for path in copied.paths or []:
        path.unlink()
    prepared = run(make_reader(images=copied))
    assert len(prepared.reader.images) == 0 and len(prepared.failures) == 12


def test_the_digest_changes_with_content_label_and_order(make_reader: MakeReader) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 5), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    other, relabelled = pixels.copy(), labels.copy()
    other[3, 2, 2] ^= 1
    relabelled[0] = 1
    order = np.array([3, 1, 2, 0, 4, 5])  # exchanges two images of one class
    variants = [(pixels, labels), (other, labels), (pixels, relabelled), (pixels[order], labels)]
    digests = [run(make_reader(array, classes)).sha256 for array, classes in variants]
    assert len(set(digests)) == 4
    assert run(make_reader(pixels.copy(), labels), cache=False).sha256 == digests[0]


def test_the_digest_of_files_is_that_of_their_bytes(make_reader: MakeReader, copied: LabelledImages) -> None:
    before = run(make_reader()).sha256
    assert run(make_reader(images=copied), cache=False).sha256 == before
    assert copied.paths is not None
    copied.paths[0].write_bytes(copied.paths[0].read_bytes() + b"\0")
    assert run(make_reader(images=copied)).sha256 != before


def test_a_cache_takes_at_most_a_quarter_of_the_free_memory(
    make_reader: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [make_reader(), make_reader()]
    needed = 2 * 12 * 3 * 16 * 16
    for free, expected in ((4 * needed + 1, True), (4 * needed, False)):
        monkeypatch.setattr(module, "free_memory", lambda free=free: free)
        assert fits_in_memory(readers) is expected
