"""Run checks in order of priority within a time budget; a check that fails does not stop the others."""

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from gpu_checks.lab import Lab
from gpu_checks.report import ERROR, FAILED, MEASURED, PASSED, SKIPPED, Outcome, Report, Row, Skip


class TimeIsUp(BaseException):
    """The time budget is spent while a check runs; no ``except Exception`` of the code under test catches it."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Its name, for ``--only``.
        kind: ``correctness`` or ``speed``.
        table: Title of the table that its rows belong to.
        seconds: Expected duration on a GPU; the check is skipped if less time is left.
        run: Returns its rows. Raises ``Skip`` with the reason if it does not apply.
    """

    name: str
    kind: str
    table: str
    seconds: float
    run: Callable[[Lab], list[Row]]


def run_checks(checks: Sequence[Check], lab: Lab, report: Report) -> None:
    """Run the checks, and report each outcome as soon as it is known."""
    for check in checks:
        left = lab.deadline - time.monotonic()
        if left < check.seconds * lab.slowness:
            message = f"{left:.0f} s were left, and it takes about {check.seconds:.0f} s: use a larger --minutes"
            outcome = Outcome(check.name, check.kind, SKIPPED, message=message)
        else:
            print(f"{check.name} ...", file=sys.stderr, flush=True)
            outcome = _run(check, lab, left)
        report.add(outcome)
        message = f" ({outcome.message})" if outcome.message else ""
        print(f"{check.name}: {outcome.status}{message}, {outcome.seconds:.1f} s", file=sys.stderr, flush=True)


def _run(check: Check, lab: Lab, seconds: float) -> Outcome:
    began = time.monotonic()
    rows: list[Row] = []
    status, message = ERROR, ""
    try:
        with _limited(seconds):
            rows = check.run(lab)
        if check.kind == "speed":
            status = MEASURED
        else:
            status = PASSED if all(row["ok"] for row in rows) else FAILED
            message = "; ".join(_problem(row) for row in rows if not row["ok"])
    except Skip as reason:
        status, message = SKIPPED, str(reason)
    except TimeIsUp:
        status, message = SKIPPED, "the time was up before it ended: use a larger --minutes"
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        traceback.print_exc()
    finally:
        lab.free_memory()
    return Outcome(check.name, check.kind, status, round(time.monotonic() - began, 2), message, rows, check.table)


def _problem(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name != "ok")


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the block after some seconds, where the system has interval timers."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(1.0, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
