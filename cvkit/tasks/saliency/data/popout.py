"""Generate pop-out displays, in which one of many items differs in one feature, with simulated fixations.

Such displays are the classic stimulus of visual search (Treisman & Gelade 1980, Cognitive Psychology 12): one feature
is enough to find the odd item at once, at any position, so that a small network can learn to predict its position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import UsageError

Feature = Literal["colour", "orientation", "size", "brightness"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
SUBJECTS = 8
SCATTER = 0.03  # standard deviation of fixations around an item as a fraction of the display's width: about one degree
SMALLEST_SIDE_PX = 96
STROKE = 0.28  # thickness of a bar as a fraction of its length
# Ottosson 2020, "A perceptual color space for image processing": from Oklab to the cube roots of cone responses, and
# from their cubes to linear sRGB. Colours of equal L look equally bright at every hue, so that colour and brightness
# can be changed independently.
OKLAB_TO_CONES = np.array([[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728],
                           [1.0, -0.0894841775, -1.2914855480]])  # fmt: skip
CONES_TO_RGB = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                         [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Item:
    """One bar or disc.

    Attributes:
        shape: "bar" or "disc".
        x: Column of the centre in pixels.
        y: Row of the centre in pixels.
        radius_px: Radius of a disc, or half the length of a bar.
        angle_deg: Angle of a bar from the x axis.
        lightness: L of the colour in Oklab's LCh, from 0 to 1.
        chroma: C of the colour.
        hue_deg: h of the colour.
    """

    shape: Literal["bar", "disc"]
    x: float
    y: float
    radius_px: float
    angle_deg: float
    lightness: float
    chroma: float
    hue_deg: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The edges (left, top, right, bottom) in pixels."""
        across = down = self.radius_px
        if self.shape == "bar":
            stroke = STROKE * self.radius_px
            angle = np.deg2rad(self.angle_deg)
            across = (self.radius_px - stroke) * abs(float(np.cos(angle))) + stroke
            down = (self.radius_px - stroke) * abs(float(np.sin(angle))) + stroke
        return self.x - across, self.y - down, self.x + across, self.y + down


@dataclass(frozen=True, kw_only=True)
class Display:
    """A pop-out display.

    Attributes:
        image: (H, W, 3) uint8.
        fixations: (n, 4) float64 with the columns x (from 0), y (from 0), duration_ms and subject (from 1), in temporal
            order for each subject.
        feature: The only feature in which the odd item differs.
        items: All items.
        target: Index of the odd item in ``items``.
    """

    image: NDArray[np.uint8]
    fixations: NDArray[np.float64]
    feature: Feature
    items: tuple[Item, ...]
    target: int

    @property
    def target_box(self) -> tuple[float, float, float, float]:
        """The edges (left, top, right, bottom) of the odd item in pixels."""
        return self.items[self.target].box


def display(seed: int, index: int, size: tuple[int, int] = (240, 320)) -> Display:
    """Generate one display of a series; the same arguments always give the same display.

    Every four consecutive displays show each of the four features once, in random order.

    Args:
        seed: Number of the series, from 0.
        index: Number of the display in the series, from 0.
        size: (height, width) in pixels, at least 96 each.

    Raises:
        UsageError: If a number is negative, or the size is too small.
    """
    if seed < 0 or index < 0:
        raise UsageError(f"Generated displays are numbered from 0: seed {seed}, index {index}.")
    if min(size) < SMALLEST_SIDE_PX:
        raise UsageError(
            f"A display of {size[0]}x{size[1]} pixels is too small: each side needs at least {SMALLEST_SIDE_PX}."
        )
    order = np.random.default_rng([seed, index // len(FEATURES), 1]).permutation(len(FEATURES))
    feature = FEATURES[order[index % len(FEATURES)]]
    rng = np.random.default_rng([seed, index])
    dark = bool(rng.random() < 0.5)
    centres, cell_px = _centres(rng, size)
    usual, odd = _appearances(rng, feature, cell_px, dark)
    target = int(rng.integers(len(centres)))
    max_shift = max(0.0, cell_px / 2 - max(usual.radius_px, odd.radius_px) - 1)
    shifts = rng.uniform(-max_shift, max_shift, centres.shape)
    items = tuple(
        replace(odd if k == target else usual, x=float(x), y=float(y)) for k, (x, y) in enumerate(centres + shifts)
    )
    image = _paint(rng, size, items, dark)
    return Display(
        image=image, fixations=_fixations(rng, size, items, target), feature=feature, items=items, target=target
    )


def _centres(rng: np.random.Generator, size: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Return the centres (n, 2) of the filled cells of a grid over the display, and the shorter side of a cell."""
    height, width = size
    across = int(rng.integers(5, 9))
    cell_px = max(width / across, 24.0)
    columns, rows = max(3, round(width / cell_px)), max(3, round(height / cell_px))
    x, y = np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows)
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    kept = np.sort(rng.permutation(len(centres))[: int(np.ceil(len(centres) * rng.uniform(0.75, 1.0)))])
    return centres[kept], min(width / columns, height / rows)


def _appearances(rng: np.random.Generator, feature: Feature, cell_px: float, dark: bool) -> tuple[Item, Item]:
    """Return a usual item and an odd item, both without a position, for a dark or a light background."""
    shape: Literal["bar", "disc"] = "bar" if feature == "orientation" or rng.random() < 0.5 else "disc"
    hue = float(rng.uniform(0, 360))
    usual = Item(
        shape=shape,
        x=0.0,
        y=0.0,
        radius_px=float(cell_px * rng.uniform(0.24, 0.34)),
        angle_deg=float(rng.uniform(0, 180)),
        lightness=float(rng.uniform(0.6, 0.76) if dark else rng.uniform(0.44, 0.62)),
        chroma=float(rng.uniform(0.1, 0.16)),
        hue_deg=hue,
    )
    if feature == "colour":
        odd = replace(usual, hue_deg=float(hue + rng.choice([-1, 1]) * rng.uniform(90, 180)) % 360)
    elif feature == "orientation":
        turn = float(rng.choice([-1, 1]) * rng.uniform(50, 90))
        odd = replace(usual, angle_deg=(usual.angle_deg + turn) % 180)
    elif feature == "size":
        small = float(cell_px * rng.uniform(0.16, 0.21))
        large = float(small * rng.uniform(1.9, 2.3))
        odd_radius, usual_radius = (small, large) if rng.random() < 0.5 else (large, small)
        usual, odd = replace(usual, radius_px=usual_radius), replace(usual, radius_px=odd_radius)
    else:
        # Both levels differ enough from the background, so that the dimmer items are visible.
        low = float(rng.uniform(0.52, 0.6) if dark else rng.uniform(0.32, 0.38))
        high = float(low + rng.uniform(0.24, 0.31))
        odd_level, usual_level = (low, high) if rng.random() < 0.5 else (high, low)
        usual, odd = replace(usual, lightness=usual_level), replace(usual, lightness=odd_level)
    chroma = usual.chroma
    while not (_in_gamut(usual, chroma) and _in_gamut(odd, chroma)):
        chroma *= 0.9  # one chroma for both, because clipping to sRGB would be a second difference
    return replace(usual, chroma=chroma), replace(odd, chroma=chroma)


def _linear_rgb(lightness: float, chroma: float, hue_deg: float) -> NDArray[np.float64]:
    hue = np.deg2rad(hue_deg)
    lab = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    return CONES_TO_RGB @ (OKLAB_TO_CONES @ lab) ** 3


def _in_gamut(item: Item, chroma: float) -> bool:
    rgb = _linear_rgb(item.lightness, chroma, item.hue_deg)
    return bool(chroma < 1e-3 or (rgb.min() >= 0.0 and rgb.max() <= 1.0))


def _srgb(lightness: float, chroma: float, hue_deg: float) -> NDArray[np.float32]:
    """Return a colour as display values 0..1 (the sRGB transfer function, IEC 61966-2-1)."""
    linear = _linear_rgb(lightness, chroma, hue_deg).clip(0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def _paint(rng: np.random.Generator, size: tuple[int, int], items: Sequence[Item], dark: bool) -> NDArray[np.uint8]:
    lightness = float(rng.uniform(0.2, 0.33) if dark else rng.uniform(0.84, 0.93))
    background = _srgb(lightness, float(rng.uniform(0.0, 0.035)), float(rng.uniform(0, 360)))
    canvas = np.empty((*size, 3), dtype=np.float32)
    canvas[:] = background
    canvas += np.float32(rng.uniform(0.02, 0.055)) * _smooth_noise(rng, size)[..., None]
    for item in items:
        _draw(canvas, item)
    canvas *= 1 + np.float32(rng.uniform(0.02, 0.12)) * _light_gradient(rng, size)[..., None]
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.02))
    return (canvas.clip(0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def _light_gradient(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a linear gradient in a random direction, (H, W) from about -1 to 1."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    slope: NDArray[np.float32] = np.float32(np.cos(angle) / np.sqrt(2)) * x + np.float32(np.sin(angle) / np.sqrt(2)) * y
    return slope


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return noise of several scales, (H, W) from -1 to 1: interpolated grids of random numbers."""
    total = np.zeros(size, dtype=np.float32)
    weight = np.float32(1.0)
    for cells in (3, 7, 17, 41):
        grid = rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
        tall = _interpolate(grid, size[0])
        total += weight * _interpolate(np.ascontiguousarray(tall.T), size[1]).T
        weight *= np.float32(0.6)
    return total / np.abs(total).max()


def _interpolate(grid: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Interpolate a grid (n, m) smoothly to (length, m)."""
    position = (np.arange(length, dtype=np.float32) + 0.5) * (len(grid) - 1) / length
    row = position.astype(int)
    weight = (position - row).astype(np.float32)[:, None]
    weight = weight * weight * (3 - 2 * weight)
    return grid[row] * (1 - weight) + grid[row + 1] * weight


def _draw(canvas: NDArray[np.float32], item: Item) -> None:
    """Draw an item on the canvas; the opacity of a pixel is its distance from the edge, which makes the edge smooth."""
    height, width = canvas.shape[:2]
    reach = item.radius_px + 1
    top, bottom = max(0, int(item.y - reach)), min(height, int(item.y + reach) + 2)
    left, right = max(0, int(item.x - reach)), min(width, int(item.x + reach) + 2)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - item.y
    x = np.arange(left, right, dtype=np.float32)[None, :] - item.x
    half_width = item.radius_px
    if item.shape == "bar":
        half_width = STROKE * item.radius_px
        angle = np.deg2rad(item.angle_deg)
        along = x * np.cos(angle) + y * np.sin(angle)
        # Offsets from the nearest point of the bar's middle line give a bar with round ends.
        x, y = (
            along - along.clip(half_width - item.radius_px, item.radius_px - half_width),
            (y * np.cos(angle) - x * np.sin(angle)),
        )
    opacity = (half_width - np.hypot(x, y) + 0.5).clip(0.0, 1.0)[..., None].astype(np.float32)
    patch = canvas[top:bottom, left:right]
    patch += opacity * (_srgb(item.lightness, item.chroma, item.hue_deg) - patch)


def _fixations(
    rng: np.random.Generator, size: tuple[int, int], items: Sequence[Item], target: int
) -> NDArray[np.float64]:
    """Simulate fixations, (n, 4): half of the subjects start at the centre, and most fixations are on the odd item."""
    height, width = size
    rows: list[tuple[float, float, float, float]] = []
    for subject in range(1, SUBJECTS + 1):
        count = int(rng.integers(4, 8))
        starts_at_centre = rng.random() < 0.5
        for step in range(count):
            aim, spread = (items[target].x, items[target].y), SCATTER * width
            if step == 0 and starts_at_centre:
                aim, spread = (width / 2, height / 2), 2 * SCATTER * width
            elif rng.random() < 0.14:
                distractor = items[int(rng.integers(len(items)))]
                aim = (distractor.x, distractor.y)
            x, y = rng.normal(aim, spread)
            duration = min(max(float(rng.lognormal(np.log(230), 0.35)), 80.0), 900.0)
            rows.append((_reflect(x, width), _reflect(y, height), float(round(duration)), float(subject)))
    return np.array(rows, dtype=np.float64)


def _reflect(value: float, length: int) -> float:
    """Return a coordinate reflected at the edges of the display and rounded to a pixel."""
    last = length - 1
    mirrored = last - abs(last - abs(value))
    return float(round(min(max(mirrored, 0.0), last)))
