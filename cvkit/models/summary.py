"""Summarise a network layer by layer: output shapes, parameters, multiply-adds and memory."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from cvkit.models.dry_run import BuildNetwork, Call, Shape, dry_run


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of one layer.

    A module with children counts only its own code: the multiply-adds of its functions, and tensors that it creates,
    such as a residual sum.

    Attributes:
        name: Name in ``named_modules()``; empty for the network itself.
        kind: Name of its class.
        output: Shape of its (first) output, with the batch dimension.
        parameters: Number of parameters that it uses itself, counted at the first layer that uses them.
        multiply_adds: Number of multiply-adds for the whole batch.
        activation_bytes: Bytes of its output for the whole batch; 0 for a layer that works in place or returns its
            input.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The layers of a network in the order in which they run, and their total costs.

    Weights, optimiser state and the workspace of operations need further memory, and so do, in inference, outputs kept
    for a shortcut connection.

    Attributes:
        layers: One row per call of a layer.
        parameters: Number of parameters of the network, including those that prediction does not use, such as auxiliary
            classifiers.
        multiply_adds: Number of multiply-adds for the whole batch.
        training_bytes: Bytes of all activations, which the backward pass needs.
        inference_bytes: Bytes of the largest two consecutive activations, because an output can be freed once the next
            layer has used it.
    """

    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int
    training_bytes: int
    inference_bytes: int


def summarise(build: BuildNetwork, input_shape: Shape, bytes_per_value: int = 4) -> Summary:
    """Summarise a network for images of one shape.

    A layer is a module without children, or a module with parameters, multiply-adds or outputs of its own. A layer that
    runs twice has two rows; ``nn.Identity`` has none. Multiply-adds are those of convolutions, linear layers and matrix
    products, including the two of attention; bias additions, norms, activations and poolings count 0. Source: Géron
    2019, Hands-On Machine Learning, chapter 14, "Memory Requirements".

    Args:
        build: Builds the network.
        input_shape: (N, 3, H, W) of the images.
        bytes_per_value: Bytes per element of the activations: 4 for fp32, 2 for fp16 and bf16.

    Raises:
        UsageError: If the network cannot process images of this size.
    """
    run = dry_run(build, input_shape)
    layers = tuple(
        Layer(
            name=call.name,
            kind=type(call.module).__name__,
            output=tuple(call.outputs[0].shape) if call.outputs else (),
            parameters=call.parameters,
            multiply_adds=call.multiply_adds,
            activation_bytes=call.values * bytes_per_value,
        )
        for call in run.calls
        if _has_row(call)
    )
    pairs = [size + next_size for size, next_size in pairwise(run.activations)]
    return Summary(
        layers=layers,
        parameters=sum(parameter.numel() for parameter in run.network.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        training_bytes=sum(run.activations) * bytes_per_value,
        inference_bytes=max(pairs, default=sum(run.activations)) * bytes_per_value,
    )


def _has_row(call: Call) -> bool:
    has_costs = call.parameters + call.multiply_adds + call.values > 0
    return has_costs or (call.is_leaf and not isinstance(call.module, nn.Identity))
