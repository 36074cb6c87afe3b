"""Test baseline maps and the fixations of other images against values computed by hand."""

import numpy as np
import pytest

from cvkit.tasks.saliency.data.baselines import (
    MAX_CACHED_SIZES,
    MEAN_SIZE,
    OBSERVER_SPREAD,
    MeanMap,
    Negatives,
    centre_prior,
    observer_map,
    split_subjects,
)
from cvkit.tasks.saliency.data.fixations import Fixations


def points(*pairs: tuple[float, float], subjects: str | None = None) -> Fixations:
    array = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    named = None if subjects is None else np.array(list(subjects))
    return Fixations(x=array[:, 0], y=array[:, 1], subject=named)


def test_centre_prior_is_a_gaussian_of_a_quarter_of_each_side() -> None:
    prior = centre_prior((51, 101))
    assert prior.shape == (51, 101) and prior.dtype == np.float32
    assert prior[25, 50] == 1
    np.testing.assert_allclose(prior[25, 50 + 25], np.exp(-((25 / 101) ** 2) / (2 * 0.0625)), rtol=1e-5)
    np.testing.assert_allclose(prior, prior[::-1, ::-1], atol=1e-6)


def test_observer_map_spreads_a_tenth_of_its_mass() -> None:
    counts = np.zeros((60, 80), np.int16)
    counts[5, 5] = 3
    values = observer_map(counts, 1.0)
    density = values / values.sum()
    prior = centre_prior((60, 80))
    assert values.max() == 1 and values.min() > 0
    np.testing.assert_allclose(density[40:, 40:], OBSERVER_SPREAD * (prior / prior.sum())[40:, 40:], rtol=1e-4)
    np.testing.assert_allclose(density[:12, :12].sum(), 1 - OBSERVER_SPREAD, atol=0.01)
    np.testing.assert_allclose(observer_map(counts * 0, 1.0), prior / prior.max(), rtol=1e-5)


def test_the_mean_map_weights_all_maps_equally() -> None:
    left, right = np.zeros(MEAN_SIZE, np.float32), np.zeros(MEAN_SIZE, np.float32)
    left[0, 0], right[0, 1] = 0.1, 1.0  # of different brightness; both are normalised to sum 1
    mean = MeanMap()
    mean.add(left)
    mean.add(right)
    mean.add(right)
    at = mean.at(MEAN_SIZE)
    assert at[0, 1] == 1 and at[0, 0] == pytest.approx(0.5) and mean.count == 3


def test_a_map_can_be_left_out_of_the_mean() -> None:
    left, right = np.zeros(MEAN_SIZE, np.float32), np.zeros(MEAN_SIZE, np.float32)
    left[0, 0], right[0, 1] = 1.0, 1.0
    mean = MeanMap()
    mean.add(left)
    mean.add(right)
    without = mean.at(MEAN_SIZE, without=left)
    assert without[0, 1] == 1 and without[0, 0] == 0


def test_empty_maps_add_nothing() -> None:
    mean = MeanMap()
    mean.add(np.zeros((4, 4), np.float32))
    assert mean.count == 0 and not mean.at((5, 6)).any() and mean.at((5, 6)).shape == (5, 6)


def test_the_halves_have_different_subjects() -> None:
    seen = points((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), subjects="aabbc")
    parts = split_subjects(seen, (0, 7))
    assert parts is not None
    first, second = (set(part.subject.tolist()) for part in parts if part.subject is not None)
    assert len(first) == 1 and len(second) == 2 and not first & second
    again = split_subjects(seen, (0, 7))
    assert again is not None and again[0].x.tolist() == parts[0].x.tolist()
    assert len(parts[0]) + len(parts[1]) == 5


def test_fewer_than_two_subjects_are_not_split() -> None:
    assert split_subjects(points((0, 0)), (0,)) is None
    assert split_subjects(points((0, 0), (1, 1), subjects="aa"), (0,)) is None


def test_negatives_are_the_fixations_of_all_other_images() -> None:
    every = [points((0, 0), (0, 0)), points((3, 1)), points((1, 0))]
    negatives = Negatives(every, [(2, 4), (2, 4), (1, 2)], max_images=None, seed=0)
    first = negatives.for_image(0)
    # Of image 2, which is 1 x 2, pixel 1 is the right half: its centre lands in column 3, row 1 of 2 x 4.
    assert first is not None and first.dtype == np.int32
    assert first.tolist() == [[0, 0, 0, 0], [0, 0, 0, 2]]
    last = negatives.for_image(2)
    assert last is not None and last.tolist() == [[2, 1]]


def test_some_negatives_are_drawn_by_seed_and_index() -> None:
    every = [points((i, 0)) for i in range(30)]
    sizes = [(1, 30)] * 30
    negatives = Negatives(every, sizes, max_images=10, seed=4)
    drawn = negatives.for_image(5)
    assert drawn is not None and drawn.sum() == 10 and drawn[0, 5] == 0
    again = Negatives(every, sizes, max_images=10, seed=4).for_image(5)
    other = Negatives(every, sizes, max_images=10, seed=5).for_image(5)
    assert again is not None and other is not None
    assert (again == drawn).all() and (other != drawn).any()


def test_all_negatives_are_used_if_more_are_requested() -> None:
    negatives = Negatives([points((0, 0)), points((1, 0))], [(1, 2)] * 2, max_images=10, seed=0)
    first = negatives.for_image(0)
    assert first is not None and first.tolist() == [[0, 1]]


def test_one_image_has_no_negatives() -> None:
    assert Negatives([points((0, 0))], [(1, 1)], max_images=None, seed=0).for_image(0) is None


def test_images_without_fixations_have_no_negatives() -> None:
    negatives = Negatives([points(), points((0, 0))], [(1, 1), (1, 1)], max_images=None, seed=0)
    assert negatives.for_image(1) is not None and not np.any(negatives.for_image(1))


def test_many_sizes_do_not_fill_the_memory() -> None:
    sizes = [(2, 2 + i) for i in range(3 * MAX_CACHED_SIZES)]
    negatives = Negatives([points((1, 1))] * len(sizes), sizes, max_images=None, seed=0)
    for index in range(len(sizes)):
        counts = negatives.for_image(index)
        assert counts is not None and counts.sum() == len(sizes) - 1
    assert len(negatives._totals) <= MAX_CACHED_SIZES
