"""Stop at a safe point when a signal asks for it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from cvkit.engine.start_up import START_UP, STOP_SIGNALS, is_importing
from cvkit.errors import StoppedBySignal
from cvkit.progress import Event, Reporter

if TYPE_CHECKING:
    from lightning_fabric import Fabric

JOB_SIGNALS = (*STOP_SIGNALS, signal.SIGINT)  # what a scheduler or a terminal sends to every process of a job
POLL_SECONDS = 1.0  # time between two polls of several processes
MAX_POLL_STEPS = 10
STOPPED_BEFORE_TRAINING = "stopped by a signal before training began: run the same command again."


class StopSignal:
    """A context in which SIGTERM and SIGUSR1 set ``requested`` instead of ending the process.

    Ctrl-C raises KeyboardInterrupt at once, as elsewhere, but not while a module is imported. Python drops an exception
    that is raised inside a destructor or a callback of a library. In both cases ``requested`` raises it.

    Outside the main thread it installs nothing, because Python allows signal handlers in the main thread only.
    """

    def __init__(self) -> None:
        self._requested = START_UP.stop_requested  # by a signal that a library ignored
        self._interrupted = False
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Return whether SIGTERM or SIGUSR1 came.

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
        del number
        self._interrupted = True
        if not is_importing(frame):  # an exception in the initialisation of an extension module can abort Python
            raise KeyboardInterrupt

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in STOP_SIGNALS}
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
    """The decisions of several processes to save, or to save and stop, at the same step.

    Attributes:
        signal: The signal context of this process.
        agreed: Whether the processes decided to stop when they were last polled.
        saving: Whether the processes decided to save when they were last polled.
    """

    def __init__(self, signal: StopSignal, fabric: "Fabric") -> None:
        self.signal, self.fabric = signal, fabric
        self.agreed = self.saving = False
        self._steps, self._interval, self._polled_at = 0, 1, time.monotonic()

    def poll(self, *, save: bool = False) -> bool:
        """Return whether a signal came to any process. All processes must call this at the same step.

        Args:
            save: Whether this process wants to save; ``saving`` tells whether any process does.
        """
        if self.fabric.world_size == 1:
            self.agreed, self.saving = self.signal.requested, save
            return self.agreed
        import torch

        seconds = time.monotonic() - self._polled_at
        wishes = torch.tensor([float(self.signal.requested), float(save), seconds], device=self.fabric.device)
        stop, saving, seconds = self.fabric.all_reduce(wishes, reduce_op="max").tolist()  # type: ignore[union-attr]
        self.agreed, self.saving = stop > 0, saving > 0
        # The same on all processes, because it follows from values that they share.
        fitting = int(max(1, self._steps) * POLL_SECONDS / max(seconds, 1e-6))
        self._interval = min(MAX_POLL_STEPS, max(1, fitting))
        self._steps, self._polled_at = 0, time.monotonic()
        return self.agreed

    def poll_after_step(self, *, save: bool = False) -> bool:
        """Return what ``poll`` returns if a poll is due after this step, else False; ``saving`` is then False too.

        A poll makes a GPU wait for its processor and for the other processes. Therefore several processes are polled
        once in about ``POLL_SECONDS``, at least every ``MAX_POLL_STEPS`` steps and at most every step.
        """
        self._steps += 1
        if self.fabric.world_size > 1 and self._steps < self._interval:
            self.saving = False
            return False
        return self.poll(save=save)


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
