import math

import pytest
import torch

from cvkit.tasks.saliency.metrics.fixation import information_gain, nss

MAP = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
ONCE_AND_TWICE = torch.tensor([[[1, 0], [0, 2]]])
NOWHERE = torch.zeros_like(ONCE_AND_TWICE)


def test_nss_by_hand() -> None:
    # Mean 3, squared deviations 4 1 0 9 = 14
    mit = (-2 + 3) / 2 / math.sqrt(14 / 3)
    tuebingen = (-2 + 3 + 3) / 3 / math.sqrt(14 / 4)
    assert nss(MAP, ONCE_AND_TWICE).item() == pytest.approx(mit)
    assert nss(MAP, ONCE_AND_TWICE, repeats=True, correction=0).item() == pytest.approx(tuebingen)


def test_information_gain_by_hand() -> None:
    base = torch.tensor([[1.0, 1.0], [1.0, 5.0]])
    # Divided by their sums: 1/12 against 1/8, and twice 6/12 against 5/8
    plain = (math.log2(8 / 12) + 2 * math.log2(0.5 / 0.625)) / 3
    assert information_gain(MAP, ONCE_AND_TWICE, base, repeats=True, stretch=False).item() == pytest.approx(plain)
    # Stretched: 0 1 2 5 over 8 and 0 0 0 1: 0 against 0, and 5/8 against 1
    stretched = math.log2(5 / 8) / 2
    assert information_gain(MAP, ONCE_AND_TWICE, base).item() == pytest.approx(stretched)
    assert information_gain(MAP, ONCE_AND_TWICE, base[None]).item() == pytest.approx(stretched)
    assert information_gain(MAP, ONCE_AND_TWICE, MAP).item() == 0.0


def test_a_constant_map_is_neutral_in_nss_and_uniform_in_information_gain() -> None:
    flat = torch.full((1, 2, 2), 0.1)
    base = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    assert nss(flat, ONCE_AND_TWICE).item() == 0.0
    expected = (math.log2(0.25 * 8) + 2 * math.log2(0.25 * 2)) / 3
    for stretch in (False, True):
        assert information_gain(flat, ONCE_AND_TWICE, flat, stretch=stretch).item() == 0.0
    assert information_gain(flat, ONCE_AND_TWICE, base, repeats=True, stretch=False).item() == pytest.approx(expected)


def test_only_the_image_without_fixations_is_undefined() -> None:
    maps, fixations = torch.cat((MAP, MAP)), torch.cat((NOWHERE, ONCE_AND_TWICE))
    for scores in (nss(maps, fixations), information_gain(maps, fixations, MAP[0])):
        assert scores.isnan().tolist() == [True, False]
    assert nss(maps, fixations)[1].item() == nss(MAP, ONCE_AND_TWICE).item()


def test_a_value_that_is_not_finite_makes_the_score_undefined() -> None:
    bad = MAP.clone()
    bad[0, 0, 1] = torch.inf  # at a pixel without fixations
    assert nss(bad, ONCE_AND_TWICE).isnan().all()
    for stretch in (False, True):
        assert information_gain(bad, ONCE_AND_TWICE, MAP, stretch=stretch).isnan().all()


def test_a_baseline_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        information_gain(MAP, ONCE_AND_TWICE, torch.ones(3, 2))


def test_nss_of_a_map_of_one_pixel_is_zero() -> None:
    assert nss(torch.full((1, 1, 1), 0.5), torch.ones(1, 1, 1, dtype=torch.int16)).tolist() == [0]
