"""Stop in good order when a signal asks for it."""

import signal
import threading
from types import FrameType, TracebackType

from cvkit.errors import StoppedBySignal
from cvkit.progress import Event, Reporter

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class StopSignal:
    """While this context is open, SIGTERM and SIGUSR1 set ``requested`` instead of ending the process.

    Outside the main thread nothing is installed, since Python allows handlers there only.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]


def heeding(stop: StopSignal, listen: Reporter, message: str) -> Reporter:
    """Return a listener that leaves, between two steps of the work, with this message when a signal came."""

    def heed(event: Event) -> None:
        listen(event)
        if stop.requested:
            raise StoppedBySignal(message)

    return heed


def leave_signals_to_the_parent(worker: int) -> None:
    """Pass over, in a loading worker, the signals that a scheduler or a terminal sends to every process of a job.

    The parent decides what they mean, and needs its workers to finish the step under way. A second SIGTERM does end a
    worker: that is how a parent that leaves gets rid of one that does not answer.
    """
    del worker
    for number in (*SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

    def at_first(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, at_first)
