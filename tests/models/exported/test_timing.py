"""Test the timing of functions one after the other."""

import time
from collections.abc import Callable

from cvkit.models.exported.timing import median_call_seconds


def test_one_variant_is_open_at_a_time_and_its_first_call_is_not_counted() -> None:
    calls: list[str] = []

    def variant(name: str, first_seconds: float) -> Callable[[], Callable[[], None]]:
        def open_variant() -> Callable[[], None]:
            calls.append(f"open {name}")
            waits = iter([first_seconds, 0.01, 0.01, 0.01])

            def call() -> None:
                calls.append(name)
                time.sleep(next(waits))

            return call

        return open_variant

    medians = median_call_seconds({"a": variant("a", 0.3), "b": variant("b", 0)}, rounds=2, seconds=0)
    assert calls == 2 * ["open a", "a", "a", "a", "a", "open b", "b", "b", "b", "b"]
    assert 0.01 <= medians["a"] < 0.1 and 0.01 <= medians["b"] < 0.1


def test_a_variant_is_called_until_the_seconds_have_passed() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.01)

    median_call_seconds({"a": lambda: call}, rounds=1, seconds=0.1)
    assert 4 < len(calls) <= 11
