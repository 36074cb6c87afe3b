import math

import pytest
import torch

from cvkit.errors import UsageError
from cvkit.tasks.saliency.losses import (
    LOSSES,
    bce_loss,
    kl_cc_loss,
    kl_cc_nss_loss,
    kl_loss,
    make_loss,
    mlnet_loss,
    resize_like,
)

PRED = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
TARGET = torch.tensor([[0.0, 0.5], [0.5, 1.0]]).view(1, 1, 2, 2)


def test_mlnet_is_the_weighted_square_error_of_the_normalised_map() -> None:
    # phi/max = .25 .5 .75 1; errors .25 0 .25 0; weights 1/1.1, 1/.6, 1/.6, 1/.1
    expected = (0.0625 / 1.1 + 0.0625 / 0.6) / 4
    assert mlnet_loss(PRED, TARGET, alpha=1.1).item() == pytest.approx(expected, rel=1e-6)


def test_mlnet_takes_the_maximum_of_each_image() -> None:
    both = mlnet_loss(torch.cat([PRED, 100 * PRED]), torch.cat([TARGET, TARGET]))
    assert both.item() == pytest.approx(mlnet_loss(PRED, TARGET).item(), rel=1e-5)


def test_mlnet_weighs_a_bright_pixel_a_hundredfold() -> None:
    zeros = torch.zeros(1, 1, 2, 2)
    assert mlnet_loss(zeros, torch.ones(1, 1, 2, 2), alpha=1.01).item() == pytest.approx(100, rel=1e-3)


def test_bce_averages_blocks_before_the_logarithm() -> None:
    pred = torch.full((1, 1, 4, 8), 0.2)
    pred[..., :2, :] = 0.6  # the blocks' mean is 0.4
    target = torch.zeros(1, 1, 4, 8)
    target[..., :4] = 1.0  # the mean of one block is 1, that of the other 0
    expected = -(math.log(0.4) + math.log(0.6)) / 2
    assert bce_loss(pred, target).item() == pytest.approx(expected, rel=1e-6)


def test_bce_of_an_incomplete_block_averages_what_is_there() -> None:
    pred = torch.cat([torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 1), 0.25)], dim=3)
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert bce_loss(pred, torch.zeros(1, 1, 4, 5)).item() == pytest.approx(expected, rel=1e-6)


def test_bce_scales_a_map_that_exceeds_one() -> None:
    # 2 and 1 become 1 (clamped just below) and 0.5, in blocks of their own
    pred = torch.cat([torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 4, 4), 1.0)], dim=3)
    target = torch.cat([torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)], dim=3)
    assert bce_loss(pred, target).item() == pytest.approx(-math.log(0.5) / 2, abs=1e-5)


def test_kl_is_in_nats_between_distributions() -> None:
    # target 0 .25 .25 .5, prediction .1 .2 .3 .4
    expected = 0.25 * math.log(0.25 / 0.2) + 0.25 * math.log(0.25 / 0.3) + 0.5 * math.log(0.5 / 0.4)
    assert kl_loss(PRED, TARGET).item() == pytest.approx(expected, rel=1e-4)
    assert kl_loss(TARGET, TARGET).item() == pytest.approx(0, abs=1e-5)


def test_the_mixture_adds_cc_and_nss_with_their_weights() -> None:
    pred, target = [1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 0.5, 1.0]
    centred = [p - 2.5 for p in pred]
    cc = sum(p * (t - 0.5) for p, t in zip(centred, target, strict=True)) / math.sqrt(5 * 0.5)
    kl = kl_loss(PRED, TARGET).item()
    assert kl_cc_loss(PRED, TARGET).item() == pytest.approx(kl + 0.2 * (1 - cc), rel=1e-4)
    fixations = torch.tensor([[0.0, 0.0], [1.0, 2.0]]).view(1, 1, 2, 2)
    nss = (0.5 + 2 * 1.5) / math.sqrt(1.25) / 3
    expected = kl + 0.2 * (1 - cc) - 0.1 * nss
    assert kl_cc_nss_loss(PRED, TARGET, fixations).item() == pytest.approx(expected, rel=1e-4)


def test_without_fixations_the_nss_term_is_zero() -> None:
    plain = kl_cc_loss(PRED, TARGET)
    assert torch.equal(kl_cc_nss_loss(PRED, TARGET, None), plain)
    assert torch.equal(kl_cc_nss_loss(PRED, TARGET, torch.zeros(1, 1, 2, 2)), plain)


MAPS = {
    "zeros": torch.zeros(2, 1, 9, 12),
    "ones": torch.ones(2, 1, 9, 12),
    "constant": torch.full((2, 1, 9, 12), 0.3),
    "tiny": torch.full((2, 1, 9, 12), 1e-30),
    "one bright pixel": torch.nn.functional.one_hot(torch.tensor([5, 7]), 108).float().view(2, 1, 9, 12),
    "large": torch.linspace(0, 1e4, 216).view(2, 1, 9, 12),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_finite_on_every_kind_of_map(name: str, dtype: torch.dtype) -> None:
    loss = make_loss(name)
    for pred_kind, pred_map in MAPS.items():
        for target_kind in ("zeros", "ones", "constant", "one bright pixel"):
            for fixations in (None, MAPS["zeros"], MAPS["one bright pixel"]):
                pred = pred_map.to(dtype).clone().requires_grad_()
                value = loss(pred, MAPS[target_kind].to(dtype), fixations)
                value.backward()  # type: ignore[no-untyped-call]
                assert value.dtype == torch.float32 and value.dim() == 0
                assert torch.isfinite(value), (pred_kind, target_kind)
                assert pred.grad is not None and torch.isfinite(pred.grad).all(), (pred_kind, target_kind)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    pred = (torch.rand(1, 1, 4, 8) * 0.8 + 0.1).requires_grad_()
    target, fixations = torch.rand(1, 1, 4, 8), torch.randint(0, 3, (1, 1, 4, 8)).float()
    loss, direction, step = make_loss(name), torch.randn(1, 1, 4, 8), 1e-2
    (gradient,) = torch.autograd.grad(loss(pred, target, fixations), pred)
    with torch.no_grad():
        ahead, behind = (loss(pred + sign * step * direction, target, fixations) for sign in (1, -1))
    assert (gradient * direction).sum().item() == pytest.approx(
        ((ahead - behind) / (2 * step)).item(), rel=0.05, abs=2e-3
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_descent_from_a_constant_map_reduces_the_loss(name: str) -> None:
    torch.manual_seed(0)
    target = torch.zeros(1, 1, 8, 12)
    target[..., 0:4, 4:8] = 1.0
    free = torch.full((1, 1, 8, 12), 0.5).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    loss = make_loss(name)
    first = loss(free.clamp_min(0), target, target).item()
    for _ in range(40):
        optimizer.zero_grad()
        loss(free.clamp_min(0), target, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss(free.clamp_min(0), target, target).item() < 0.6 * first


def test_unknown_losses_and_alphas_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'kl-cc-nss'"):
        make_loss("kl-cc-ns")
    with pytest.raises(UsageError, match="greater than 1"):
        make_loss("mlnet", alpha=1.0)


def test_resize_like_averages_maps_over_areas() -> None:
    values = torch.arange(16.0).view(1, 1, 4, 4)
    like = torch.zeros(1, 1, 2, 2)
    assert resize_like(values, like).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert resize_like(values, like, counts=True).flatten().tolist() == [10.0, 18.0, 42.0, 50.0]
    assert torch.equal(resize_like(values, values), values)


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (7, 5), (20, 30)])
def test_resize_like_keeps_every_fixation_exactly_once(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    counts = torch.randint(0, 4, (2, 1, 10, 13)).float()
    matched = resize_like(counts, torch.zeros(2, 1, *size), counts=True)
    assert matched.shape == (2, 1, *size)
    assert torch.equal(matched.sum((1, 2, 3)), counts.sum((1, 2, 3)))
    assert resize_like(counts, torch.zeros(2, 1, *size)).shape == (2, 1, *size)
