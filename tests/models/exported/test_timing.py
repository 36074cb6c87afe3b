"""How long things take, each by itself."""

import time
from collections.abc import Callable

from cvkit.models.exported.timing import median_call_seconds


def test_one_is_open_at_a_time_and_its_first_call_does_not_count() -> None:
    said: list[str] = []

    def way(name: str, first: float) -> Callable[[], Callable[[], None]]:
        def opened() -> Callable[[], None]:
            said.append(f"open {name}")
            waits = iter([first, 0.01, 0.01, 0.01])

            def call() -> None:
                said.append(name)
                time.sleep(next(waits))

            return call

        return opened

    found = median_call_seconds({"a": way("a", 0.3), "b": way("b", 0)}, rounds=2, seconds=0)
    assert said == 2 * ["open a", "a", "a", "a", "a", "open b", "b", "b", "b", "b"]
    assert 0.01 <= found["a"] < 0.1 and 0.01 <= found["b"] < 0.1


def test_it_calls_for_the_seconds() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.01)

    median_call_seconds({"a": lambda: call}, rounds=1, seconds=0.1)
    assert 4 < len(calls) <= 11
