"""Test the handling of stop signals."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from cvkit.engine.start_up import STOP_SIGNALS
from cvkit.engine.stop import StopSignal


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_recorded_and_the_previous_handler_is_restored(number: signal.Signals) -> None:
    def previous(*_: object) -> None:
        raise AssertionError("the previous handler must not run")

    outer = signal.signal(number, previous)
    try:
        with StopSignal() as stop:
            assert not stop.requested
            os.kill(os.getpid(), number)
            assert stop.requested
        assert signal.getsignal(number) is previous
    finally:
        signal.signal(number, outer)


def test_the_previous_handler_is_restored_after_an_error() -> None:
    outer = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), StopSignal():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is outer


def test_other_threads_install_no_handler() -> None:
    observed = []

    def work() -> None:
        with StopSignal() as stop:
            observed.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    outer = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert observed == [(False, outer)]


def test_a_worker_ignores_the_signals_of_a_job() -> None:
    script = (
        "import os, signal\n"
        "from cvkit.engine.stop import leave_signals_to_the_parent\n"
        "leave_signals_to_the_parent(0)\n"
        "for name in ('SIGINT', 'SIGUSR1', 'SIGINT', 'SIGTERM', 'SIGTERM'):\n"
        "    os.kill(os.getpid(), getattr(signal, name))\n"
        "print('still here', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert completed.returncode == -signal.SIGKILL
    assert completed.stdout == "still here\n"


def test_a_child_that_gets_a_signal_before_it_can_ignore_it_goes_on() -> None:
    script = (
        "import os, signal\n"
        "from cvkit.engine.stop import leave_signals_to_the_parent, signals_deferred\n"
        "with signals_deferred():\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        leave_signals_to_the_parent(0)\n"
        "        os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert completed.stdout == "7\n", completed.stderr


def test_an_interrupt_that_a_library_drops_is_raised_again() -> None:
    with StopSignal() as stop:
        with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _ = stop.requested
    with pytest.raises(KeyboardInterrupt), StopSignal():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_background_job_goes_on_ignoring_interrupts() -> None:
    outer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, outer)
