"""How long things take beside each other."""

import statistics
import time
from collections.abc import Callable, Mapping

FEWEST_ROUNDS = 3


def side_by_side(runs: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float) -> dict[str, float]:
    """Return the median seconds of one call of each of ``runs``, called in turn so that all see the same machine.

    Each is called once before, which does not count. It ends after ``rounds`` calls of each, or after ``seconds`` in
    all when there have been three.
    """
    for run in runs.values():
        run()
    took: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - began > seconds:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in took.items()}
