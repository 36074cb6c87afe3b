"""How long things take, each by itself."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping

Opener = Callable[[], Callable[[], object]]


def in_blocks(ways: Mapping[str, Opener], *, rounds: int, seconds: float) -> dict[str, float]:
    """Return the median seconds of one call of each way.

    Each way is opened, called once without being counted, then called for ``seconds`` (three times at least) and let
    go, before the next is opened; and all of that ``rounds`` times, so that a machine that drifts does so for all. Two
    runtimes open at once would wait for each other's threads.
    """
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, opened in ways.items():
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
