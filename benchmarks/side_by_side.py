"""Time functions side by side, and describe the results as rows of one table.

Each round calls every function once, in alternating order, and ratios are those of one round. A slow phase of the
machine therefore meets all functions alike. The rows hold medians and ranges over the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes:
        claim: What was measured, in words.
        measured: The median over the rounds, with its unit.
        range: The smallest and the largest value over the rounds.
        peer: What cvkit was compared with.
    """

    claim: str
    measured: str
    range: str
    peer: str


def time_rounds(functions: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Return the seconds of each function in each round; one more round, the first one, warms up and is not counted.

    Args:
        functions: Functions to time, by name.
        rounds: Number of counted rounds. Every other round calls the functions in reverse order.
    """
    took: Times = {name: [] for name in functions}
    for number in range(rounds + 1):
        names = list(functions)
        for name in names if number % 2 else reversed(names):
            began = time.perf_counter()
            functions[name]()
            if number:
                took[name].append(time.perf_counter() - began)
    return took


def report(times: Times, base: str, images: int = 0) -> None:
    """Print the median and the range of each function, its images per second, and its time relative to the base.

    Args:
        times: Seconds per round by name.
        base: Name of the function that the others are compared with.
        images: Number of images that one call processes; 0 prints no images per second.
    """
    for name, seconds in times.items():
        median = statistics.median(seconds)
        rate = f"{images / median:8.2f} images/s" if images else ""
        spread = f"({min(seconds):.3f} to {max(seconds):.3f})"
        ratio = statistics.median(_ratios(times, name, base))
        print(f"{name:40s} {median:8.3f} s {spread:20s} {rate}  time is {ratio:.3f} of '{base}'")


def faster(times: Times, ours: str, peer: str, claim: str) -> Row:
    """Return how many times as fast ``ours`` is as ``peer``."""
    return _row(claim, _ratios(times, peer, ours), "{:.2f}", " times as fast", peer)


def slower(times: Times, ours: str, peer: str, claim: str) -> Row:
    """Return the time of ``ours`` as a multiple of that of ``peer``."""
    return _row(claim, _ratios(times, ours, peer), "{:.2f}", " times its time", peer)


def throughput(times: Times, ours: str, peer: str, claim: str) -> Row:
    """Return the throughput of ``ours`` as a percentage of that of ``peer``."""
    return _row(claim, [100 * ratio for ratio in _ratios(times, peer, ours)], "{:.0f}", " % of its throughput", peer)


def rate(times: Times, ours: str, images: int, claim: str) -> Row:
    """Return images per second."""
    return _row(claim, [images / seconds for seconds in times[ours]], "{:.1f}", " images/s", "–")


def extra_seconds(times: Times, ours: str, peer: str, claim: str) -> Row:
    """Return the seconds that ``ours`` takes more than ``peer``."""
    more = [own - other for own, other in zip(times[ours], times[peer], strict=True)]
    return _row(claim, more, "{:+.2f}", " s", peer)


def values_row(claim: str, values: Sequence[float], shape: str, unit: str, peer: str) -> Row:
    """Return a row for values that were measured once per round, formatted as ``shape`` says."""
    return _row(claim, values, shape, unit, peer)


def _ratios(times: Times, one: str, other: str) -> list[float]:
    return [a / b for a, b in zip(times[one], times[other], strict=True)]


def _row(claim: str, values: Sequence[float], shape: str, unit: str, peer: str) -> Row:
    spread = f"{shape.format(min(values))} to {shape.format(max(values))}" if len(values) > 1 else "one round"
    return Row(claim, shape.format(statistics.median(values)) + unit, spread, peer)


def make_parser(description: str | None, *, data: str | None = None, rounds: int = 5) -> argparse.ArgumentParser:
    """Return a parser with the common options: ``--rounds``, ``--json``, and ``--data`` if the benchmark takes data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data is not None:
        parser.add_argument("--data", default=data, help="folder of the data; generated data if it does not exist")
    parser.add_argument("--rounds", type=int, default=rounds, help="number of timed rounds")
    parser.add_argument("--json", type=Path, help="file for the rows, for bench.py")
    return parser


def publish(rows: Sequence[Row], target: Path | None) -> None:
    """Print the rows, and write them to a JSON file if one is given."""
    for row in rows:
        print(f"{row.claim}: {row.measured} ({row.range}); peer: {row.peer}")
    if target is not None:
        target.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
