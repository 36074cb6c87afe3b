"""Summarise a network layer by layer: output shapes, parameters, multiply-adds and memory."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from cvkit.models.dry_run import BuildNetwork, Call, Shape, dry_run


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One run of one layer.

    ``name`` is dotted as in ``named_modules()``, empty for the network as a whole; ``kind`` is its class, ``output``
    the shape of its (first) output with the batch. ``parameters`` are those it uses itself, counted at the first layer
    that uses them; ``multiply_adds`` and ``activation_bytes`` are for the whole batch. The latter is the size of its
    output, 0 for a layer that works in place or passes its input through. A module with children counts what its own
    code does between them: its functions' products, and the tensors it hands on (a residual sum).
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The layers of a network in the order they run, and what they need together.

    ``parameters`` counts the whole network, those that prediction does not use (auxiliary classifiers) too.
    ``training_bytes`` are all activations, which the backward pass wants; ``inference_bytes`` the largest two
    consecutive ones, as an output can go once the next layer has used it. Weights, optimiser state and the working
    space of an operation come on top, and so do, in inference, outputs kept for a shortcut connection.
    """

    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int
    training_bytes: int
    inference_bytes: int


def summarise(build: BuildNetwork, input_shape: Shape, bytes_per_value: int = 4) -> Summary:
    """Return the layers of the network that ``build`` makes, for images (N, 3, H, W), and what they cost.

    A layer is a module without children, or one that has parameters, products or outputs of its own besides them; one
    that runs twice has two rows, and ``nn.Identity`` has none. Multiply-adds are those of convolutions, linear layers
    and matrix products (the two of attention too); additions of a bias, norms, activations and poolings count 0.
    Raises UsageError when the network cannot process images of this size. Source: Géron 2019, Hands-On Machine
    Learning, chapter 14, "Memory Requirements".
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
    pairs = [one + next_ for one, next_ in pairwise(run.activations)]
    return Summary(
        layers=layers,
        parameters=sum(parameter.numel() for parameter in run.network.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        training_bytes=sum(run.activations) * bytes_per_value,
        inference_bytes=max(pairs, default=sum(run.activations)) * bytes_per_value,
    )


def _has_row(call: "Call") -> bool:
    works = call.parameters + call.multiply_adds + call.values > 0
    return works or (call.is_leaf and not isinstance(call.module, nn.Identity))
