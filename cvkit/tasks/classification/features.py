"""Compute the features of images once, where only the last layers of a network are trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cvkit.models.runner import Runner
from cvkit.tasks.classification.data.dataset import ClassImages

BATCH_SIZE = 32


def find_last_layers(network: nn.Module, head: Sequence[str], shape: tuple[int, ...]) -> nn.Module | None:
    """Return the module that ends a network and has only the parameters of the last layer.

    It may contain layers without parameters, such as dropout before the last layer.

    Args:
        network: The network.
        head: Names of the parameters of the last layer.
        shape: (C, H, W) of its input.

    Returns:
        The largest such module whose output is that of the network; None if there is none, because the network changes
        the output of its last layer (SqueezeNet pools it).
    """
    path = head[0].rpartition(".")[0]
    candidates = [network.get_submodule(path)] if path else []
    while path := path.rpartition(".")[0]:
        parent = network.get_submodule(path)
        own = {f"{path}.{name}" for name, _ in parent.named_parameters()}
        if not isinstance(parent, nn.Sequential) or own != set(head):
            break
        candidates.append(parent)
    return next((module for module in reversed(candidates) if _ends(network, module, shape)), None)


@torch.inference_mode()
def _ends(network: nn.Module, module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Return whether the output of a module, which is called once, is the output of the network."""
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    try:
        output = network(torch.randn(2, *shape, device=device))
    finally:
        hook.remove()
        network.train(was_training)
    return len(outputs) == 1 and outputs[0].shape == output.shape and torch.equal(outputs[0], output)


def compute_features(
    runner: Runner, module: nn.Module, data: ClassImages, on_progress: Callable[[int], None]
) -> Tensor:
    """Return the input of a module for every image, in evaluation mode.

    Args:
        runner: The network.
        module: One of its modules.
        data: The images, without augmentation.
        on_progress: Receives the number of images done so far.

    Returns:
        (N, ...) float32 on the device of the network.
    """
    inputs: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0].float()))
    indices = np.arange(len(data.labels))
    try:
        for start in range(0, len(indices), BATCH_SIZE):
            runner.run(data.images(indices[start : start + BATCH_SIZE]))
            on_progress(min(start + BATCH_SIZE, len(indices)))
    finally:
        hook.remove()
    return torch.cat(inputs).clone()  # the tensors of inference mode could not be trained on
