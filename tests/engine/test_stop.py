"""Stopping in good order."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from cvkit.engine.stop import SIGNALS, StopSignal


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


def test_a_worker_passes_over_the_first_signals_and_ends_at_a_second_sigterm() -> None:
    script = (
        "import os, signal\n"
        "from cvkit.engine.stop import leave_signals_to_the_parent\n"
        "leave_signals_to_the_parent(0)\n"
        "for name in ('SIGINT', 'SIGUSR1', 'SIGINT', 'SIGTERM'):\n"
        "    os.kill(os.getpid(), getattr(signal, name))\n"
        "print('still here', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('never')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stdout == "still here\n"
