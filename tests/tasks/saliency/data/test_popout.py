"""Test generated pop-out displays: reproducibility, one odd item, and fixations on it."""

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from cvkit.errors import UsageError
from cvkit.tasks.saliency.data.popout import FEATURES, SUBJECTS, Display, Item, display

DISPLAYS = [display(5, index) for index in range(24)]
FIELDS = {
    "colour": {"hue_deg"},
    "orientation": {"angle_deg"},
    "size": {"radius_px"},
    "brightness": {"lightness"},
}


def item_of(x: float, y: float, radius_px: float, **shape: object) -> Item:
    look = {"shape": "disc", "angle_deg": 0.0, "lightness": 0.6, "chroma": 0.1, "hue_deg": 0.0} | shape
    return Item(x=x, y=y, radius_px=radius_px, **look)  # type: ignore[arg-type]


def colour_at(shown: Display, item: Item) -> NDArray[np.float64]:
    """Return the mean colour of the nine pixels at an item's centre."""
    x, y = round(item.x), round(item.y)
    return shown.image[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0)


def mask_of(shown: Display, item: Item, reach: float) -> NDArray[np.bool_]:
    """Return a square mask of the pixels around an item that have its colour and not that of the background."""
    y, x = np.mgrid[: shown.image.shape[0], : shown.image.shape[1]]
    near = (np.abs(x - item.x) <= reach) & (np.abs(y - item.y) <= reach)
    ground = np.median(shown.image.reshape(-1, 3), axis=0)
    colour = colour_at(shown, item)
    pixels = shown.image.astype(float)
    return near & (np.linalg.norm(pixels - colour, axis=2) < np.linalg.norm(pixels - ground, axis=2))


def test_the_same_seed_and_index_give_the_same_bytes() -> None:
    again = display(5, 3)
    assert again.image.tobytes() == DISPLAYS[3].image.tobytes()
    assert again.fixations.tobytes() == DISPLAYS[3].fixations.tobytes()
    assert again.items == DISPLAYS[3].items


def test_another_seed_or_index_gives_another_display() -> None:
    pictures = [shown.image.tobytes() for shown in (display(5, 3), display(5, 4), display(6, 3))]
    assert len(set(pictures)) == 3


@pytest.mark.parametrize("size", [(96, 96), (240, 320), (300, 200)])
def test_shapes_and_types(size: tuple[int, int]) -> None:
    shown = display(0, 1, size)
    assert shown.image.shape == (*size, 3) and shown.image.dtype == np.uint8
    assert shown.fixations.shape[1] == 4 and shown.fixations.dtype == np.float64
    for item in shown.items:
        left, top, right, bottom = item.box
        assert left >= 0 and top >= 0 and right <= size[1] and bottom <= size[0]


def test_four_displays_in_a_row_show_the_four_features() -> None:
    for start in range(0, len(DISPLAYS), 4):
        assert {shown.feature for shown in DISPLAYS[start : start + 4]} == set(FEATURES)
    orders = {tuple(shown.feature for shown in DISPLAYS[start : start + 4]) for start in range(0, len(DISPLAYS), 4)}
    assert len(orders) > 1


def test_the_odd_item_differs_in_its_feature_alone() -> None:
    for shown in DISPLAYS:
        usual = [item for k, item in enumerate(shown.items) if k != shown.target]
        looks = {tuple(value for name, value in asdict(item).items() if name not in "xy") for item in usual}
        assert len(looks) == 1 and len(usual) >= 8
        odd, other = asdict(shown.items[shown.target]), asdict(usual[0])
        assert {name for name in odd if odd[name] != other[name]} - {"x", "y"} == FIELDS[shown.feature]


def test_colours_of_the_picture_show_the_odd_item() -> None:
    for shown in DISPLAYS:
        odd = colour_at(shown, shown.items[shown.target])
        usual = np.array([colour_at(shown, item) for k, item in enumerate(shown.items) if k != shown.target])
        away = float(np.linalg.norm(odd - np.median(usual, axis=0)))
        spread = float(np.linalg.norm(usual - np.median(usual, axis=0), axis=1).max())
        assert (away > max(30.0, spread)) == (shown.feature in ("colour", "brightness")), (shown.feature, away, spread)


def test_brightness_alone_keeps_the_hue_and_colour_alone_the_brightness() -> None:
    for shown in DISPLAYS:
        odd = shown.items[shown.target]
        usual = shown.items[shown.target - 1]
        # luminance of the painted colours (Rec. 709) after undoing the sRGB curve
        bright = [float(((colour_at(shown, item) / 255) ** 2.2) @ [0.2126, 0.7152, 0.0722]) for item in (odd, usual)]
        ratio = max(bright) / min(bright)
        if shown.feature == "brightness":
            assert ratio > 1.8
        elif shown.feature == "colour":
            assert ratio < 1.6


def test_shapes_of_the_picture_show_size_and_orientation() -> None:
    for shown in DISPLAYS:
        if shown.feature not in ("size", "orientation"):
            continue
        odd, usual = shown.items[shown.target], shown.items[shown.target - 1]
        reach = max(odd.radius_px, usual.radius_px)
        masks = [mask_of(shown, item, reach) for item in (odd, usual)]
        if shown.feature == "size":
            areas = sorted(int(mask.sum()) for mask in masks)
            assert areas[1] > 2.2 * areas[0]
        else:
            angles = [principal_angle(mask) for mask in masks]
            turn = abs(angles[0] - angles[1]) % 180
            assert min(turn, 180 - turn) > 30


def principal_angle(mask: NDArray[np.bool_]) -> float:
    y, x = np.nonzero(mask)
    covariance = np.cov(x, y)
    return float(np.rad2deg(np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1]) / 2))


def test_the_target_box_holds_the_odd_item() -> None:
    disc = item_of(50, 40, 10)
    assert disc.box == (40, 30, 60, 50)
    # a bar along x: half length 10, half thickness 2.8
    bar = item_of(50, 40, 10, shape="bar")
    assert bar.box == pytest.approx((40, 37.2, 60, 42.8))
    assert item_of(50, 40, 10, shape="bar", angle_deg=90.0).box == pytest.approx((47.2, 30, 52.8, 50))
    for shown in DISPLAYS:
        odd = shown.items[shown.target]
        assert shown.target_box == odd.box
        y, x = np.nonzero(mask_of(shown, odd, odd.radius_px))
        left, top, right, bottom = shown.target_box
        inside = (x >= left - 1) & (x <= right + 1) & (y >= top - 1) & (y <= bottom + 1)
        assert inside.mean() > 0.97


def test_items_do_not_overlap() -> None:
    for shown in DISPLAYS:
        centres = np.array([(item.x, item.y) for item in shown.items])
        radii = np.array([item.radius_px for item in shown.items])
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) - radii[:, None] - radii[None]
        assert apart[~np.eye(len(radii), dtype=bool)].min() > 0


def test_fixations_lie_inside_the_picture_and_are_plausible() -> None:
    for shown in DISPLAYS:
        x, y, duration_ms, subject = shown.fixations.T
        assert x.min() >= 0 and x.max() <= 319 and y.min() >= 0 and y.max() <= 239
        assert duration_ms.min() >= 80 and duration_ms.max() <= 900
        assert set(subject) == set(range(1, SUBJECTS + 1)) and (np.diff(subject) >= 0).all()


def test_most_fixations_are_on_the_odd_item() -> None:
    fractions = []
    for shown in DISPLAYS:
        odd = shown.items[shown.target]
        distance = np.hypot(shown.fixations[:, 0] - odd.x, shown.fixations[:, 1] - odd.y)
        fractions.append(
            float((distance < 30).mean())
        )  # three standard deviations of the scatter, a tenth of the width
    assert np.mean(fractions) > 0.7 and min(fractions) > 0.5


def test_targets_are_distributed_over_the_whole_picture() -> None:
    odd = np.array([(shown.items[shown.target].x / 320, shown.items[shown.target].y / 240) for shown in DISPLAYS])
    assert odd.min() < 0.15 and odd.max() > 0.85
    near_centre = np.linalg.norm(odd - 0.5, axis=1) < 0.25
    assert near_centre.mean() < 0.5


def test_the_number_of_items_varies() -> None:
    assert len({len(shown.items) for shown in DISPLAYS}) > 5


def test_invalid_numbers_and_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="numbered from 0"):
        display(-1, 0)
    with pytest.raises(UsageError, match="too small: each side needs at least 96"):
        display(0, 0, (64, 320))
