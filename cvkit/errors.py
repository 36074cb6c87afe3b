"""Errors that users can act on, and their exit codes."""

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
