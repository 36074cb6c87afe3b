"""Time functions one after the other."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping

Opener = Callable[[], Callable[[], object]]


def median_call_seconds(variants: Mapping[str, Opener], *, rounds: int, seconds: float) -> dict[str, float]:
    """Return the median seconds of one call of each variant.

    In each round, every variant is opened, called once for warm-up, then called for ``seconds`` (at least three times)
    and closed before the next one is opened. Two runtimes that are open at once would wait for each other's threads,
    and rounds let a machine whose speed drifts affect all variants alike.

    Args:
        variants: Functions by name that open a variant and return the function to time.
        rounds: Number of rounds.
        seconds: Time per variant and round.
    """
    took: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, opened in variants.items():
            took[name] += _block(opened(), seconds)
            gc.collect()
    return {name: statistics.median(each) for name, each in took.items()}


def _block(call: Callable[[], object], seconds: float) -> list[float]:
    call()
    took: list[float] = []
    while len(took) < 3 or sum(took) < seconds:
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took
