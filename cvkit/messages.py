"""Word messages: the reasons of errors, suggestions, and names of unknown content."""

import difflib
import re
from collections.abc import Iterable

# Control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of text, and the
# halves of surrogate pairs that stand for bytes of a file name that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


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


def last_line(error: Exception, most: int = 200) -> str:
    """Return the last line of an error's message, which names the cause in errors of ``load_state_dict``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:most]


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


def counted(number: int, noun: str) -> str:
    """Return a number with a noun that gets an "s" in the plural, such as "1 image" and "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Return text that is safe in one line of a terminal or a log: control characters become escapes such as ``\\x1b``.

    File names and class names may hold any character. Letters, symbols and emoji of all scripts are kept.
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def printable_name(name: str, most: int = 80) -> str:
    """Return a name from a file for use in a message: printable, and cut to a number of characters."""
    name = printable(name)
    return name if len(name) <= most else f"{name[:most]}..."
