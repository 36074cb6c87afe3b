"""Test the order of examples."""

import numpy as np
import pytest

from cvkit.engine.training.sampling import EpochSampler


def draw(sampler: EpochSampler, epoch: int, skip: int = 0) -> list[int]:
    sampler.start(epoch, skip)
    keys = list(sampler)
    assert len(keys) == len(sampler) and all(key[0] == epoch for key in keys)
    assert all(len(indices) == sampler.batch_size for _, indices in keys[:-1])
    return [int(index) for _, indices in keys for index in indices]


def test_each_epoch_has_its_own_permutation() -> None:
    sampler = EpochSampler(50, 8, seed=3, shuffle=True)
    first, second = draw(sampler, 0), draw(sampler, 1)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert first == np.random.default_rng((3, 0)).permutation(50).tolist()
    assert draw(EpochSampler(50, 8, seed=3, shuffle=True), 1) == second
    assert draw(EpochSampler(50, 8, seed=4, shuffle=True), 1) != second


def test_an_interrupted_epoch_continues_after_its_last_batch() -> None:
    sampler = EpochSampler(10, 3, seed=0, shuffle=True)
    whole = draw(sampler, 5)
    assert len(whole) == 10 and sampler.batches() == 4
    assert draw(sampler, 5, skip=2) == whole[6:]
    assert draw(sampler, 5, skip=4) == [] and draw(sampler, 5, skip=5) == []


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4), (7, 1), (8, 3)])
def test_the_batches_of_several_processes_are_those_of_one(count: int, world: int) -> None:
    samplers = [EpochSampler(count, 2, seed=1, shuffle=True, rank=rank, world_size=world) for rank in range(world)]
    one = EpochSampler(count, 2 * world, seed=1, shuffle=True)
    for sampler in (*samplers, one):
        sampler.start(2)
        assert sampler.batches() == one.batches() == len(list(sampler))
    for number, (_, whole) in enumerate(one):
        parts = [list(sampler)[number][1] for sampler in samplers]
        own = [part[: sampler.examples(number)] for part, sampler in zip(parts, samplers, strict=True)]
        assert sorted(np.concatenate(own)) == sorted(whole)
        means = [float(part.mean()) * sampler.weight(number) for part, sampler in zip(parts, samplers, strict=True)]
        assert np.mean(means) == pytest.approx(whole.mean())
        assert one.weight(number) == 1.0


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4)])
def test_processes_validate_on_disjoint_examples(count: int, world: int) -> None:
    samplers = [EpochSampler(count, 2, seed=1, shuffle=False, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(index for sampler in samplers for index in draw(sampler, 0)) == list(range(count))
    assert draw(samplers[1], 9) == list(range(1, count, world))
