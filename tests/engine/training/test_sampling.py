"""Test the order of examples."""

import multiprocessing

import numpy as np
import pytest
import torch

from cvkit.data.image_set import ImageSet
from cvkit.engine.training.sampling import EpochSampler, end_workers, make_loader


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


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4), (7, 1)])
def test_processes_train_on_equally_many_examples_and_on_all_of_them(count: int, world: int) -> None:
    parts = [
        draw(EpochSampler(count, 2, seed=1, shuffle=True, rank=rank, world_size=world), 2) for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    indices = [index for part in parts for index in part]
    assert set(indices) == set(range(count)) and len(indices) - count < world
    if count % world == 0:
        assert sorted(indices) == list(range(count))


@pytest.mark.parametrize(("count", "world"), [(12, 3), (13, 3), (2, 4)])
def test_processes_validate_on_disjoint_examples(count: int, world: int) -> None:
    samplers = [EpochSampler(count, 2, seed=1, shuffle=False, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(index for sampler in samplers for index in draw(sampler, 0)) == list(range(count))
    assert draw(samplers[1], 9) == list(range(1, count, world))


def test_end_workers_ends_the_processes_of_a_loader_that_is_still_referenced() -> None:
    data = ImageSet(images=torch.zeros(8, 1, 2, 2, dtype=torch.uint8), labels=None, names=list("abcdefgh"))
    before = set(multiprocessing.active_children())
    loader = make_loader(data, EpochSampler(8, 2, seed=0, shuffle=False), workers=2, pin=False)
    batches = iter(loader)
    assert next(batches)["index"].tolist() == [0, 1]
    assert len(set(multiprocessing.active_children()) - before) == 2
    end_workers(loader)
    assert set(multiprocessing.active_children()) == before
    end_workers(loader)  # a second call does nothing
