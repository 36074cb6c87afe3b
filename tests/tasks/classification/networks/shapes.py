"""Count parameters and read layer shapes of networks on the meta device, which takes no memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build().eval()


def count_parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def output_shapes(network: nn.Module, input_shape: Shape) -> dict[str, Shape]:
    """Return the shape without the batch of the output of each module, by name."""
    shapes: dict[str, Shape] = {}

    names = {module: name for name, module in network.named_modules()}

    def record(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[names[module]] = tuple(output.shape[1:])

    for module in names:
        module.register_forward_hook(record)
    network(torch.empty(1, *input_shape, device="meta"))
    return shapes


def conv(before: int, after: int, side: int) -> int:
    """Return the number of weights and biases of a convolution."""
    return (before * side * side + 1) * after


def dense(before: int, after: int) -> int:
    return (before + 1) * after


def conv_norm(before: int, after: int, side: int, groups: int = 1) -> int:
    """Return the number of weights of a convolution without biases and of its batch norm."""
    return before // groups * side * side * after + 2 * after
