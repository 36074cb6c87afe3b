"""Test heat maps on photographs: dimming outside of the box, and the panel of three pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cvkit.errors import UsageError
from cvkit.render import colour_map, heat_overlay, heat_panel, overlay
from cvkit.render.heat import DIMMED, PANEL_CELL_PX, dim_outside

TEXTS, STYLE = ("gradcam", "rank 1:  tabby  93.1%"), ("turbo", 0.6)


def grey(height: int, width: int, level: int = 200) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, dtype=np.uint8)


def slope(height: int, width: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)


def pictures(panel: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut the three pictures out of a panel, whose background is white."""
    ink = (panel < 250).any(2)
    rows = ink.mean(1) > 0.5  # text covers less
    columns = np.flatnonzero(np.diff(np.concatenate([[False], ink[rows].all(0), [False]]).astype(int)))
    return [panel[rows][:, left:right] for left, right in columns.reshape(-1, 2)]


def test_a_picture_is_dimmed_outside_of_the_box() -> None:
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
def test_a_box_that_covers_the_picture_dims_nothing(box: tuple[int, int, int, int]) -> None:
    image = grey(5, 7)
    assert (dim_outside(image, box) == image).all()


def test_a_box_that_exceeds_the_picture_is_clipped() -> None:
    dimmed = dim_outside(grey(4, 6), (-2, 3, 9, 50))
    assert (dimmed[:, 3:] == 200).all()
    assert (dimmed[:, :3] == 80).all()


def test_the_heat_overlay_is_an_overlay_dimmed_outside_of_the_box() -> None:
    image, values = grey(6, 8), slope(6, 8)
    laid = heat_overlay(image, values, (1, 1, 5, 7), colormap="viridis", alpha=0.5)
    plain = overlay(image, values, colormap="viridis", alpha=0.5)
    assert (laid[1:5, 1:7] == plain[1:5, 1:7]).all()
    assert (laid[0] == (plain[0] * 0.4).astype(np.uint8)).all()
    assert not (laid[1:5, 1:7] == image[1:5, 1:7]).all()


def test_invalid_colour_maps_sizes_and_alphas_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'inferno'"):
        heat_overlay(grey(2, 2), slope(2, 2), (0, 0, 2, 2), colormap="infernal", alpha=0.5)
    with pytest.raises(ValueError, match="as large as its map"):
        heat_overlay(grey(2, 2), slope(2, 3), (0, 0, 2, 2), colormap="turbo", alpha=0.5)
    with pytest.raises(ValueError, match="alpha"):
        heat_overlay(grey(2, 2), slope(2, 2), (0, 0, 2, 2), colormap="turbo", alpha=2)


@pytest.mark.parametrize("size", [(336, 336), (200, 336), (336, 100), (50, 80), (1, 1)])
def test_a_panel_shows_input_heat_map_and_overlay(size: tuple[int, int]) -> None:
    panel = heat_panel(grey(*size), np.zeros(size, dtype=np.float32), (0, 0, *size), texts=TEXTS, style=STYLE)
    assert panel.dtype == np.uint8
    found = pictures(panel)
    ratio = PANEL_CELL_PX / max(size)
    assert [picture.shape[:2] for picture in found] == [(round(size[0] * ratio), round(size[1] * ratio))] * 3
    assert (found[0] == 200).all()
    assert (found[1] == colour_map("turbo")[0]).all()
    assert (found[2] == 200).all()  # where the heat is zero, the overlay is the photograph


def test_texts_are_drawn_above_and_below_the_pictures() -> None:
    def margins(texts: tuple[str, str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        panel = heat_panel(grey(100, 100), slope(100, 100), (0, 0, 100, 100), texts=texts, style=STYLE)
        ink = (panel < 250).any(2)
        rows = np.flatnonzero(ink.mean(1) > 0.5)
        return ink[: rows[0]], ink[rows[-1] + 1 :]

    above, below = margins(TEXTS)
    assert above.any()
    assert below.any()
    bare_above, bare_below = margins(("", ""))
    assert not bare_below.any()
    assert 0 < bare_above.sum() < above.sum()  # "input" and "overlay" are drawn without texts too


def test_a_large_photograph_is_resized_with_its_map_and_its_box() -> None:
    image, values = grey(1000, 2000), np.zeros((1000, 2000), dtype=np.float32)
    values[:, 1000:] = 1
    panel = heat_panel(image, values, (250, 500, 750, 1500), texts=TEXTS, style=("viridis", 1.0))
    small = heat_panel(grey(20, 40), slope(20, 40), (0, 0, 20, 40), texts=TEXTS, style=STYLE)
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


def test_a_strip_that_the_box_covers_is_not_dimmed() -> None:
    strip = grey(2000, 1)
    panel = heat_panel(strip, np.zeros((2000, 1), dtype=np.float32), (0, 0, 2000, 1), texts=TEXTS, style=STYLE)
    assert (panel == 200).all(2).sum() >= 2 * PANEL_CELL_PX
    assert not (panel == 80).all(2).any()


def test_a_panel_does_not_change_its_input() -> None:
    image, values = grey(500, 400), slope(500, 400)
    image.setflags(write=False)
    values.setflags(write=False)
    heat_panel(image, values, (10, 10, 490, 390), texts=TEXTS, style=STYLE)
