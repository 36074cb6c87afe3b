"""Format single values for tables and progress lines."""

import math
from typing import Any


def format_cell(value: Any) -> str:
    """Return a value as text: floats with four decimals, ``-`` for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
