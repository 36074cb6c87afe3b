"""Test batches of labelled images: augmentation, balanced draws and cached images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cvkit.config import TrainClassifierConfig
from cvkit.engine.training.loading import BatchLoader
from cvkit.engine.training.sampling import EpochSampler
from cvkit.tasks.classification.data.augment import Augmentation, make_mixing
from cvkit.tasks.classification.data.dataset import ClassImages, FeatureBatches, balanced_draw
from cvkit.tasks.classification.data.prepare import prepare

from .conftest import STEPS, MakeReader

RANDOM = {"rotation": 0.1, "contrast": 0.3, "erase": 0.5}
INDICES = np.array([4, 0, 11, 7])


def augmentation(**options: object) -> Augmentation:
    return Augmentation(TrainClassifierConfig(data="d", model="lenet5", **options).resolved(), STEPS)  # type: ignore[arg-type]


def images_of(make_reader: MakeReader, *, cached: bool = False, random: Augmentation | None = None, **more: object):
    reader = make_reader(whole=random is not None and random.crops)
    kept = prepare(reader, cache=True, threads=1, on_progress=lambda _: None).cached if cached else None
    return ClassImages(reader, cached=kept, augmentation=random, **more)  # type: ignore[arg-type]


def test_a_batch_has_images_labels_and_indices(make_reader: MakeReader) -> None:
    data = images_of(make_reader)
    batch = data.batch(0, INDICES)
    assert batch["image"].shape == (4, 3, 16, 16) and batch["image"].dtype == torch.uint8
    assert batch["label"].tolist() == data.reader.images.labels[INDICES].tolist()
    assert batch["index"].tolist() == INDICES.tolist()
    assert torch.equal(batch["image"], data.images(INDICES))
    assert data.name(4) == data.reader.images.names[4]
    assert len(data) == 12


@pytest.mark.parametrize("crop_scale", [1.0, 0.4])
@pytest.mark.parametrize("grey", [False, True])
def test_cached_images_give_the_batches_of_files(make_reader: MakeReader, crop_scale: float, grey: bool) -> None:
    random = augmentation(crop_scale=crop_scale, **RANDOM)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    reader = make_reader(pixels if grey else None, whole=random.crops)
    kept = prepare(reader, cache=True, threads=1, on_progress=lambda _: None).cached
    read, cached = (ClassImages(reader, cached=each, augmentation=random, seed=5) for each in (None, kept))
    for epoch in (0, 1):
        assert torch.equal(read.batch(epoch, INDICES)["image"], cached.batch(epoch, INDICES)["image"])
    assert torch.equal(*(ClassImages(make_reader(pixels if grey else None), cached=None).images(INDICES) for _ in "12"))


@pytest.mark.parametrize("automatic", ["trivial", "rand", "augmix"])
def test_augmentation_is_a_function_of_seed_epoch_and_index(make_reader: MakeReader, automatic: str) -> None:
    random = augmentation(crop_scale=0.4, auto_augment=automatic, **RANDOM)
    data = images_of(make_reader, random=random, seed=1)
    whole = data.batch(3, INDICES)["image"]
    torch.manual_seed(99)
    for position, index in enumerate(INDICES):  # alone, in another order, from another state of the generator
        assert torch.equal(data.batch(3, np.array([index]))["image"][0], whole[position])
    assert not torch.equal(data.batch(4, INDICES)["image"], whole)
    assert not torch.equal(images_of(make_reader, random=random, seed=2).batch(3, INDICES)["image"], whole)


def test_batches_do_not_depend_on_the_number_of_workers(make_reader: MakeReader) -> None:
    random = augmentation(crop_scale=0.4, **RANDOM)
    batches = []
    for workers in (0, 2):
        data = images_of(make_reader, random=random, balanced=True)
        sampler = EpochSampler(len(data), 5, seed=0, shuffle=True)
        sampler.start(2)
        loader = BatchLoader(data, sampler, workers=workers, pin=False)
        batches.append([{name: value.clone() for name, value in batch.items()} for batch in loader])
        loader.end_workers()
    assert [len(batch["index"]) for batch in batches[0]] == [5, 5, 2]
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_augmentation_is_none(make_reader: MakeReader) -> None:
    still = augmentation(crop_scale=1.0, flip=False)
    assert not still.is_random and not still.crops
    assert images_of(make_reader, random=still).augmentation is None


def test_a_balanced_draw_has_every_class_equally_often() -> None:
    labels = np.array([0] * 7 + [1] * 3 + [2] * 2)
    drawn = balanced_draw(labels, np.random.default_rng(0))
    # By hand: 12 images of 3 classes are 4 each. Class 1 repeats one of its three images, class 2 both of its two.
    assert np.bincount(labels[drawn]).tolist() == [4, 4, 4]
    times = np.bincount(drawn, minlength=12)
    assert sorted(times[:7].tolist()) == [0, 0, 0, 1, 1, 1, 1]
    assert sorted(times[7:10].tolist()) == [1, 1, 2] and times[10:].tolist() == [2, 2]


def test_a_balanced_draw_of_a_number_that_is_not_divisible_has_one_more_of_some_classes() -> None:
    labels = np.array([0] * 9 + [3] * 2)
    counts = [np.bincount(labels[balanced_draw(labels, np.random.default_rng(k))])[[0, 3]] for k in range(20)]
    assert {tuple(count.tolist()) for count in counts} == {(6, 5), (5, 6)}


def test_a_balanced_epoch_is_a_function_of_seed_and_epoch(make_reader: MakeReader) -> None:
    first, second = (images_of(make_reader, balanced=True, seed=4) for _ in "12")
    second.draw(1)
    assert first.draw(0).tolist() == second.draw(0).tolist() != first.draw(1).tolist()
    batch = first.batch(0, INDICES)
    assert batch["index"].tolist() == first.draw(0)[INDICES].tolist()
    assert torch.equal(batch["label"], first.labels[batch["index"]])
    assert torch.equal(batch["image"], first.images(batch["index"].numpy()))


def test_an_image_drawn_twice_in_an_epoch_is_augmented_differently(make_reader: MakeReader) -> None:
    data = images_of(make_reader, random=augmentation(crop_scale=0.3), balanced=True)
    batch = data.batch(0, np.arange(12))
    twice = [k for k in range(12) if batch["index"][k] == 11]
    assert len(twice) == 2
    assert not torch.equal(*(batch["image"][k] for k in twice))


def test_grey_images_become_three_equal_channels(make_reader: MakeReader) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    random = augmentation(crop_scale=1.0, **RANDOM)
    for data in (ClassImages(make_reader(pixels)), ClassImages(make_reader(pixels), augmentation=random)):
        images = data.batch(0, INDICES)["image"]
        assert images.shape[1] == 3
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_features_stand_in_for_images(make_reader: MakeReader) -> None:
    features = torch.randn(12, 5)
    for balanced in (False, True):
        data = images_of(make_reader, balanced=balanced)
        batch, expected = FeatureBatches(data, features).batch(1, INDICES), data.batch(1, INDICES)
        assert torch.equal(batch["index"], expected["index"]) and torch.equal(batch["label"], expected["label"])
        assert torch.equal(batch["features"], features[batch["index"]])


def test_mixing_is_off_one_transform_or_a_choice_of_two() -> None:
    settings = TrainClassifierConfig(data="d", model="lenet5").resolved()
    assert make_mixing(settings, 3) is None
    names = [
        type(make_mixing(replace(settings, mixup=mixup, cutmix=cutmix), 3)).__name__
        for mixup, cutmix in ((0.2, 0.0), (0.0, 1.0), (0.2, 1.0))
    ]
    assert names == ["MixUp", "CutMix", "RandomChoice"]
