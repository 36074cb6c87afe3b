"""Time several ways to do one thing, in turn, several times, in one run; and print ratios of medians."""

import statistics
import time
from collections.abc import Callable, Mapping


def seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way, after one round that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            if number:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def report(medians: Mapping[str, float], base: str, images: int = 0) -> None:
    """Print each median, its images a second, and its ratio to the base."""
    for name, median in medians.items():
        rate = f"{images / median:8.2f} images/s" if images else ""
        print(f"{name:36s} {median:8.3f} s {rate}  time is {median / medians[base]:.3f} of '{base}'")
