"""Which example comes when."""

import multiprocessing

import numpy as np
import pytest
import torch

from cvkit.data.image_set import ImageSet
from cvkit.engine.training.sampling import EpochSampler, end_workers, make_loader


def drawn(sampler: EpochSampler, epoch: int, skip: int = 0) -> list[int]:
    sampler.start(epoch, skip)
    keys = list(sampler)
    assert len(keys) == len(sampler) and all(key[0] == epoch for key in keys)
    assert all(len(indices) == sampler.batch_size for _, indices in keys[:-1])
    return [int(index) for _, indices in keys for index in indices]


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    sampler = EpochSampler(50, 8, seed=3, shuffle=True)
    first, second = drawn(sampler, 0), drawn(sampler, 1)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert first == np.random.default_rng((3, 0)).permutation(50).tolist()
    assert drawn(EpochSampler(50, 8, seed=3, shuffle=True), 1) == second
    assert drawn(EpochSampler(50, 8, seed=4, shuffle=True), 1) != second


def test_an_epoch_goes_on_where_it_was_left() -> None:
    sampler = EpochSampler(10, 3, seed=0, shuffle=True)
    whole = drawn(sampler, 5)
    assert len(whole) == 10 and sampler.batches() == 4
    assert drawn(sampler, 5, skip=2) == whole[6:]
    assert drawn(sampler, 5, skip=4) == [] and drawn(sampler, 5, skip=5) == []


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4), (7, 1)])
def test_shares_for_training_are_equal_and_cover_all(count: int, world: int) -> None:
    shares = [
        drawn(EpochSampler(count, 2, seed=1, shuffle=True, rank=rank, world_size=world), 2) for rank in range(world)
    ]
    assert len({len(share) for share in shares}) == 1
    every = [index for share in shares for index in share]
    assert set(every) == set(range(count)) and len(every) - count < world
    if count % world == 0:
        assert sorted(every) == list(range(count))


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4)])
def test_shares_for_validation_are_disjoint(count: int, world: int) -> None:
    samplers = [EpochSampler(count, 2, seed=1, shuffle=False, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(index for sampler in samplers for index in drawn(sampler, 0)) == list(range(count))
    assert drawn(samplers[1], 9) == list(range(1, count, world))


def test_workers_end_when_told_though_the_loader_lives_on() -> None:
    data = ImageSet(images=torch.zeros(8, 1, 2, 2, dtype=torch.uint8), labels=None, names=list("abcdefgh"))
    before = set(multiprocessing.active_children())
    loader = make_loader(data, EpochSampler(8, 2, seed=0, shuffle=False), workers=2, pin=False)
    batches = iter(loader)
    assert next(batches)["index"].tolist() == [0, 1]
    assert len(set(multiprocessing.active_children()) - before) == 2
    end_workers(loader)
    assert set(multiprocessing.active_children()) == before
    end_workers(loader)  # a second time does nothing
