"""Build optimisers, compute learning rates from the step number, and average weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from cvkit.config import TrainingConfig
from cvkit.engine.training.tensors import check_tensor

# What an optimiser keeps for each parameter. Adam's "step" is one number.
AVERAGES: dict[type, tuple[str, ...]] = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
}


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate.

    Attributes:
        parameters: The parameters.
        scales: Pairs of a first epoch (counted from 0, ascending, the first one 0) and the factor on the learning rate
            of the run from that epoch on. The parameters stay as they are while the factor is 0.
    """

    parameters: list[nn.Parameter]
    scales: tuple[tuple[int, float], ...] = ((0, 1.0),)

    @classmethod
    def frozen_until(cls, epoch: int, parameters: list[nn.Parameter], scale: float = 1.0) -> Self:
        """Return a group that is trained from an epoch on."""
        return cls(parameters, ((0, 0.0), (epoch, scale)) if epoch else ((0, scale),))


def make_optimizer(groups: Sequence[Group], config: TrainingConfig, lr: float) -> torch.optim.Optimizer:
    """Build the optimiser at peak learning rate ``lr``; biases and norms (one dimension) have no weight decay."""
    parts = []
    for group in groups:
        for decay in (True, False):
            chosen = [p for p in group.parameters if p.requires_grad and (p.ndim > 1) == decay]
            if chosen:
                parts.append(
                    {
                        "params": chosen,
                        "lr": lr * group.scales[0][1],
                        "weight_decay": config.weight_decay if decay else 0.0,
                        "scales": group.scales,
                    }
                )
    if config.optimizer == "sgd":
        return torch.optim.SGD(parts, lr=lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parts, lr=lr)


def load_averages(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load the averages of an optimiser from its ``state_dict()`` in a checkpoint.

    The settings stay those of ``make_optimizer``, because a resumed run has the same ones.

    Raises:
        ValueError: If an average does not fit its parameter.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [len(group["params"]) for group in saved["param_groups"]] != [len(group["params"]) for group in groups]:
        raise ValueError("the optimiser has other parameters")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    names = AVERAGES[type(optimizer)]
    known = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    for parameter, state in optimizer.state.items():
        if parameter not in known or not isinstance(state, dict) or not set(names) <= state.keys():
            raise ValueError("the averages of the optimiser are incomplete")
        for name in names:
            shape = torch.Size() if name == "step" else parameter.shape
            if state[name] is not None:
                check_tensor(f"the optimiser's {name}", state[name], shape, parameter.dtype)


def schedule_factor(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Return the factor on the learning rate at a step (counted from 0): linear warm-up, then the schedule."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return config.step_factor ** (step // (config.step_epochs * steps_per_epoch))
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rates(optimizer: torch.optim.Optimizer, lr: float, epoch: int) -> None:
    """Set the learning rate of every parameter group from that of the run; ``epoch`` counts from 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr * _scale_at(group["scales"], epoch)


def drop_frozen_gradients(optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Remove the gradients of frozen parameters, so that they change neither averages nor the norm of the gradients."""
    for group in optimizer.param_groups:
        if _scale_at(group["scales"], epoch) == 0:
            for parameter in group["params"]:
                parameter.grad = None


def largest_scale(optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """Return the largest factor on the learning rate of the run in an epoch, counted from 0."""
    return max(_scale_at(group["scales"], epoch) for group in optimizer.param_groups)


def _scale_at(scales: Sequence[tuple[int, float]], epoch: int) -> float:
    return [scale for first, scale in scales if first <= epoch][-1]


class WeightAverage:
    """An exponential moving average of a model's weights and buffers."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model. In early steps the decay is smaller, to forget the initial weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, current = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.values[name])
                current.append(value.detach())
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(averages, current, 1 - decay)

    def load(self, values: dict[str, Tensor]) -> None:
        """Load saved averages."""
        for name, value in values.items():
            self.values[name].copy_(value)
