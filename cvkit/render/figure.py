"""Create matplotlib figures with the common style, and encode them as PNG files."""

import io
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
INK, QUIET_INK, GRID, FRAME = "#212529", "#5c6670", "#e3e7eb", "#b8c0c8"
TITLE_POINTS, POINTS_PER_INCH = 12, 72
BOLD_LETTER_WIDTH = 0.7  # of the font's size, for a line of wide letters


def wrap_title(title: str, width: float) -> list[str]:
    """Return the lines, at most two, of a title in a figure of a width in inches.

    matplotlib does not break a long word such as the path of a run folder.
    """
    letters = int(width * POINTS_PER_INCH / (TITLE_POINTS * BOLD_LETTER_WIDTH))
    return textwrap.wrap(" ".join(title.split()), letters, max_lines=2, placeholder="…")


def make_figure(width: float, height: float, title: str) -> "Figure":
    """Return an empty figure of a width and height in inches, with a title of at most two lines."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09, wspace=0.02, hspace=0.03)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    style: dict[str, Any] = {"fontsize": TITLE_POINTS, "fontweight": "bold", "color": INK, "parse_math": False}
    figure.suptitle("\n".join(wrap_title(title, width)), x=0.012, ha="left", **style)
    return figure


def to_png(figure: "Figure") -> bytes:
    """Encode a figure as a PNG file, without metadata that would differ between machines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that the font lacks appear as boxes; matplotlib would warn once per letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
