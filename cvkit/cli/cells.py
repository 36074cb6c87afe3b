"""Format single values for tables, progress lines and messages."""

import math
from typing import Any

from cvkit.messages import printable


def format_cell(value: Any) -> str:
    """Return a value as printable text: floats with four decimals, ``-`` for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
