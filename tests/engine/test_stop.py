"""Stopping in good order."""

import os
import signal
import threading

import pytest

from cvkit.engine.stop import SIGNALS, StopSignal, leave_signals_to_the_parent


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_handler_put_back(number: signal.Signals) -> None:
    def before(*_: object) -> None:
        raise AssertionError("the handler of before must not run")

    outer = signal.signal(number, before)
    try:
        with StopSignal() as stop:
            assert not stop.requested
            os.kill(os.getpid(), number)
            assert stop.requested
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, outer)


def test_the_handler_is_put_back_after_an_error() -> None:
    outer = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), StopSignal():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is outer


def test_other_threads_install_nothing() -> None:
    seen = []

    def work() -> None:
        with StopSignal() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    outer = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, outer)]


def test_loading_workers_ignore_what_their_parent_decides_on() -> None:
    numbers = [*SIGNALS, signal.SIGINT]
    outer = {number: signal.getsignal(number) for number in numbers}
    try:
        leave_signals_to_the_parent(0)
        assert {signal.getsignal(number) for number in numbers} == {signal.SIG_IGN}
    finally:
        for number, handler in outer.items():
            signal.signal(number, handler)
