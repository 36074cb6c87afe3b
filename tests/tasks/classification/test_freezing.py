"""Test which layers of a classifier are trained, when, and at which learning rate."""

from typing import Any

import pytest
import torch
from torch import nn

from cvkit.config import TrainClassifierConfig
from cvkit.errors import UsageError
from cvkit.tasks.classification.freezing import TrainingPlan, list_blocks, make_plan


class Block(nn.Module):
    """A block that ends with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.norm.running_mean += 0.3
        self.drop = nn.Dropout(0.5)


class Network(nn.Module):
    """A network with two blocks, and dropout before its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1))
        self.stem = nn.Conv2d(3, 2, 1)
        self.blocks = nn.Sequential(Block(), Block())
        self.classifier = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))


HEAD = ("classifier.4.weight", "classifier.4.bias")
STEM = {"token", "stem.weight", "stem.bias"}


def plan_of(network: nn.Module | None = None, **options: Any) -> TrainingPlan:
    settings = TrainClassifierConfig(data="d", model="mobilenet_v2", **options).resolved()
    return make_plan(network or Network(), HEAD, settings)


def names_of(network: nn.Module, prefix: str = "") -> set[str]:
    return {name for name, _ in network.named_parameters() if name.startswith(prefix)}


def in_training(network: nn.Module, plan: TrainingPlan, epoch: int = 0) -> set[str]:
    """Return the layers without children that are in training mode."""
    plan.set_mode(network, epoch, switch_gradients=True)
    leaves = {name for name, module in network.named_modules() if next(module.children(), None) is None}
    return {name for name, module in network.named_modules() if module.training} & leaves


def rates(plan: TrainingPlan, network: nn.Module, epoch: int) -> dict[str, float]:
    """Return the factor on the learning rate of each parameter in an epoch."""
    by_id = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        by_id[id(parameter)]: [scale for first, scale in group.scales if first <= epoch][-1]
        for group in plan.groups(network)
        for parameter in group.parameters
    }


def test_the_blocks_of_a_network_are_listed_in_its_order() -> None:
    assert [sorted({name.rpartition(".")[0] for name in block}) for block in list_blocks(Network())] == [
        ["", "stem"],
        ["blocks.0.conv", "blocks.0.norm"],
        ["blocks.1.conv", "blocks.1.norm"],
        ["classifier.0"],
        ["classifier.4"],
    ]


def test_nothing_is_frozen_by_default() -> None:
    network, plan = Network(), plan_of()
    assert not plan.never and not plan.later and not plan.only_head
    assert set(rates(plan, network, 0).values()) == {1.0}
    assert rates(plan, network, 0).keys() == names_of(network)
    assert "blocks.0.drop" in in_training(network, plan)


def test_a_frozen_backbone_trains_the_last_layer_only() -> None:
    network, plan = Network(), plan_of(freeze="backbone")
    assert plan.never == names_of(network) - set(HEAD) and plan.only_head
    assert rates(plan, network, 0) == dict.fromkeys(HEAD, 1.0)
    plan.require_gradients(network)
    assert {name for name, value in network.named_parameters() if value.requires_grad} == set(HEAD)


def test_dropout_has_the_mode_of_the_layer_it_precedes() -> None:
    """Batch norms and dropout of frozen layers are in evaluation mode; dropout before the last layer is not."""
    expected = {"classifier.1", "classifier.2", "classifier.3", "classifier.4"}
    assert in_training(Network(), plan_of(freeze="backbone")) == expected


def test_a_block_that_is_frozen_as_a_whole_is_in_evaluation_mode() -> None:
    network, plan = Network(), plan_of(freeze="blocks.0")
    assert plan.never == STEM | names_of(network, "blocks.0.") and not plan.only_head
    trained = in_training(network, plan)
    assert {name for name in trained if name.startswith("blocks")} == {
        f"blocks.1.{n}" for n in ("conv", "norm", "drop")
    }
    assert not network.blocks[0].training and network.blocks[1].training and network.training


def test_a_layer_inside_a_block_can_be_named() -> None:
    plan = plan_of(freeze="blocks.1.conv")
    network = Network()
    assert plan.never == STEM | names_of(network, "blocks.0.") | names_of(network, "blocks.1.conv")
    assert "blocks.1.norm" in in_training(network, plan)


def test_the_last_layer_is_never_frozen() -> None:
    assert plan_of(freeze="classifier").never == names_of(Network()) - set(HEAD)


@pytest.mark.parametrize("flag", ["--freeze", "--unfreeze-from"])
@pytest.mark.parametrize(("layer", "said"), [("blocks.O", "Did you mean"), ("xyz", "models show"), ("", "")])
def test_an_unknown_layer_is_refused(flag: str, layer: str, said: str) -> None:
    options = {"freeze": layer} if flag == "--freeze" else {"unfreeze_from": layer, "freeze": "backbone"}
    with pytest.raises(UsageError, match=rf"{flag} .*{said}"):
        plan_of(**options, unfreeze_at=1)


def test_a_layer_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="no layer of this name with weights"):
        plan_of(freeze="blocks.0.drop")


def test_the_upper_half_is_unfrozen_by_default() -> None:
    network = Network()
    plan = plan_of(network, freeze="backbone", unfreeze_at=2, lr=0.1)
    assert plan.later == names_of(network, "blocks.1.") | names_of(network, "classifier.0.")
    assert plan.never == STEM | names_of(network, "blocks.0.") and not plan.only_head
    assert plan.frozen(1) == plan.never | plan.later and plan.frozen(2) == plan.never
    assert rates(plan, network, 1) == dict.fromkeys(plan.later, 0.0) | dict.fromkeys(HEAD, 1.0)
    # All trained layers continue at a tenth of --lr.
    assert rates(plan, network, 2) == pytest.approx(dict.fromkeys(plan.later | set(HEAD), 0.1))
    assert "blocks.1.norm" not in in_training(network, plan, 1)
    assert {"blocks.1.norm", "blocks.1.drop"} <= in_training(network, plan, 2)
    assert "blocks.0.norm" not in in_training(network, plan, 2)


def test_unfreezing_has_a_layer_and_a_learning_rate() -> None:
    network = Network()
    plan = plan_of(network, freeze="backbone", unfreeze_at=3, unfreeze_from="classifier", lr=0.2, unfreeze_lr=0.05)
    assert plan.later == names_of(network, "classifier.0.")
    assert rates(plan, network, 3)["classifier.0.weight"] == pytest.approx(0.25)
    everything = plan_of(network, freeze="backbone", unfreeze_at=3, unfreeze_from="all")
    assert not everything.never and everything.later == names_of(network) - set(HEAD)


def test_a_layer_that_is_not_frozen_cannot_be_unfrozen() -> None:
    with pytest.raises(UsageError, match="--unfreeze-from classifier: no layer from there on is frozen"):
        plan_of(freeze="blocks.0", unfreeze_at=1, unfreeze_from="classifier")
    with pytest.raises(UsageError, match="--unfreeze-at 1: no layer in the upper half of the network is frozen"):
        plan_of(freeze="blocks.0", unfreeze_at=1)


def test_gradients_are_switched_at_the_epoch_unless_processes_exchange_them() -> None:
    network = Network()
    plan = plan_of(network, freeze="backbone", unfreeze_at=1)
    plan.require_gradients(network)
    weight = network.get_parameter("blocks.1.conv.weight")
    for switch, epoch, expected in ((False, 0, True), (True, 0, False), (True, 1, True)):
        plan.set_mode(network, epoch, switch_gradients=switch)
        assert weight.requires_grad is expected
    assert not network.get_parameter("stem.weight").requires_grad


def test_learning_rates_decay_by_block() -> None:
    network = Network()
    found = rates(plan_of(network, layer_decay=0.5), network, 0)
    by_block = {"token": 1 / 16, "stem": 1 / 16, "blocks.0": 1 / 8, "blocks.1": 1 / 4, "classifier.0": 1 / 2}
    for prefix, expected in {**by_block, "classifier.4": 1}.items():
        assert {value for name, value in found.items() if name.startswith(prefix)} == {expected}


def test_learning_rates_decay_after_unfreezing_too() -> None:
    network = Network()
    plan = plan_of(network, freeze="backbone", unfreeze_at=1, unfreeze_from="all", layer_decay=0.5, lr=1.0)
    assert rates(plan, network, 0)["stem.weight"] == 0
    assert rates(plan, network, 1)["stem.weight"] == pytest.approx(0.1 / 16)
    assert rates(plan, network, 1)[HEAD[0]] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "measured", "fixed"),
    [
        ({}, True, False),
        ({}, False, True),  # folded into the convolutions
        ({"weights": "none"}, False, False),
        ({"norm_stats": "fixed"}, True, True),
        ({"norm_stats": "update"}, False, False),
    ],
)
def test_statistics_of_folded_batch_norms_stay_fixed(options: dict[str, Any], measured: bool, fixed: bool) -> None:
    network = Network()
    if not measured:
        for block in network.blocks:
            block.norm.reset_running_stats()
    plan = plan_of(network, **options)
    assert plan.fixed_norm is fixed
    assert ("blocks.0.norm" in in_training(network, plan)) is not fixed
    assert "blocks.0.conv" in in_training(network, plan)


def test_batch_norms_without_statistics_use_those_of_the_batch() -> None:
    network = Network()
    network.blocks[0].norm = nn.BatchNorm2d(2, track_running_stats=False)
    network.blocks[1].norm = nn.BatchNorm2d(2, affine=False)
    for weights in ("none", "imagenet"):
        plan_of(network, weights=weights).set_mode(network, 0, switch_gradients=True)
