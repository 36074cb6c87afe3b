"""A heat map on its photograph: what lies outside is dark, and the panel of three pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cvkit.errors import UsageError
from cvkit.render import colour_map, heat_overlay, heat_panel, overlay
from cvkit.render.heat import DIMMED, PANEL_CELL_PX, dim_outside

WORDS, LOOK = ("gradcam", "rank 1:  tabby  93.1%"), ("turbo", 0.6)


def grey(height: int, width: int, level: int = 200) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, dtype=np.uint8)


def slope(height: int, width: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)


def pictures(panel: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut the three pictures out of a panel, whose paper is white."""
    ink = (panel < 250).any(2)
    rows = ink.mean(1) > 0.5  # words cover less
    columns = np.flatnonzero(np.diff(np.concatenate([[False], ink[rows].all(0), [False]]).astype(int)))
    return [panel[rows][:, left:right] for left, right in columns.reshape(-1, 2)]


def test_outside_of_the_box_a_picture_is_dark() -> None:
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    before = image.copy()
    dimmed = dim_outside(image, (1, 2, 4, 6))
    assert dimmed.dtype == np.uint8
    assert (dimmed[1:4, 2:6] == image[1:4, 2:6]).all()
    outside = np.ones((5, 7), dtype=bool)
    outside[1:4, 2:6] = False
    assert (dimmed[outside] == (image[outside] * 0.4).astype(np.uint8)).all()
    assert (image == before).all()
    assert DIMMED == 0.4


@pytest.mark.parametrize("box", [(0, 0, 5, 7), (-3, -1, 5, 9), (-10, -10, 20, 20)])
def test_what_is_seen_as_a_whole_stays_as_it_is(box: tuple[int, int, int, int]) -> None:
    image = grey(5, 7)
    assert (dim_outside(image, box) == image).all()


def test_a_box_that_reaches_out_on_one_side_is_cut_to_the_picture() -> None:
    dimmed = dim_outside(grey(4, 6), (-2, 3, 9, 50))
    assert (dimmed[:, 3:] == 200).all()
    assert (dimmed[:, :3] == 80).all()


def test_the_overlay_is_the_usual_one_with_its_outside_dimmed() -> None:
    image, values = grey(6, 8), slope(6, 8)
    laid = heat_overlay(image, values, (1, 1, 5, 7), colormap="viridis", alpha=0.5)
    usual = overlay(image, values, colormap="viridis", alpha=0.5)
    assert (laid[1:5, 1:7] == usual[1:5, 1:7]).all()
    assert (laid[0] == (usual[0] * 0.4).astype(np.uint8)).all()
    assert not (laid[1:5, 1:7] == image[1:5, 1:7]).all()


def test_the_overlay_refuses_what_overlay_refuses() -> None:
    with pytest.raises(UsageError, match="Did you mean 'inferno'"):
        heat_overlay(grey(2, 2), slope(2, 2), (0, 0, 2, 2), colormap="infernal", alpha=0.5)
    with pytest.raises(ValueError, match="as large as its map"):
        heat_overlay(grey(2, 2), slope(2, 3), (0, 0, 2, 2), colormap="turbo", alpha=0.5)
    with pytest.raises(ValueError, match="alpha"):
        heat_overlay(grey(2, 2), slope(2, 2), (0, 0, 2, 2), colormap="turbo", alpha=2)


@pytest.mark.parametrize("size", [(336, 336), (200, 336), (336, 100), (50, 80), (1, 1)])
def test_a_panel_shows_input_heat_map_and_overlay(size: tuple[int, int]) -> None:
    panel = heat_panel(grey(*size), np.zeros(size, dtype=np.float32), (0, 0, *size), texts=WORDS, style=LOOK)
    assert panel.dtype == np.uint8
    found = pictures(panel)
    ratio = PANEL_CELL_PX / max(size)
    assert [picture.shape[:2] for picture in found] == [(round(size[0] * ratio), round(size[1] * ratio))] * 3
    assert (found[0] == 200).all()
    assert (found[1] == colour_map("turbo")[0]).all()
    assert (found[2] == 200).all()  # without heat the photograph is untouched


def test_words_stand_above_and_below_the_pictures() -> None:
    def paper(words: tuple[str, str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        panel = heat_panel(grey(100, 100), slope(100, 100), (0, 0, 100, 100), texts=words, style=LOOK)
        ink = (panel < 250).any(2)
        rows = np.flatnonzero(ink.mean(1) > 0.5)
        return ink[: rows[0]], ink[rows[-1] + 1 :]

    above, below = paper(WORDS)
    assert above.any()
    assert below.any()
    bare_above, bare_below = paper(("", ""))
    assert not bare_below.any()
    assert 0 < bare_above.sum() < above.sum()  # "input" and "overlay" are there all the same


def test_a_large_photograph_is_drawn_small_with_its_map_and_its_box() -> None:
    image, values = grey(1000, 2000), np.zeros((1000, 2000), dtype=np.float32)
    values[:, 1000:] = 1
    panel = heat_panel(image, values, (250, 500, 750, 1500), texts=WORDS, style=("viridis", 1.0))
    small = heat_panel(grey(20, 40), slope(20, 40), (0, 0, 20, 40), texts=WORDS, style=LOOK)
    assert panel.shape == small.shape
    photo, heat, laid = pictures(panel)
    assert photo.shape == heat.shape == laid.shape == (168, 336, 3)
    assert (photo == 200).all()
    low, high = (colour_map("viridis")[k].astype(int) for k in (0, 255))
    for picture, inside in ((heat, (low, high)), (laid, (np.full(3, 200), high))):
        pixels = picture.astype(int)
        for left, right, colour in ((86, 166, inside[0]), (170, 250, inside[1])):
            assert np.abs(pixels[44:124, left:right] - colour).max() <= 1
        for outside, colour in (((slice(None), slice(0, 82)), inside[0]), ((slice(None), slice(254, 336)), inside[1])):
            assert np.abs(pixels[outside] - 0.4 * colour).max() <= 1
        assert np.abs(pixels[:40, 100] - 0.4 * inside[0]).max() <= 1


def test_of_a_strip_that_is_seen_as_a_whole_nothing_is_dark() -> None:
    strip = grey(2000, 1)
    panel = heat_panel(strip, np.zeros((2000, 1), dtype=np.float32), (0, 0, 2000, 1), texts=WORDS, style=LOOK)
    assert (panel == 200).all(2).sum() >= 2 * PANEL_CELL_PX
    assert not (panel == 80).all(2).any()


def test_a_panel_leaves_its_input_alone() -> None:
    image, values = grey(500, 400), slope(500, 400)
    image.setflags(write=False)
    values.setflags(write=False)
    heat_panel(image, values, (10, 10, 490, 390), texts=WORDS, style=LOOK)
