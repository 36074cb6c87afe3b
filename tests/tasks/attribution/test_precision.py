"""Check the errors of half-precision maps that docs/gradcam.md states, on real photographs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import specification

from .conftest import load_shared, photographs


def differences(shared: Path, name: str, dtype: torch.dtype) -> Tensor:
    """Return the absolute difference from float32 at every position of the maps of three ranks."""
    classifier = load_shared(shared, name)
    target = default_target(specification.blueprint(name), (1, 3, 224, 224), 1000)
    images = photographs(shared, classifier, more=30)
    full = Explainer(classifier.network, target)(images, lambda logits: logits.topk(3).indices)
    half = Explainer(classifier.network, target, autocast=lambda: torch.autocast("cpu", dtype=dtype))
    return (half(images, lambda _: full.classes).maps - full.maps).abs()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "dtype", "worst", "mean"),
    [
        ("squeezenet1_0", torch.float16, 0.02, 0.002),
        ("mobilenet_v2", torch.float16, 0.05, 0.02),
        # bf16 has a precision of 8 bits; the docs state these bounds.
        ("squeezenet1_0", torch.bfloat16, 0.1, 0.02),
        ("mobilenet_v2", torch.bfloat16, 0.3, 0.06),
    ],
)
def test_errors_in_half_precision_are_within_the_bounds_of_the_docs(
    shared: Path, name: str, dtype: torch.dtype, worst: float, mean: float
) -> None:
    errors = differences(shared, name, dtype)
    assert errors.max() < worst
    assert errors.mean((2, 3)).max() < mean
