import math

import pytest
import torch

from cvkit.tasks.saliency.metrics.similarity import cc, kl, sim

A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
B = torch.tensor([[[4.0, 2.0], [3.0, 1.0]]])


def test_cc_by_hand() -> None:
    # Deviations -1.5 -.5 .5 1.5 and 1.5 -.5 .5 -1.5: (-2.25 + .25 + .25 - 2.25) / 5
    assert cc(A, B).item() == pytest.approx(-0.8)
    assert cc(A, 3 * A + 7).item() == pytest.approx(1.0)
    assert cc(A, A.max() - A).item() == pytest.approx(-1.0)


def test_sim_by_hand() -> None:
    # Divided by 10: min of .1 .2 .3 .4 and .4 .2 .3 .1
    assert sim(A, B, stretch=False).item() == pytest.approx(0.7)
    # Stretched: 0 1 2 3 and 3 1 2 0, each over 6
    assert sim(A, B, stretch=True).item() == pytest.approx(0.5)
    assert sim(A, A).item() == pytest.approx(1.0)


def test_kl_by_hand() -> None:
    expected = 0.4 * math.log(4) + 0.1 * math.log(0.25)
    assert kl(A, B).item() == pytest.approx(expected, abs=1e-9)
    assert kl(5 * A, A).item() == pytest.approx(0.0, abs=1e-9)


def test_kl_where_the_prediction_is_zero_is_large_but_finite() -> None:
    pred, target = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    # eps + 1 / eps under the logarithm
    assert kl(pred, target).item() == pytest.approx(-math.log(2.2204e-16))


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_a_constant_map_has_finite_scores(level: float) -> None:
    flat = torch.full((1, 2, 2), level)
    for one, other in ((flat, A), (A, flat), (flat, flat)):
        assert cc(one, other).item() == 0.0
    # The uniform map against .1 .2 .3 .4 (stretched: 0 1/6 2/6 3/6)
    assert sim(flat, A, stretch=False).item() == pytest.approx(0.8)
    assert sim(flat, A, stretch=True).item() == pytest.approx(1 / 6 + 0.5)
    uniform = sum(p * math.log(4 * p) for p in (0.1, 0.2, 0.3, 0.4))
    assert kl(flat, A).item() == pytest.approx(uniform)
    assert sim(flat, flat).item() == pytest.approx(1.0)
    assert kl(flat, flat).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("metric", [cc, sim, kl])
def test_a_value_that_is_not_finite_makes_the_score_undefined(metric) -> None:  # type: ignore[no-untyped-def]
    bad = A.clone()
    bad[0, 0, 0] = torch.inf
    batch = torch.cat((bad, A))
    assert metric(batch, torch.cat((B, B))).isnan().tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
@pytest.mark.parametrize("metric", [cc, sim, kl])
def test_maps_may_have_any_dtype_and_scale(metric, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    scores = metric((A * 7).to(dtype), B)
    assert scores.dtype == torch.float64
    assert scores.item() == pytest.approx(metric(A, B).item())
