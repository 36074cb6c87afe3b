"""Compute the layers up to the target layer in another runtime, and only those behind it in PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.models.exported.graph import run_with_activation
from cvkit.tasks.attribution.capture import Capture, frozen_evaluation

RTOL, ATOL = 1e-3, 1e-4  # of the logits, against those of the whole network in PyTorch


@dataclass
class _Call:
    """A call of a module, the call from within which it was made, and its output."""

    module: nn.Module
    parent: "_Call | None"
    output: Any = None


class Shortcut:
    """Skips the layers before the target layer of a network, whose output another runtime computes.

    Args:
        module: Classifier that maps (N, 3, H, W) images to (N, C) logits, in evaluation mode.
        target: The target layer.
        size: (height, width) of the images in pixels.

    Attributes:
        head: Returns the output of the target layer for (N, 3, H, W) float32 images; the network itself at first.

    Raises:
        UsageError: If the class scores depend on earlier layers in another way than through the target layer.
    """

    def __init__(self, module: nn.Module, target: TargetLayer, size: tuple[int, int]) -> None:
        self.head: Callable[[Tensor], Tensor] = lambda images: run_with_activation(module, target.name, images)[1]
        self._layer = module.get_submodule(target.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            images = torch.randn(2, 3, *size)
        with frozen_evaluation(module), torch.no_grad():
            self._skipped = _layers_before(module, self._layer, images[:1])
            expected = Capture(module, target).forward(images, nullcontext)
            try:
                with self.skipping(images):
                    logits = Capture(module, target).forward(images, nullcontext)
            except RuntimeError as error:
                raise UsageError("the network writes into the outputs of layers before the target layer.") from error
        if not torch.allclose(logits, expected, rtol=RTOL, atol=ATOL * float(expected.abs().max())):
            raise UsageError("the class scores depend on layers before the target layer in another way.")

    @contextmanager
    def skipping(self, images: Tensor) -> Iterator[None]:
        """Replace the layers up to the target layer for one forward pass of these images."""
        output = self.head(images)
        nothing = torch.zeros(())
        layers = {self._layer: output}
        layers |= {layer: nothing.expand(len(images), *shape) for layer, shape in self._skipped.items()}
        for layer, value in layers.items():
            layer.forward = _returning(value)
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward


def _returning(value: Tensor) -> Callable[..., Tensor]:
    return lambda *_, **__: value


def _layers_before(module: nn.Module, layer: nn.Module, image: Tensor) -> dict[nn.Module, torch.Size]:
    """Return the outermost layers that end before a layer begins, with the shapes of their outputs per image."""
    finished: list[_Call] = []
    running: list[_Call] = []
    before: list[_Call] = []
    counts: dict[nn.Module, int] = {}

    def enter(one: nn.Module, _: Any) -> None:
        counts[one] = counts.get(one, 0) + 1
        running.append(_Call(one, running[-1] if running else None))
        if one is layer and not before:
            before.extend(finished)

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        call = running.pop()
        call.output = output
        finished.append(call)

    handles = [each.register_forward_pre_hook(enter) for each in module.modules()]
    handles += [each.register_forward_hook(leave) for each in module.modules()]
    try:
        module(image)
    finally:
        for handle in handles:
            handle.remove()
    ended = {id(call) for call in before}
    outermost = [call for call in before if call.parent is None or id(call.parent) not in ended]
    return {
        call.module: call.output.shape[1:]
        for call in outermost
        if counts[call.module] == 1 and isinstance(call.output, Tensor)
    }
