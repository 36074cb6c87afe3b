"""Test the facts about metrics."""

from cvkit.catalog import METRICS
from cvkit.config import LAST
from cvkit.config.train_saliency import BEST_METRICS


def test_every_metric_has_a_range_and_its_own_name() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name and metric.label and metric.low < metric.high


def test_every_metric_that_can_select_the_best_epoch_has_a_row() -> None:
    assert set(BEST_METRICS) - {LAST} <= METRICS.keys()
