"""Test learning rates, parameter groups and averages against values computed by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from cvkit.config import TrainingConfig
from cvkit.engine.training.optim import (
    Group,
    WeightAverage,
    drop_frozen_gradients,
    make_optimizer,
    schedule_factor,
    set_rates,
)


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 10, "warmup_epochs": 0.0, **settings})


def factors(settings: TrainingConfig, steps: list[int]) -> list[float]:
    return [schedule_factor(settings, step, 4) for step in steps]


def test_warm_up_increases_linearly() -> None:
    # Half an epoch of 8 steps is 4: 1/5, 2/5, 3/5, 4/5, and then the factors of the schedule.
    warm = config(warmup_epochs=0.5, schedule="constant")
    assert [schedule_factor(warm, step, 8) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_cosine_decreases_from_one_to_zero() -> None:
    assert factors(config(), [0, 20, 40, 99]) == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert factors(config(), [10]) == pytest.approx([0.8535534])  # (1 + cos(pi / 4)) / 2
    warm = config(warmup_epochs=1.0)  # 4 of 40 steps: the middle of the other 36 is step 22
    assert factors(warm, [4, 22, 40]) == pytest.approx([1.0, 0.5, 0.0])


def test_factors_of_the_step_and_the_constant_schedule() -> None:
    stepped = config(schedule="step", step_epochs=3, step_factor=0.1)
    assert factors(stepped, [0, 11, 12, 24]) == pytest.approx([1, 1, 0.1, 0.01])
    assert factors(config(schedule="constant"), [0, 39]) == [1, 1]


def test_a_run_that_is_all_warm_up_does_not_divide_by_zero() -> None:
    assert schedule_factor(config(epochs=1, warmup_epochs=5.0), 4, 4) == pytest.approx(5 / 21)


def test_biases_and_norms_have_no_weight_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2))
    model[2].weight.requires_grad_(False)
    optimizer = make_optimizer([Group(list(model.parameters()))], config(weight_decay=0.01), lr=0.1)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decays.get(id(p)) for name, p in model.named_parameters()} == {
        "0.weight": 0.01,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "2.weight": None,  # it is not trained
        "2.bias": 0.0,
    }


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_optimizers_by_name(name: str, kind: type) -> None:
    optimizer = make_optimizer([Group(list(nn.Linear(2, 2).parameters()))], config(optimizer=name), 0.1)
    assert type(optimizer) is kind


def test_parameter_groups_have_their_own_rates_and_a_frozen_group_has_rate_zero() -> None:
    backbone, head = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [Group.frozen_until(2, list(backbone.parameters()), 0.1), Group(list(head.parameters()))]
    optimizer = make_optimizer(groups, config(), lr=1.0)
    for epoch, expected in ((0, [0, 0, 0.5, 0.5]), (1, [0, 0, 0.5, 0.5]), (2, [0.05, 0.05, 0.5, 0.5])):
        set_rates(optimizer, 0.5, epoch)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)


def test_a_group_changes_its_rate_at_given_epochs() -> None:
    optimizer = make_optimizer([Group([nn.Parameter(torch.ones(2))], ((0, 1.0), (3, 0.1)))], config(), lr=1.0)
    rates = []
    for epoch in range(5):
        set_rates(optimizer, 0.5, epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05])


def test_the_gradients_of_frozen_parameters_are_removed_and_the_others_kept() -> None:
    frozen, trained = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = make_optimizer([Group.frozen_until(1, [frozen]), Group([trained])], config(), lr=1.0)
    for epoch, expected in ((0, None), (1, 1.0)):
        (frozen + trained).sum().backward()
        drop_frozen_gradients(optimizer, epoch)
        assert (None if frozen.grad is None else frozen.grad[0].item()) == expected
        assert trained.grad is not None
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_frozen_weights_do_not_move(name: str) -> None:
    backbone = nn.Linear(2, 2)
    optimizer = make_optimizer([Group.frozen_until(1, list(backbone.parameters()))], config(optimizer=name), 0.1)
    before = backbone.weight.detach().clone()
    for epoch, same in ((0, True), (1, False)):
        backbone(torch.ones(1, 2)).sum().backward()
        set_rates(optimizer, 0.1, epoch)
        optimizer.step()
        optimizer.zero_grad()
        assert torch.equal(backbone.weight, before) is same


def test_the_moving_average_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.num_batches_tracked.fill_(7)
    average.update(model, step=1)  # decay min(0.5, 2 / 11): 1 + (3 - 1) * 9 / 11
    assert average.values["weight"].item() == pytest.approx(1 + 2 * 9 / 11)
    assert average.values["num_batches_tracked"] == 7
    average.load({"weight": torch.tensor([1.0])})
    average.update(model, step=1000)  # decay 0.5
    assert average.values["weight"].item() == pytest.approx(2.0)
    assert model.weight.item() == 3.0
