import gc
import sys
import types

import pytest

from cvkit.imports import LARGE, without_collector


def test_the_collector_pauses_during_imports_and_runs_afterwards() -> None:
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failed_import_starts_the_collector_again() -> None:
    with pytest.raises(ModuleNotFoundError), without_collector():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("modules", "frozen"), [(LARGE + 1, True), (1, False)])
def test_only_the_objects_of_large_libraries_are_frozen(
    modules: int, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(True))
    with without_collector():
        for number in range(modules):
            monkeypatch.setitem(sys.modules, f"imported_{number}", types.ModuleType(f"imported_{number}"))
    assert bool(calls) == frozen
