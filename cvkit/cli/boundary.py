"""Turn every error of a command into one line, the document of ``--json``, and an exit code."""

import errno
import os
import traceback
from collections.abc import Callable

from cvkit.cli.console import show_error
from cvkit.cli.progress_views import write_line
from cvkit.cli.streams import flush_streams
from cvkit.engine.peers import death_of_peer
from cvkit.engine.start_up import INTERRUPTED, START_UP, STOPPED
from cvkit.errors import CvkitError, ExitCode, ProcessError, StoppedBySignal
from cvkit.messages import first_line, reason
from cvkit.processes import is_main_process

SHOW_TRACEBACK = "CVKIT_TRACEBACK"  # environment variable that shows the traceback of every error
REMEDIES = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EMFILE: "raise the limit with `ulimit -n`, then run the same command again",
    errno.ENFILE: "close other programs, then run the same command again",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOMEM: "free memory, then run the same command again",
}


class PastTyper(Exception):
    """Carries an OSError or EOFError through Typer, which would end the program on its own; the error is its cause."""


def exit_code_of(run: Callable[[], int]) -> int:
    """Run the command line, report its error if it has one, and return the exit code."""
    try:
        code = run()
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        code = _stopped()
    except Exception as error:
        if os.environ.get(SHOW_TRACEBACK):
            _show_traceback(error)
        code = _stopped() if _is_from_interrupt(error) else _failed(error)
    failure = flush_streams()
    if failure is not None and code in (ExitCode.OK, ExitCode.PARTIAL):
        show_error(
            "output",
            f"stdout cannot be written ({reason(failure)}): what the command printed there is incomplete, "
            "but the files that it wrote are complete.",
            code := ExitCode.ERROR,
        )
    return code


def _stopped() -> int:
    """Report Ctrl-C, or a signal that came while the command did not handle signals itself."""
    kind, message, code = "interrupted", INTERRUPTED, ExitCode.INTERRUPTED
    if START_UP.stop_requested:
        kind, message, code = StoppedBySignal.kind, STOPPED, ExitCode.STOPPED
    if is_main_process():
        show_error(kind, message, code)
    return code


def _is_from_interrupt(error: BaseException | None) -> bool:
    """Return whether an error was caused by a signal, which libraries sometimes turn into an error of their own."""
    if START_UP.number is not None:
        return True
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _failed(error: BaseException) -> int:
    """Report an error."""
    if isinstance(error, PastTyper) and error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, CvkitError):
        error = death_of_peer() or error
    if isinstance(error, CvkitError):
        # Every process finds a usage error or a stop; only the main one reports it. Other errors concern one process.
        common = error.exit_code in (ExitCode.USAGE, ExitCode.STOPPED)
        known = isinstance(error, ProcessError) and error.reported
        if is_main_process() or not (common or known):
            show_error(error.kind, str(error), error.exit_code)
        return error.exit_code
    format_message = getattr(error, "format_message", None)
    if format_message is not None and hasattr(error, "exit_code"):  # an error of Typer's parser
        if (text := format_message()) and is_main_process():
            show_error("usage", f"{text} See --help.", ExitCode.USAGE)
        return ExitCode.USAGE
    kind, message = _describe(error)
    show_error(kind, message, ExitCode.ERROR)
    return ExitCode.ERROR


def _describe(error: BaseException) -> tuple[str, str]:
    """Return the kind and the message of an error that is not one of cvkit's; show the traceback of a bug."""
    text = first_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return "memory", f"out of memory ({text}): use smaller images, models or batches, or a machine with more."
    if isinstance(error, OSError):
        named = f" {error.filename}" if error.filename is not None else ""
        remedy = REMEDIES.get(error.errno or 0, f"{SHOW_TRACEBACK}=1 shows where it happened")
        return "system", f"the operating system reports an error{named and ' for'}{named} ({reason(error)}): {remedy}."
    if not os.environ.get(SHOW_TRACEBACK):
        _show_traceback(error)
    return "bug", (
        f"unexpected {type(error).__name__} ({text}). This is a bug of cvkit: report it with the lines above and the "
        "output of `cvkit env`."
    )


def _show_traceback(error: BaseException) -> None:
    for block in traceback.format_exception(error):
        for line in block.rstrip("\n").split("\n"):
            write_line(line)
