"""Format single values for tables, progress lines and messages."""

import math
import re
from typing import Any

# Control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of text, and the
# halves of surrogate pairs that stand for bytes of a file name that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text that is safe in one line of a terminal or a log: control characters become escapes such as ``\\x1b``.

    File names and class names may hold any character. Letters, symbols and emoji of all scripts are kept.
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def format_cell(value: Any) -> str:
    """Return a value as printable text: floats with four decimals, ``-`` for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
