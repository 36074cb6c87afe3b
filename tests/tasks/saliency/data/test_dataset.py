"""Test the samples of a saliency data set and the check of all its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.errors import DataError
from cvkit.tasks.saliency.data import dataset
from cvkit.tasks.saliency.data.dataset import Problems, SaliencyDataset, SampleSpec, prepare, read_sample
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example

READING = SampleSpec(size=(24, 32), sigma_px=3.0)


def write(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def example(folder: Path, name: str, *, with_map: bool = True, points: str | None = "x,y\n30,20\n30,20\n") -> Example:
    """Write an image of 64x48 pixels and a map that are both bright around (30, 20)."""
    y, x = np.mgrid[:48, :64]
    blob = np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 50)
    image = write(folder / f"{name}.png", (blob * 255).astype(np.uint8)[..., None].repeat(3, -1))
    truth = write(folder / f"{name}_map.png", (blob * 200).astype(np.uint8)) if with_map else None
    fixations = None
    if points is not None:
        fixations = folder / f"{name}.csv"
        fixations.write_text(points)
    return Example(key=name, split="train", image=image, map=truth, fixations=fixations)


def test_a_sample_has_the_expected_shapes_and_dtypes(tmp_path: Path) -> None:
    sample = read_sample(example(tmp_path, "a"), READING)
    assert {name: (tuple(v.shape), v.dtype) for name, v in sample.items()} == {
        "image": ((3, 24, 32), torch.uint8),
        "target": ((1, 24, 32), torch.float16),
        "counts": ((1, 24, 32), torch.int16),
    }
    assert sample["target"].max() == 1 and sample["target"].min() >= 0
    # (30, 20) at 64x48 falls into pixel (15, 10) of 32x24; both of its fixations do.
    assert sample["counts"].sum() == 2 and sample["counts"][0, 10, 15] == 2


def test_items_have_their_index_and_float_targets(tmp_path: Path) -> None:
    data = SaliencyDataset([example(tmp_path, "a"), example(tmp_path, "b")], READING)
    item = data[(0, 1)]
    assert len(data) == 2 and item["index"] == 1 and item["target"].dtype == torch.float32
    assert data.name(1).endswith("b.png")


def test_counts_are_omitted_unless_all_examples_have_them(tmp_path: Path) -> None:
    data = SaliencyDataset([example(tmp_path, "a"), example(tmp_path, "b", points=None)], READING)
    assert "counts" not in data[(0, 0)] and not data.has_fixations


def test_a_map_is_made_from_fixations_at_the_size_of_the_image(tmp_path: Path) -> None:
    truth = read_truth(example(tmp_path, "a", with_map=False), (48, 64), (48, 64), sigma_px=4.0)
    assert truth.map.dtype == np.float32 and truth.map[20, 30] == 1
    np.testing.assert_allclose(truth.map[20, 34], np.exp(-0.5), atol=1e-5)


def test_without_sigma_the_default_sigma_is_used(tmp_path: Path) -> None:
    truth = read_truth(example(tmp_path, "a", with_map=False), (48, 64), (48, 64), sigma_px=None)
    np.testing.assert_allclose(truth.map[20, 32], np.exp(-4 / (2 * (0.03 * 64) ** 2)), atol=1e-4)


def test_a_smaller_map_of_the_same_aspect_ratio_is_accepted(tmp_path: Path) -> None:
    one = example(tmp_path, "a")
    assert one.map is not None
    write(one.map, np.full((24, 32), 9, np.uint8))
    assert read_sample(one, READING)["target"].min() == 1


def test_fixations_measured_at_another_size_are_scaled(tmp_path: Path) -> None:
    locations = np.zeros((96, 128), bool)
    locations[41, 61] = True
    np.save(tmp_path / "l.npy", locations)
    one = example(tmp_path, "a", points=None)
    truth = read_truth(Example("a", "", one.image, one.map, tmp_path / "l.npy"), (48, 64), (48, 64), None)
    assert truth.counts is not None and np.argwhere(truth.counts).tolist() == [[20, 30]]


def test_unusable_examples_are_listed_by_kind_and_left_out(tmp_path: Path) -> None:
    wrong = example(tmp_path, "wrong")
    empty = example(tmp_path, "empty")
    nobody = example(tmp_path, "nobody", with_map=False, points="x,y\n")
    outside = example(tmp_path, "outside", points="x,y\n64,20\n-3,5\n")
    broken = example(tmp_path, "broken")
    none = example(tmp_path, "none")
    assert wrong.map and empty.map
    write(wrong.map, np.full((48, 48), 9, np.uint8))
    write(empty.map, np.zeros((48, 64), np.uint8))
    broken.image.write_bytes(broken.image.read_bytes()[:100])
    none.image.unlink()
    good = example(tmp_path, "good")
    seen: list[int] = []
    prepared = prepare([wrong, empty, good, nobody, outside, broken, none], READING, "ram", 2, seen.append)
    assert prepared.examples == [good] and prepared.cached is not None and len(prepared.cached) == 1
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    kinds = prepared.problems.by_kind
    assert {kind: len(messages) for kind, messages in kinds.items()} == {
        "wrong size": 2,
        "empty map": 2,
        "unreadable": 2,
    }
    assert "the map is 48x48, its image 64x48" in kinds["wrong size"][0]
    assert "all fixations lie outside the image of 64x48" in kinds["wrong size"][1]
    assert "wrong_map.png" in kinds["wrong size"][0] and "nobody.csv" in kinds["empty map"][1]
    assert prepared.problems.count() == 6 and Problems().count() == 0


def test_fixations_outside_of_the_image_are_dropped(tmp_path: Path) -> None:
    sample = read_sample(example(tmp_path, "a", points="x,y\n640,20\n30,20\n"), READING)
    assert sample["counts"].sum() == 1


def test_too_large_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="max-pixels"):
        read_sample(example(tmp_path, "a"), SampleSpec(size=(24, 32), max_pixels=100))


@pytest.mark.parametrize("augmentation", ["none", "flip", "full"])
def test_samples_are_equal_from_memory_and_from_files(tmp_path: Path, augmentation: str) -> None:
    examples = [example(tmp_path, name) for name in "abc"]
    kept = prepare(examples, READING, "ram", 2, lambda _: None).cached
    assert prepare(examples, READING, "none", 2, lambda _: None).cached is None
    ram = SaliencyDataset(examples, READING, cached=kept, augmentation=augmentation, seed=3)
    disk = SaliencyDataset(examples, READING, augmentation=augmentation, seed=3)
    for _ in range(2):  # twice, because reading must not change the samples in memory
        for epoch in range(3):
            for index in range(3):
                one, other = ram[(epoch, index)], disk[(epoch, index)]
                assert one.keys() == other.keys()
                assert all(torch.equal(one[name], other[name]) for name in one)


def test_augmentation_depends_on_seed_epoch_and_index_only(tmp_path: Path) -> None:
    examples = [example(tmp_path, name) for name in "ab"]  # two equal images
    kept = prepare(examples, READING, "ram", 2, lambda _: None).cached

    def picture(seed: int, epoch: int, index: int) -> bytes:
        data = SaliencyDataset(examples, READING, cached=kept, augmentation="full", seed=seed)
        return data[(epoch, index)]["image"].numpy().tobytes()

    assert picture(1, 2, 0) == picture(1, 2, 0)
    assert len({picture(1, 2, 0), picture(1, 3, 0), picture(1, 2, 1), picture(2, 2, 0)}) == 4


def test_auto_keeps_the_samples_in_memory_if_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [example(tmp_path, "a")]
    need = 24 * 32 * 7  # bytes: uint8 RGB, a float16 target, int16 counts
    monkeypatch.setattr(dataset, "free_memory", lambda: 4 * need)
    assert prepare(examples, READING, "auto", 1, lambda _: None).cached is None
    monkeypatch.setattr(dataset, "free_memory", lambda: 4 * need + 4)
    assert prepare(examples, READING, "auto", 1, lambda _: None).cached is not None
    monkeypatch.setattr(dataset, "local_processes", lambda: 2)
    assert prepare(examples, READING, "auto", 1, lambda _: None).cached is None
