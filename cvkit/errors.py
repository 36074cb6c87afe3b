"""The kinds of failure, and the exit code each of them ends the program with."""

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees when a command ends."""

    OK = 0  # all done
    ERROR = 1  # an error the user can act on
    USAGE = 2  # wrong usage
    PARTIAL = 3  # done, but some inputs failed (each is in failures.csv)
    STOPPED = 75  # stopped early by a signal after saving; the same command goes on from there
    INTERRUPTED = 130  # Ctrl-C


class CvkitError(Exception):
    """An error the user can act on: its message is one line that says what is wrong and the next step."""

    exit_code = ExitCode.ERROR
    kind = "error"


class UsageError(CvkitError):
    """An option or argument that cannot be meant."""

    exit_code = ExitCode.USAGE
    kind = "usage"


class DataError(CvkitError):
    """An input file or data set that cannot be used."""

    kind = "data"


class WeightsError(CvkitError):
    """A weights file or checkpoint that cannot be used."""

    kind = "weights"


class OutputError(CvkitError):
    """A result that cannot be written (no space, no permission, a folder that holds something else)."""

    kind = "output"


class TrainingError(CvkitError):
    """A training run that cannot go on (a loss that is not finite)."""

    kind = "training"


class StoppedBySignal(CvkitError):
    """A signal asked the command to stop; everything done so far is saved."""

    exit_code = ExitCode.STOPPED
    kind = "stopped"


def first_line(error: Exception, most: int = 200) -> str:
    """Return the first line of what a library says, without the stop at its end; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with a place in its source.
    said = [line for line in lines if not line.startswith("Exception from ")]
    return (said or lines or [type(error).__name__])[0][:most].rstrip(".:")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known word, or nothing when none is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known word, or a list of the words when none is near."""
    words = sorted(known)
    return nearest(word, words) or (f" Known: {', '.join(words)}." if words else "")


def last_line(error: Exception, most: int = 200) -> str:
    """Return the last line of an error's message, which names the cause in errors of ``load_state_dict``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:most]
