"""Decide which layers of a classifier are trained, when, and at which learning rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvkit.config import TrainClassifierConfig
from cvkit.engine.training.optim import Group
from cvkit.errors import UsageError
from cvkit.messages import nearest

CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The layers that are trained, by the names of their parameters.

    Attributes:
        never: Parameters that stay fixed for the whole run.
        later: Parameters that stay fixed until the epoch ``unfreeze_at``.
        scales: Factor on the learning rate of each other parameter and of those of ``later``.
        unfreeze_at: Epoch from which ``later`` is trained; 0 if there are none.
        later_factor: Factor on all learning rates from that epoch on.
        fixed_norm: Whether batch norms keep their statistics.
        only_head: Whether the parameters of the last layer are the only ones that are ever trained.
    """

    never: frozenset[str]
    later: frozenset[str]
    scales: dict[str, float]
    unfreeze_at: int
    later_factor: float
    fixed_norm: bool
    only_head: bool

    def frozen(self, epoch: int) -> frozenset[str]:
        """Return the names of the parameters that are fixed in an epoch, counted from 0."""
        return self.never if epoch >= self.unfreeze_at else self.never | self.later

    def groups(self, network: nn.Module) -> list[Group]:
        """Return the parameters to train, grouped by their learning rates."""
        grouped: dict[tuple[tuple[int, float], ...], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            if name in self.never:
                continue
            scale = self.scales[name]
            first = (0, 0.0 if name in self.later else scale)
            second = ((self.unfreeze_at, scale * self.later_factor),) if self.unfreeze_at else ()
            grouped.setdefault((first, *second), []).append(parameter)
        return [Group(parameters, scales) for scales, parameters in grouped.items()]

    def require_gradients(self, network: nn.Module) -> None:
        """Require gradients of all parameters that are trained at any time, and of no others."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in self.never)

    def set_mode(self, network: nn.Module, epoch: int, *, switch_gradients: bool) -> None:
        """Put the trained layers into training mode and the frozen ones into evaluation mode.

        Args:
            network: The network.
            epoch: The epoch, counted from 0.
            switch_gradients: Whether parameters of ``later`` require gradients only while they are trained, which saves
                the cost.
        """
        frozen = self.frozen(epoch)
        if switch_gradients:
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name not in frozen)
        network.train()
        # A layer without parameters, such as dropout, has the mode of the next layer that has some.
        waiting: list[nn.Module] = []
        for name, module in _leaves(network):
            own = [f"{name}.{each}" for each, _ in module.named_parameters(recurse=False)]
            waiting.append(module)
            if own:
                if all(each in frozen for each in own):
                    for each in waiting:
                        each.eval()
                waiting = []
            if self.fixed_norm and isinstance(module, _BatchNorm):
                module.eval()
        # Blocks may apply dropout by a function, and end with a layer without parameters.
        for name, module in network.named_modules():
            own = [f"{name}.{each}" for each, _ in module.named_parameters()] if name else []
            if own and all(each in frozen for each in own):
                module.eval()


def make_plan(network: nn.Module, head: Sequence[str], settings: TrainClassifierConfig) -> TrainingPlan:
    """Return which layers are trained.

    Args:
        network: The network.
        head: Names of the parameters of the last layer.
        settings: Resolved settings of the command.

    Raises:
        UsageError: If the network has no layer of a given name.
    """
    assert settings.unfreeze_at is not None and settings.lr is not None and settings.layer_decay is not None
    names = [name for name, _ in network.named_parameters()]
    blocks = list_blocks(network)
    frozen = _frozen(network, names, head, settings)
    later = frozen & _unfrozen(network, names, blocks, settings)
    if settings.unfreeze_at and not later:
        if settings.unfreeze_from is not None:
            raise UsageError(f"--unfreeze-from {settings.unfreeze_from}: no layer from there on is frozen.")
        raise UsageError(
            f"--unfreeze-at {settings.unfreeze_at}: no layer in the upper half of the network is frozen. Name the "
            "first layer to train with --unfreeze-from."
        )
    depth = {name: len(blocks) - 1 - number for number, block in enumerate(blocks) for name in block}
    lr = settings.unfreeze_lr or settings.lr / 10
    return TrainingPlan(
        never=frozenset(frozen - later),
        later=frozenset(later),
        scales={name: settings.layer_decay ** depth[name] for name in names},
        unfreeze_at=settings.unfreeze_at if later else 0,
        later_factor=lr / settings.lr if later else 1.0,
        only_head=set(names) - (frozen - later) <= set(head),
        fixed_norm=settings.norm_stats == "fixed" or (settings.norm_stats is None and _is_folded(network, settings)),
    )


def _frozen(network: nn.Module, names: Sequence[str], head: Sequence[str], settings: TrainClassifierConfig) -> set[str]:
    """Return the names of the parameters that are fixed at first."""
    if settings.freeze in (None, "none"):
        return set()
    if settings.freeze == "backbone":
        return set(names) - set(head)
    return set(names[: _span(network, names, settings.freeze, "--freeze")[1]]) - set(head)


def _unfrozen(
    network: nn.Module, names: Sequence[str], blocks: Sequence[Sequence[str]], settings: TrainClassifierConfig
) -> set[str]:
    """Return the names of the parameters that are trained from ``unfreeze_at`` on."""
    if not settings.unfreeze_at:
        return set()
    if settings.unfreeze_from is None:
        return set(names[names.index(blocks[len(blocks) // 2][0]) :])
    if settings.unfreeze_from == "all":
        return set(names)
    return set(names[_span(network, names, settings.unfreeze_from, "--unfreeze-from")[0] :])


def _is_folded(network: nn.Module, settings: TrainClassifierConfig) -> bool:
    """Return whether pretrained weights have no statistics of batch norms, because they are folded into convolutions.

    Normalising by the statistics of a batch would then change every activation.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    trivial = not any(bool(mean.any()) for mean in means) and all(bool(torch.all(each == 1)) for each in variances)
    return settings.weights != "none" and trivial


def list_blocks(network: nn.Module) -> list[list[str]]:
    """Return the names of a network's parameters by block, in the order of the network.

    A block is a child of the network, or of a sequence in it at any depth. Parameters of the network itself, such as
    the position embedding of a transformer, belong to the first block.
    """
    blocks = [names for names in _blocks(network, "") if names]
    own = [name for name, _ in network.named_parameters(recurse=False)]
    return [own + blocks[0], *blocks[1:]] if blocks else [own]


def _blocks(module: nn.Module, prefix: str) -> Iterator[list[str]]:
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, CONTAINERS):
            yield from _blocks(child, f"{path}.")
        else:
            yield [f"{path}.{each}" for each, _ in child.named_parameters()]


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that have parameters of their own or no children, in the order of the network."""
    for name, module in network.named_modules():
        if name and (next(module.children(), None) is None or next(module.parameters(recurse=False), None) is not None):
            yield name, module


def _span(network: nn.Module, names: Sequence[str], layer: str, flag: str) -> tuple[int, int]:
    """Return the position of the first parameter of a layer, and the one after its last."""
    own = [number for number, name in enumerate(names) if name == layer or name.startswith(f"{layer}.")]
    if not own:
        layers = [name for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
        near = nearest(layer, layers) or " `cvkit models show` lists the layers of a network."
        raise UsageError(f"{flag} {layer}: the network has no layer of this name with weights.{near}")
    return own[0], own[-1] + 1
