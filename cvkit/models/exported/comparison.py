"""Compare the outputs of an exported file with those of its network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cvkit.errors import WeightsError
from cvkit.models.exported.facts import Facts

Outputs = tuple[Tensor, ...]
# Relative difference between two runtimes that the rounding of float32 explains: outputs of trained networks around
# 6,000 differ by 0.002, which is 3e-7 of them; the deepest networks of timm reach a few times that.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison of an exported file with its network.

    Attributes:
        batch: Number of images.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        absolute: Largest absolute difference of any output.
        relative: Largest difference as a fraction of the largest value of that output.
        unexplained: Largest difference of the outputs whose relative difference exceeds ``ROUNDING``.
        agreement: Fraction of images with the same top class; None if there are no classes.
    """

    batch: int
    height: int
    width: int
    absolute: float
    relative: float
    unexplained: float
    agreement: float | None


def compare(expected: Outputs, found: Outputs, size: tuple[int, int], classes: bool) -> Check:
    """Compare the outputs of a file with those of its network.

    Outputs of integers, which are classes, count only for the agreement. A value that is not finite makes the
    differences infinite.

    Args:
        expected: Outputs of the network.
        found: Outputs of the file.
        size: (height, width) of the images in pixels.
        classes: Whether the outputs are those of a classifier.

    Raises:
        WeightsError: If the shapes differ.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise WeightsError("the output shapes of the exported file differ from those of the network.")
    absolute = relative = unexplained = 0.0
    for one, other in zip(expected, found, strict=True):
        if one.is_floating_point():
            difference = float((one.double() - other.double()).abs().max())
            finite = bool(torch.isfinite(one).all() and torch.isfinite(other).all())
            difference = difference if finite else float("inf")
            absolute = max(absolute, difference)
            largest = max(float(one.double().abs().max()), 1e-30) if finite else 1.0
            relative = max(relative, difference / largest)
            unexplained = max(unexplained, difference if difference / largest > ROUNDING else 0.0)
    agreement = float((top_classes(expected) == top_classes(found)).float().mean()) if classes else None
    batch, (height, width) = len(expected[0]), size
    differences = {"absolute": absolute, "relative": relative, "unexplained": unexplained}
    return Check(batch=batch, height=height, width=width, agreement=agreement, **differences)


def top_classes(outputs: Outputs) -> Tensor:
    """Return the (N,) top class of logits, or of a graph that ends in its most likely classes."""
    if len(outputs) > 1 and not outputs[1].is_floating_point():
        return outputs[1][:, 0]
    return outputs[0].argmax(1)


def sizes_to_try(facts: Facts) -> Sequence[tuple[int, int]]:
    """Return the (height, width) to verify a file with: its own, and a larger one if the size is dynamic."""
    height, width = facts.size
    other = (height + 32 * ("height" in facts.dynamic), width + 64 * ("width" in facts.dynamic))
    return [facts.size] if other == facts.size else [facts.size, other]


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation of two stacks of maps.

    Args:
        one: (N, H, W), any real dtype.
        other: (N, H, W), any real dtype.

    Returns:
        (N,) float64 from -1 to 1; 0 where a map is constant.
    """
    a, b = (maps.flatten(1).double() for maps in (one, other))
    constant = (a == a[:, :1]).all(1) | (b == b[:, :1]).all(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    product = (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())
    return torch.where(constant, torch.zeros_like(product), product)
