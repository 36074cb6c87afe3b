"""Stop at a safe point when a signal asks for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from cvkit.errors import StoppedBySignal
from cvkit.progress import Event, Reporter

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
JOB_SIGNALS = (*SIGNALS, signal.SIGINT)  # what a scheduler or a terminal sends to every process of a job
STOPPED_BEFORE_TRAINING = "stopped by a signal before training began: run the same command again."


class StopSignal:
    """A context in which SIGTERM and SIGUSR1 set ``requested`` instead of ending the process.

    Ctrl-C raises KeyboardInterrupt at once, as elsewhere. Python drops an exception that is raised inside a destructor
    or a callback of a library, so ``requested`` raises it again.

    Outside the main thread it installs nothing, because Python allows signal handlers in the main thread only.
    """

    def __init__(self) -> None:
        self._requested = self._interrupted = False
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether SIGTERM or SIGUSR1 came.

        Raises:
            KeyboardInterrupt: If Ctrl-C came.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        return self._requested

    def request(self) -> None:
        """Ask to stop, as a signal does."""
        self._requested = True

    def _request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.request()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in SIGNALS}
            # A shell starts background jobs with SIGINT ignored, and they must go on ignoring it.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]


class CommonStop:
    """The decision of several processes to stop at the same step.

    Attributes:
        signal: The signal context of this process.
        agreed: Whether the processes decided to stop when they were last polled.
    """

    def __init__(self, signal: StopSignal, fabric: "Fabric") -> None:
        self.signal, self.fabric = signal, fabric
        self.agreed = False

    def poll(self) -> bool:
        """Return whether a signal came to any process. All processes must call this at the same step."""
        if self.fabric.world_size == 1:
            self.agreed = self.signal.requested
        else:
            import torch

            requested = torch.tensor(float(self.signal.requested), device=self.fabric.device)
            self.agreed = bool(self.fabric.all_reduce(requested, reduce_op="sum") > 0)  # type: ignore[operator]
        return self.agreed


def interruptible(stop: StopSignal, report: Reporter, message: str) -> Reporter:
    """Return a reporter that raises StoppedBySignal with a message at the first event after a signal."""

    def report_or_stop(event: Event) -> None:
        report(event)
        if stop.requested:
            raise StoppedBySignal(message)

    return report_or_stop


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer the signals that end a job until the context ends.

    Child processes that are forked inside the context start with the signals deferred too, until they call
    ``leave_signals_to_the_parent``. A signal to all processes of a job could end a child before that otherwise.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no forked processes
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, JOB_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent(worker: int) -> None:
    """Ignore, in a loading worker, the signals that a scheduler or a terminal sends to every process of a job.

    The parent decides what they mean, and needs its workers to finish the current step. It ends them by SIGKILL.
    """
    del worker
    for number in JOB_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, JOB_SIGNALS)
