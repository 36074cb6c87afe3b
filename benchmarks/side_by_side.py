"""Time several functions in turn, several times in one run, and print ratios of their medians."""

import statistics
import time
from collections.abc import Callable, Mapping


def median_seconds(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each function; one more round, the first one, warms up and is not counted.

    Args:
        functions: Functions to time, by name.
        rounds: Number of counted rounds. Each round calls every function once.
    """
    took: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if number:
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in took.items()}


def report(medians: Mapping[str, float], base: str, images: int = 0) -> None:
    """Print each median, its images per second, and its ratio to the base.

    Args:
        medians: Seconds by name.
        base: Name of the function that the others are compared with.
        images: Number of images that one call processes; 0 prints no images per second.
    """
    for name, median in medians.items():
        rate = f"{images / median:8.2f} images/s" if images else ""
        print(f"{name:36s} {median:8.3f} s {rate}  time is {median / medians[base]:.3f} of '{base}'")
