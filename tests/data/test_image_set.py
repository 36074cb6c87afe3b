"""Test sets of images in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.data.class_folders import LabelledImage
from cvkit.data.image_set import (
    ImageSet,
    as_images,
    common_size,
    is_grey,
    read_images,
    resized,
    with_channels,
)
from cvkit.data.images import read_image, resize_image
from cvkit.errors import DataError
from cvkit.progress import Event, Step


def make_images(count: int = 5) -> ImageSet:
    images = torch.arange(count * 12, dtype=torch.uint8).view(count, 3, 2, 2)
    return ImageSet(images=images, labels=np.arange(count), names=[f"{n}.png" for n in range(count)])


def test_a_batch_holds_the_requested_images_in_order() -> None:
    data = make_images()
    batch = data.batch(7, np.array([3, 0, 3]))
    assert batch["index"].tolist() == [3, 0, 3]
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"], data.images[[3, 0, 3]])


def test_a_subset_keeps_labels_and_names_with_their_images() -> None:
    part = make_images().subset(np.array([4, 1]))
    assert part.names == ["4.png", "1.png"] and part.labels is not None and part.labels.tolist() == [4, 1]
    assert torch.equal(part.images, make_images().images[[4, 1]]) and len(part) == 2


def test_the_shape_of_an_array_determines_its_channels() -> None:
    assert as_images(np.zeros((3, 5, 4), np.uint8)).shape == (3, 1, 5, 4)
    colour = np.arange(3 * 5 * 4 * 3, dtype=np.uint8).reshape(3, 5, 4, 3)
    assert np.array_equal(as_images(colour).numpy(), colour.transpose(0, 3, 1, 2))
    for shape in ((3, 5), (3, 5, 4, 2), (3,)):
        with pytest.raises(DataError, match="does not hold images"):
            as_images(np.zeros(shape, np.uint8))


def test_colour_becomes_luma_and_grey_is_repeated() -> None:
    pixel = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    assert with_channels(pixel, 1).item() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert with_channels(torch.full((2, 1, 2, 2), 9, dtype=torch.uint8), 3).tolist() == [[[[9, 9], [9, 9]]] * 3] * 2
    assert not is_grey(pixel) and is_grey(torch.full((2, 3, 2, 2), 7, dtype=torch.uint8))


def test_resizing_averages_pixels_in_every_block() -> None:
    images = torch.tensor([[0, 100], [50, 250]], dtype=torch.uint8).expand(1030, 1, 2, 2)
    assert torch.equal(resized(images, (1, 1)), torch.full((1030, 1, 1, 1), 100, dtype=torch.uint8))
    assert resized(images, (2, 2)) is images


def write(path: Path, size: tuple[int, int], colour: tuple[int, int, int] = (255, 0, 0)) -> LabelledImage:
    Image.new("RGB", size, colour).save(path)
    return LabelledImage(path, 0)


def test_the_common_size_is_that_of_all_readable_images(tmp_path: Path) -> None:
    same = [write(tmp_path / f"{n}.png", (6, 4)) for n in range(3)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert common_size([*same, LabelledImage(broken, 0)], 10**6, 2) == (4, 6)
    assert common_size([*same, write(tmp_path / "other.png", (4, 6))], 10**6, 2) is None
    assert common_size([LabelledImage(broken, 0)], 10**6, 2) is None


def test_photographs_are_read_by_read_image_and_unreadable_ones_are_listed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    write(tmp_path / "c.png", (400, 300))
    found = [LabelledImage(tmp_path / f"{name}.png", label) for label, name in enumerate("abc")]
    done: list[Event] = []
    read, failed = read_images(found, (6, 5), max_pixels=90_000, threads=2, report=done.append)
    assert [Path(name).name for name in read.names] == ["a.png"] and read.labels is not None
    assert read.labels.tolist() == [0]
    assert torch.equal(read.images[0], resize_image(read_image(tmp_path / "a.png"), (6, 5)))
    assert [Path(each.name).name for each in failed] == ["b.png", "c.png"]
    assert "not an image" in failed[0].message and "--max-pixels" in failed[1].message
    assert done == [Step(1), Step(2), Step(3)]


def test_images_that_do_not_fit_in_memory_are_refused_before_it_is_allocated(tmp_path: Path) -> None:
    found = [LabelledImage(tmp_path / "x.png", None)] * 1000
    with pytest.raises(DataError, match="take a smaller --size"):
        read_images(found, (100_000, 100_000), max_pixels=1, threads=1)
