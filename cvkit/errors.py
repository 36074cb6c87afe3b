"""Errors that users can act on, their exit codes, and helpers for their messages."""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit codes of commands."""

    OK = 0  # all done
    ERROR = 1  # an error the user can act on
    USAGE = 2  # wrong usage
    PARTIAL = 3  # done, but some inputs failed (each is in failures.csv)
    STOPPED = 75  # stopped early by a signal after saving; the same command continues
    INTERRUPTED = 130  # Ctrl-C


class CvkitError(Exception):
    """An error the user can act on: its message is one line that says what is wrong and what to do next."""

    exit_code = ExitCode.ERROR
    kind = "error"


class UsageError(CvkitError):
    """An option or argument that is wrong."""

    exit_code = ExitCode.USAGE
    kind = "usage"


class DataError(CvkitError):
    """An input file or data set that cannot be used."""

    kind = "data"


class NonFiniteError(DataError):
    """An image for which a network returns values that are NaN or infinite."""

    kind = "model"

    def __init__(self) -> None:
        super().__init__(
            "the network returns NaN or infinite values for this image: its weights do not fit it, or its values "
            "exceed the range of the precision (fp32 has the largest)."
        )


class WeightsError(CvkitError):
    """A weights file or checkpoint that cannot be used."""

    kind = "weights"


class OutputError(CvkitError):
    """A result that cannot be written (no space, no permission, a folder with other files)."""

    kind = "output"


class TrainingError(CvkitError):
    """A training run that cannot continue (a loss that is not finite)."""

    kind = "training"


class ProcessError(CvkitError):
    """The end of another process of the same command.

    Attributes:
        reported: Whether another process has reported it already.
    """

    kind = "process"

    def __init__(self, message: str, *, reported: bool = False) -> None:
        super().__init__(message)
        self.reported = reported


class StoppedBySignal(CvkitError):
    """An early stop after a signal; everything done so far is saved."""

    exit_code = ExitCode.STOPPED
    kind = "stopped"


def error_document(kind: str, message: str, exit_code: int) -> dict[str, Any]:
    """Return what ``--json`` prints for an error.

    Args:
        kind: Kind of the error, such as ``CvkitError.kind``.
        message: The line that is also written to stderr.
        exit_code: Exit code of the command.
    """
    return {"error": {"kind": kind, "message": message, "exit_code": int(exit_code)}}


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of an error's message, without the full stop at its end.

    Args:
        error: The error of a library. One without a message is described by its type.
        most: Largest number of characters.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO's messages begin with a position in its source code.
    useful = [line for line in lines if not line.startswith("Exception from ")]
    return (useful or lines or [type(error).__name__])[0][:most].rstrip(".:")


def reason(error: BaseException, most: int = 200) -> str:
    """Return the reason of an error in one line: the system's text of an OSError, else the first line of its message.

    Args:
        error: The error.
        most: Largest number of characters of a message.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error, most)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known word, or an empty string if none is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known word, or a list of the known words if none is near."""
    words = sorted(known)
    return nearest(word, words) or (f" Known: {', '.join(words)}." if words else "")


def last_line(error: Exception, most: int = 200) -> str:
    """Return the last line of an error's message, which names the cause in errors of ``load_state_dict``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:most]
