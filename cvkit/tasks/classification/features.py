"""Compute the features of images once, where only the last layers of a network are trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cvkit.models.runner import Runner
from cvkit.tasks.classification.data.dataset import ClassImages

BATCH_SIZE = 32


def find_last_layers(network: nn.Module, head: Sequence[str], shape: tuple[int, ...]) -> nn.Sequential | None:
    """Return the modules that end a network, from its last layer and the layers without parameters before it.

    Args:
        network: The network, in the mode of training.
        head: Names of the parameters of the last layer.
        shape: (C, H, W) of its input.

    Returns:
        The modules, which the network shares. None if the network changes the output of its last layer (SqueezeNet
        pools it), or if their input is random in training (dropout between them and the layers before).
    """
    path, _, _ = head[0].rpartition(".")
    if not path:
        return None
    parent, _, name = path.rpartition(".")
    container = network.get_submodule(parent)
    modules = [network.get_submodule(path)]
    if isinstance(container, nn.Sequential):
        children = list(container)
        first = [each for each, _ in container.named_children()].index(name)
        while first > 0 and next(children[first - 1].parameters(), None) is None:
            first -= 1  # such as dropout, which differs in every epoch
        modules = children[first:]
    last_layers = nn.Sequential(*modules)
    return last_layers if _ends(network, last_layers, shape) else None


@torch.no_grad()
def _ends(network: nn.Module, last_layers: nn.Sequential, shape: tuple[int, ...]) -> bool:
    """Return whether the output of the modules is that of the network, and their input the same in training."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    hooks = [
        last_layers[0].register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0].clone())),
        last_layers[-1].register_forward_hook(lambda _module, _inputs, output: outputs.append(output.clone())),
    ]
    modes = {module: module.training for module in network.modules()}
    images = torch.randn(2, *shape, device=next(network.parameters()).device)
    try:
        network(images)
        output = network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    if len(inputs) != 2 or len(outputs) != 2:  # not called, or several times in a pass
        return False
    return torch.equal(inputs[0], inputs[1]) and outputs[1].shape == output.shape and torch.equal(outputs[1], output)


def compute_features(
    runner: Runner, last_layers: nn.Sequential, data: ClassImages, on_progress: Callable[[int], None]
) -> Tensor:
    """Return the input of the last layers for every image, in evaluation mode.

    Args:
        runner: The network.
        last_layers: Its last layers, from ``find_last_layers``.
        data: The images, without augmentation.
        on_progress: Receives the number of images done so far.

    Returns:
        (N, ...) float32 on the device of the network.
    """
    inputs: list[Tensor] = []
    # A copy, because the first layer may work in place.
    hook = last_layers[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].float().clone()))
    indices = np.arange(len(data.labels))
    try:
        for start in range(0, len(indices), BATCH_SIZE):
            runner.run(data.images(indices[start : start + BATCH_SIZE]))
            on_progress(min(start + BATCH_SIZE, len(indices)))
    finally:
        hook.remove()
    return torch.cat(inputs).clone()  # the tensors of inference mode could not be trained on
