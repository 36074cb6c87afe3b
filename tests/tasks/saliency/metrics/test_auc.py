"""Test the areas against values computed by hand and against loops over thresholds and pairs."""

import numpy as np
import pytest
import torch

from cvkit.tasks.saliency.metrics.auc import auc, auc_borji, auc_judd, auc_shuffled, sauc

MAP = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 4.0, 10.0]]])
FIX = torch.tensor([[[0, 0, 1], [0, 0, 2]]])
OTHER = torch.tensor([[[3, 0, 1], [0, 1, 0]]])
NOWHERE = torch.zeros_like(FIX)


def random_case(seed: int, levels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return four maps with many ties, and different numbers of fixations (with repeats) and of other fixations."""
    g = torch.Generator().manual_seed(seed)
    pred = torch.randint(0, levels, (4, 9, 11), generator=g).float() / levels - 0.3
    fixations = (torch.rand(4, 9, 11, generator=g) < torch.tensor([0.02, 0.1, 0.3, 0.6])[:, None, None]).int()
    fixations[:, 4, 5] = 3
    others = torch.randint(0, 3, (4, 9, 11), generator=g)
    return pred, fixations, others


def roc_area(hit: list[float], false: list[float]) -> float:
    return float(np.trapezoid([0.0, *hit, 1.0], [0.0, *false, 1.0]))


def pair_area(positives: np.ndarray, negatives: np.ndarray) -> float:
    wins = (positives[:, None] > negatives).sum() + 0.5 * (positives[:, None] == negatives).sum()
    return float(wins / (len(positives) * len(negatives)))


def test_auc_judd_by_hand() -> None:
    # 10: one pixel at or above, false 0/4, hit 1/2. 2: four at or above, false (4 - 2)/4, hit 1. Then (1, 1).
    assert auc_judd(MAP, FIX).item() == pytest.approx(0.5 * (0.5 + 1) / 2 + 0.5)


def test_auc_by_hand_counts_repeats() -> None:
    # 2 beats two pixels and ties with itself; 10 (twice) beats five and ties with itself
    assert auc(MAP, FIX).item() == pytest.approx((2.5 + 2 * 5.5) / (3 * 6))


def test_sauc_by_hand() -> None:
    # Negatives 0 0 0 2 4: 2 beats three and ties with one; 10 (twice) beats five
    assert sauc(MAP, FIX, OTHER).item() == pytest.approx((3.5 + 2 * 5) / (3 * 5))


def test_sampled_areas_by_hand() -> None:
    # Fixated .2 and 1: thresholds .3 ... 1 catch one of two, 0 ... .2 both. All pixels 0 .1 .2 .3 .4 1: a sixth at
    # .5 ... 1, two at .4 and at .3 (3 * 0.1 is a little more than 0.3, in MATLAB too), then four, five, six.
    hit, false = [0.5, 0.5, 0.5, 1.0, 1.0, 1.0], [1 / 6, 2 / 6, 2 / 6, 4 / 6, 5 / 6, 1.0]
    assert auc_borji(MAP, FIX).item() == pytest.approx(roc_area(hit, false))
    # Others, once each: 0 .2 .4: none above .4, a third at .4 and .3, two thirds at .2 and .1, all at 0
    hit, false = [0.5, 0.5, 1.0, 1.0], [0.0, 1 / 3, 2 / 3, 1.0]
    assert auc_shuffled(MAP, FIX, OTHER).item() == pytest.approx(roc_area(hit, false))


@pytest.mark.parametrize(("seed", "levels"), [(0, 3), (1, 17), (2, 10_000)])
def test_areas_equal_direct_loops(seed: int, levels: int) -> None:
    pred, fixations, others = random_case(seed, levels)
    got = [f(pred, fixations) for f in (auc, auc_judd, auc_borji)]
    got += [f(pred, fixations, others) for f in (sauc, auc_shuffled)]
    for n in range(len(pred)):
        s, f, o = (x[n].double().flatten().numpy() for x in (pred, fixations, others))
        positives, negatives = np.repeat(s, f.astype(int)), np.repeat(s, o.astype(int))
        ranks = np.arange(1, (f > 0).sum() + 1)
        at_or_above = np.array([(s >= t).sum() for t in np.sort(s[f > 0])[::-1]])
        unit = (s - s.min()) / (s.max() - s.min())
        steps = [i * 0.1 for i in range(10, -1, -1)]

        def rates(values: np.ndarray, steps: list[float] = steps) -> list[float]:
            return [float((values >= t).mean()) for t in steps]

        expected = [
            pair_area(positives, s),
            roc_area(list(ranks / len(ranks)), list((at_or_above - ranks) / (len(s) - len(ranks)))),
            roc_area(rates(unit[f > 0]), rates(unit)),
            pair_area(positives, negatives),
            roc_area(rates(unit[f > 0]), rates(unit[o > 0])),
        ]
        assert [float(scores[n]) for scores in got] == pytest.approx(expected, abs=1e-12)


def test_the_area_is_the_limit_of_sampling() -> None:
    pred, fixations, others = random_case(3, 50)
    rng = np.random.default_rng(0)
    unit = ((pred[1] - pred[1].min()) / (pred[1].max() - pred[1].min())).double().flatten().numpy()
    hits, pool = unit[fixations[1].flatten() > 0], unit[others[1].flatten() > 0]
    steps = [i * 0.1 for i in range(10, -1, -1)]
    hit = [(hits >= t).mean() for t in steps]
    for candidates, score in ((unit, auc_borji(pred, fixations)), (pool, auc_shuffled(pred, fixations, others))):
        draws = [rng.choice(candidates, len(hits)) for _ in range(4000)]
        areas = [roc_area(hit, [(draw >= t).mean() for t in steps]) for draw in draws]
        assert float(score[1]) == pytest.approx(np.mean(areas), abs=0.005)


def test_a_constant_map_scores_exactly_one_half() -> None:
    for level in (0.0, 0.1, 5.0):
        flat = torch.full((1, 2, 3), level)
        for f in (auc, auc_judd, auc_borji):
            assert f(flat, FIX).item() == 0.5
        for g in (sauc, auc_shuffled):
            assert g(flat, FIX, OTHER).item() == 0.5


def test_missing_fixations_make_only_their_image_undefined() -> None:
    maps = torch.cat((MAP, MAP, torch.ones_like(MAP)))
    fixations, others = torch.cat((FIX, NOWHERE, NOWHERE)), torch.cat((OTHER, OTHER, OTHER))
    for f in (auc, auc_judd, auc_borji):
        assert f(maps, fixations).isnan().tolist() == [False, True, True]
    for g in (sauc, auc_shuffled):
        assert g(maps, fixations, others).isnan().tolist() == [False, True, True]
        assert g(MAP, FIX, NOWHERE).isnan().all()
    assert auc_judd(MAP, torch.ones_like(FIX)).isnan().all()  # no pixel is left for the false positives


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_value_that_is_not_finite_makes_the_score_undefined(bad: float) -> None:
    broken = MAP.clone()
    broken[0, 0, 1] = bad  # at a pixel without fixations
    assert all(f(broken, FIX).isnan().all() for f in (auc, auc_judd, auc_borji))
    assert all(g(broken, FIX, OTHER).isnan().all() for g in (sauc, auc_shuffled))


def test_scores_do_not_depend_on_the_batch() -> None:
    pred, fixations, others = random_case(4, 20)
    for n in range(4):
        one = slice(n, n + 1)
        for f in (auc, auc_judd, auc_borji):
            torch.testing.assert_close(f(pred, fixations)[one], f(pred[one], fixations[one]), rtol=0, atol=1e-14)
        for g in (sauc, auc_shuffled):
            alone = g(pred[one], fixations[one], others[one])
            torch.testing.assert_close(g(pred, fixations, others)[one], alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_maps_and_counts_may_have_any_dtype(dtype: torch.dtype) -> None:
    assert auc(MAP.to(dtype), FIX.to(torch.uint8)).item() == auc(MAP, FIX).item()
    assert auc_judd(MAP.to(dtype), FIX > 0).item() == auc_judd(MAP, FIX).item()


def test_the_scores_do_not_depend_on_the_number_of_threads() -> None:
    pred, fixations, _ = random_case(5, 100)
    before, threads = auc(pred, fixations), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(auc(pred, fixations), before)
    finally:
        torch.set_num_threads(threads)


def test_other_fixations_may_be_one_map_for_all_images() -> None:
    pred, fixations, _ = random_case(6, 30)
    everyone = fixations.sum(0)
    for f in (sauc, auc_shuffled):
        torch.testing.assert_close(f(pred, fixations, everyone), f(pred, fixations, everyone - fixations))
    assert sauc(pred[:1], fixations[:1], fixations[0]).isnan().all()  # no other fixations
    assert auc_shuffled(pred[:1], fixations[:1], fixations[0]).isnan().all()


def test_others_of_another_size_are_refused() -> None:
    for f in (sauc, auc_shuffled):
        for others in (torch.ones(3, 2, dtype=torch.int32), torch.ones(1, 3, 2, dtype=torch.int32)):
            with pytest.raises(ValueError, match=r"others are|one shape"):
                f(MAP, FIX > 0, others)
    once = FIX.clamp_max(1)
    assert auc_shuffled(MAP, FIX > 0, (OTHER + once)[0]).item() == auc_shuffled(MAP, FIX, OTHER).item()
