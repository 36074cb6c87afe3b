"""What the console draws with letters."""

import math

import pytest

from cvkit.cli.console import bar


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (0.0, ""),
        (1.0, "████████████"),
        (0.5, "██████"),
        (1 / 12, "█"),
        (1 / 96, "▏"),
        (7 / 96, "▉"),
        (9 / 96, "█▏"),
        (12 / 96, "█▌"),
        (95 / 96, "███████████▉"),
        (0.4 / 96, ""),  # nearer to nothing than to an eighth
        (0.6 / 96, "▏"),
        (95.6 / 96, "████████████"),
    ],
)
def test_a_share_is_drawn_to_an_eighth_of_a_cell(share: float, drawn: str) -> None:
    assert bar(share) == drawn


def test_more_cells_draw_the_same_share_longer() -> None:
    assert bar(0.5, cells=2) == "█"
    assert bar(0.5, cells=20) == "█" * 10
    assert bar(0.3, cells=1) == "▎"


def test_a_bar_never_shrinks_as_the_share_grows() -> None:
    levels = " ▏▎▍▌▋▊▉█"
    lengths = [sum(levels.index(cell) for cell in bar(share / 1000)) for share in range(1001)]
    assert lengths == sorted(lengths)
    assert set(lengths) == set(range(97))


@pytest.mark.parametrize(("share", "drawn"), [(-1.0, ""), (2.0, "█" * 12), (math.inf, "█" * 12), (math.nan, "")])
def test_what_is_no_share_is_drawn_as_the_nearest_or_not_at_all(share: float, drawn: str) -> None:
    assert bar(share) == drawn
