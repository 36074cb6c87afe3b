"""How long things take beside each other."""

import time

from cvkit.engine.timing import side_by_side


def test_each_is_called_in_turn_and_once_before() -> None:
    calls: list[str] = []
    found = side_by_side({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2, seconds=9)
    assert calls == ["a", "b", "a", "b", "a", "b"] and set(found) == {"a", "b"}


def test_the_median_of_the_calls_that_count() -> None:
    waits = iter([0.2, 0.02, 0.02, 0.2])  # the first does not count
    found = side_by_side({"a": lambda: time.sleep(next(waits))}, rounds=3, seconds=9)
    assert 0.02 <= found["a"] < 0.15


def test_it_stops_after_the_seconds_but_not_before_three() -> None:
    calls: list[int] = []
    side_by_side({"a": lambda: calls.append(1)}, rounds=99, seconds=0)
    assert len(calls) == 4
