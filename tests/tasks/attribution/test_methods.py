"""Test the CAM methods by hand-computed values, on a layer of two channels and 2x2 positions."""

import pytest
import torch
from torch import Tensor

from cvkit.tasks.attribution.methods import METHODS, eigencam, gradcam, gradcam_plus_plus, hirescam, layercam, xgradcam

A = torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]]])
G = torch.tensor([[[[1.0, 1.0], [0.0, 2.0]], [[-1.0, 2.0], [0.0, -5.0]]]])


def close(actual: Tensor, expected: list[list[float]]) -> bool:
    return torch.allclose(actual, torch.tensor([expected]), atol=1e-5)


def test_gradcam_equals_equations_1_and_2() -> None:
    # (1): alpha = mean of the gradient: (1 + 1 + 0 + 2) / 4 = 1, (-1 + 2 + 0 - 5) / 4 = -1
    # (2) before its ReLU: 1 * A_0 - 1 * A_1
    assert close(gradcam(A, G), [[1.0, -3.0], [1.0, 1.0]])


def test_hirescam_multiplies_at_each_position() -> None:
    assert close(hirescam(A, G), [[1.0 + 0.0, 0.0 + 6.0], [0.0 + 0.0, 2.0 + 0.0]])


def test_layercam_takes_positive_gradients_only() -> None:
    assert close(layercam(A, G), [[1.0, 6.0], [0.0, 2.0]])


def test_xgradcam_weighs_by_the_normalised_activation() -> None:
    # channel 0: sum A = 4, sum G A = 1 + 0 + 0 + 2 = 3: weight 3/4; channel 1: sum A = 4, sum G A = 6: weight 6/4
    expected = [[0.75 * 1, 1.5 * 3], [0.75 * 2 + 1.5 * 1, 0.75 * 1]]
    assert close(xgradcam(A, G), expected)


def test_gradcam_plus_plus_weighs_positive_gradients() -> None:
    # alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + 4 g); weight = sum of relu(g) alpha
    # channel 0: 1/6 + 1/6 + 2/10; channel 1: 2/10 (the negative ones add nothing)
    first, second = 1 / 6 + 1 / 6 + 0.2, 0.2
    expected = [[first, 3 * second], [2 * first + second, first]]
    assert close(gradcam_plus_plus(A, G), expected)


def test_eigencam_projects_onto_the_first_component() -> None:
    found = eigencam(A, G)[0].flatten()
    features = A[0].flatten(1).T - A[0].flatten(1).mean(1)
    values, vectors = torch.linalg.eigh(features.T @ features)
    projected = features @ vectors[:, -1]
    assert torch.allclose(found.abs(), projected.abs(), atol=1e-5)
    assert values[-1].item() == pytest.approx(found.square().sum().item(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.cam])
def test_zero_activations_give_zero_maps(name: str) -> None:
    cam = METHODS[name].cam
    assert cam is not None
    assert not cam(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)).any()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.cam])
def test_the_map_of_an_image_does_not_depend_on_the_batch(name: str) -> None:
    cam = METHODS[name].cam
    assert cam is not None
    generator = torch.Generator().manual_seed(1)
    activation, gradient = (
        torch.randn(3, 5, 4, 6, generator=generator).relu(),
        torch.randn(3, 5, 4, 6, generator=generator),
    )
    together = cam(activation, gradient)
    alone = torch.cat([cam(activation[i : i + 1], gradient[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 4, 6)
    assert torch.allclose(together, alone, atol=1e-5)
