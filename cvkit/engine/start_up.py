"""End a command that gets a signal while it does not handle signals itself, from its start to its end."""

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from cvkit.errors import ExitCode, StoppedBySignal, error_document
from cvkit.processes import exit_code_of_process, is_main_process

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
STOPPED = "stopped by a signal: run the same command again."
STOPPED_DURING_START_UP = "stopped by a signal during start-up: run the same command again."
INTERRUPTED = "interrupted."
BLOCKED_SECONDS = 2.0  # after which a process ends that cannot run the handler


class StartUpSignals:
    """The handlers of SIGTERM, SIGUSR1 and SIGINT outside ``stop.StopSignal``.

    While modules are imported, a signal ends the process at once, because an exception in the initialisation of an
    extension module can abort the interpreter. Later the handler raises KeyboardInterrupt, so that temporary files are
    removed. The command line then exits with the code that belongs to the first signal.

    Python runs handlers in the main thread only. If that thread is inside a library, for example because it waits for
    another process that died, a second thread ends the process.

    Attributes:
        ends_at_once: Whether a signal ends the process at once also outside imports, because no command runs yet.
        number: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.ends_at_once = True
        self.number: int | None = None
        self._process: int | None = None
        self._exit_code: int | None = None

    def install(self) -> None:
        """Install the handlers for the rest of the process. The main thread must call this."""
        self._process = os.getpid()
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the shell ignores it for this process
            signal.signal(signal.SIGINT, self._handle)
        sys.unraisablehook = self._report_unraisable
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=self._watch, args=(reader,), daemon=True, name="signals").start()
        atexit.register(self._ignore)

    @property
    def stop_requested(self) -> bool:
        """Return whether SIGTERM or SIGUSR1 came."""
        return self.number in STOP_SIGNALS

    def choose(self, code: int) -> None:
        """Set the exit code of the process; a later signal ends the process at once with this code."""
        self._exit_code = code

    def end(self, message: str = STOPPED) -> NoReturn:
        """End the process at once with the exit code of the first signal.

        Args:
            message: The line for a stop signal.
        """
        if self._exit_code is None:
            self._exit_code = ExitCode.STOPPED if self.stop_requested else ExitCode.INTERRUPTED
            with contextlib.suppress(OSError):  # a closed stream
                self._write(message)
        os._exit(exit_code_of_process(self._exit_code))

    def _ignore(self) -> None:
        """Ignore the signals while the interpreter is taken down, which would reset them to their default action."""
        for number in (*STOP_SIGNALS, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def _write(self, message: str) -> None:
        """Write the line, and the document of ``--json``, past the buffers of the interpreter."""
        if not is_main_process():
            return
        stop = (StoppedBySignal.kind, message) if self.stop_requested else ("interrupted", INTERRUPTED)
        show_cursor = "\033[?25h" if os.isatty(2) else ""  # progress bars hide it
        os.write(2, f"{show_cursor}error: {stop[1]}\n".encode())
        if "--json" in sys.argv:
            document = error_document(*stop, self._exit_code or ExitCode.ERROR)
            os.write(1, (json.dumps(document, indent=2) + "\n").encode())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked process without handlers of its own
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again = self.number is not None and number != signal.SIGINT
        self.number = self.number or number
        if self._exit_code is not None or again:
            self.end()
        if self.ends_at_once or is_importing(frame):
            self.end(STOPPED_DURING_START_UP)
        raise KeyboardInterrupt

    def _watch(self, reader: int) -> None:
        """End the process if the main thread does not run the handler of a signal in time.

        Args:
            reader: Pipe on which the interpreter writes the number of each signal when it arrives.
        """
        while True:
            number = os.read(reader, 1)[0]
            if signal.getsignal(number) != self._handle:  # a StopSignal decides
                continue
            time.sleep(BLOCKED_SECONDS)
            if self.number is None and signal.getsignal(number) == self._handle:
                self.number = number
                self.end()

    def _report_unraisable(self, event: Any) -> None:
        """End the process if KeyboardInterrupt was raised where Python ignores exceptions, such as in a destructor."""
        if event.exc_type is KeyboardInterrupt and os.getpid() == self._process:
            self.end()
        sys.__unraisablehook__(event)


def is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported in the stack of a frame."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


START_UP = StartUpSignals()
