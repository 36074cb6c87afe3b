"""Stop at a safe point when a signal asks for it."""

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from cvkit.engine.start_up import START_UP, STOP_SIGNALS
from cvkit.errors import StoppedBySignal
from cvkit.progress import Event, Reporter

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STOPPED_BEFORE_TRAINING = "stopped by a signal before training began: run the same command again."


class StopSignal:
    """A context in which SIGTERM and SIGUSR1 set ``requested`` instead of ending the process.

    Outside the main thread it installs nothing, because Python allows signal handlers in the main thread only.
    """

    def __init__(self) -> None:
        self.requested = START_UP.stop_requested  # by a signal that a library ignored
        self._before: dict[int, object] = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in STOP_SIGNALS}
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


def leave_signals_to_the_parent(worker: int) -> None:
    """Ignore, in a loading worker, the signals that a scheduler or a terminal sends to every process of a job.

    The parent decides what they mean, and needs its workers to finish the current step. A second SIGTERM does end a
    worker, so that a parent that exits can end a worker that does not answer.
    """
    del worker
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

    def ignore_once(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ignore_once)
