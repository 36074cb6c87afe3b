"""Test reading labelled images as the network needs them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.catalog import Preprocessing
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.errors import DataError
from cvkit.tasks.classification.data.reading import ImageReader, as_rgb, stack
from cvkit.tasks.classification.data.source import LabelledImages

from .conftest import STEPS, MakeReader

VARIANTS = [
    STEPS,
    Preprocessing(resize=(30, 40), crop=(30, 40), interpolation="bicubic"),
    Preprocessing(resize=(30, 40), crop=(30, 40), crop_mode="center"),
    Preprocessing(resize=(64, 64), crop=(64, 64), crop_mode="border"),
]


@pytest.mark.parametrize("preprocessing", VARIANTS, ids=lambda steps: steps.mode)
def test_an_image_for_validation_has_the_pixels_that_classify_uses(
    make_reader: MakeReader, preprocessing: Preprocessing
) -> None:
    reader = make_reader(preprocessing=preprocessing)
    for index, path in enumerate(reader.images.paths or []):
        expected, _ = fit_crop(read_image(path), preprocessing)
        assert torch.equal(reader(index), expected)


def test_an_image_for_random_crops_is_whole_and_reduced(make_reader: MakeReader) -> None:
    assert make_reader(whole=True)(0).shape == (3, 20, 25)  # 48x60 pixels with a shorter side of 20
    covering = Preprocessing(resize=(30, 30), crop=(30, 30), crop_mode="center")
    assert make_reader(whole=True, preprocessing=covering)(0).shape == (3, 30, 38)
    squashed = Preprocessing(resize=(30, 40), crop=(30, 40))
    assert make_reader(whole=True, preprocessing=squashed)(0).shape == (3, 30, 40)


def test_a_small_image_for_random_crops_is_not_enlarged(make_reader: MakeReader) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 9, 12, 3), dtype=np.uint8)
    reader = make_reader(pixels, whole=True)
    assert torch.equal(reader(0), torch.from_numpy(pixels[0]).permute(2, 0, 1))


def test_a_jpeg_decoded_at_reduced_size_differs_little_from_one_that_is_resized(tmp_path: Path) -> None:
    """Decoding at 1/2 averages 2x2 pixels of the DCT, where resizing has an antialiasing filter."""
    rows, columns = np.mgrid[:240, :320]
    waves = [128 + 90 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((17, 23), (31, 11), (13, 40))]
    Image.fromarray(np.stack(waves, 2).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    images = LabelledImages(labels=np.zeros(1, np.int64), names=["a"], paths=[tmp_path / "a.jpg"])
    steps = Preprocessing(resize=60, crop=(56, 56))
    reduced = ImageReader(images=images, preprocessing=steps, max_pixels=10**6, whole=True)(0)
    whole = np.asarray(Image.fromarray(read_image(tmp_path / "a.jpg")).resize((80, 60), Image.Resampling.BILINEAR))
    difference = (reduced.permute(1, 2, 0).numpy().astype(float) - whole).__abs__()
    assert difference.mean() < 1 and difference.max() < 8


@pytest.mark.parametrize("whole", [False, True])
def test_a_grey_image_of_an_array_is_kept_as_one_channel_and_becomes_three_equal_ones(
    make_reader: MakeReader, whole: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    reader = make_reader(pixels, whole=whole)
    grey = reader(1)
    assert grey.shape == ((1, 20, 20) if whole else (1, 16, 16))
    colour = make_reader(np.repeat(pixels[..., None], 3, 3), whole=whole)(1)
    assert torch.equal(stack([grey])[0], colour)
    assert as_rgb(grey[None]).shape[1] == 3


def test_the_original_is_the_image_of_the_data(make_reader: MakeReader) -> None:
    reader = make_reader()
    assert reader.images.paths is not None
    assert np.array_equal(reader.original(3), read_image(reader.images.paths[3]))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    assert np.array_equal(make_reader(pixels).original(1), pixels[1])


@pytest.mark.parametrize("whole", [False, True])
def test_the_estimated_memory_is_near_the_size_of_an_image(make_reader: MakeReader, whole: bool) -> None:
    reader = make_reader(whole=whole)
    assert reader.bytes_per_image == pytest.approx(reader(0).numel(), rel=0.2)
    grey = make_reader(np.zeros((1, 28, 28), np.uint8), whole=False)
    assert grey.bytes_per_image == grey(0).numel()


def test_an_image_over_the_limit_is_refused(make_reader: MakeReader) -> None:
    reader = make_reader()
    with pytest.raises(DataError, match="2,880"):
        replace(reader, max_pixels=100)(0)
