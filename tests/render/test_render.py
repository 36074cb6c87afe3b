"""Test pictures: rounding, colours, overlays, PNG files, contact sheets and learning curves."""

import io
import math
import struct
import warnings
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cvkit.errors import UsageError
from cvkit.render import colour_map, colourise, contact_sheet, curves, encode_png, overlay, to_uint8, to_uint16

HISTORY = [
    {"epoch": epoch, "lr": 1e-3 / epoch, "train_loss": 2 / epoch, "val_loss": 2.2 / epoch}
    | {"val_cc": 0.8 - 0.4 / epoch, "val_kl": 0.4 + 1 / epoch}
    for epoch in range(1, 6)
]


def read(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def close_to(picture: NDArray[np.uint8], colour: str, distance: int = 24) -> int:
    """Count the pixels of (about) one colour."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=2) < distance).sum())


# --- rounding


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_nearest_level(dtype: type) -> None:
    values = np.array([0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0], dtype=dtype)
    assert to_uint8(values).tolist() == [0, 0, 1, 254, 255, 255]


def test_values_out_of_range_are_clipped_and_nan_is_black() -> None:
    values = np.array([-1.0, 2.0, np.nan, np.inf, -np.inf])
    assert to_uint8(values).tolist() == [0, 255, 0, 255, 0]
    assert to_uint16(values).tolist() == [0, 65535, 0, 65535, 0]


def test_every_level_is_restored_from_its_float() -> None:
    assert np.array_equal(to_uint8(np.arange(256, dtype=np.float32) / 255), np.arange(256))
    assert np.array_equal(to_uint16(np.arange(65536, dtype=np.float32) / 65535), np.arange(65536))


def test_rounding_does_not_change_its_input() -> None:
    values = np.array([[0.25, np.nan]])
    to_uint8(values)
    assert values[0, 0] == 0.25 and np.isnan(values[0, 1])


# --- colour maps and overlays


def test_the_gray_colour_map_goes_from_black_to_white() -> None:
    table = colour_map("gray")
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert table[0].tolist() == [0, 0, 0] and table[128].tolist() == [128] * 3 and table[255].tolist() == [255] * 3


def test_a_colour_map_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        colour_map("gray")[0] = 7


def test_the_error_for_an_unknown_colour_map_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no colour map 'infreno'\. Did you mean 'inferno'\?"):
        colour_map("infreno")


def test_colourise_maps_levels_to_colours() -> None:
    picture = colourise(np.array([[0.0, 1.0, np.nan]]), "viridis")
    assert picture.shape == (1, 3, 3)
    assert picture[0].tolist() == [[68, 1, 84], [253, 231, 36], [68, 1, 84]]


def test_overlay_of_an_empty_map_is_the_image_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(overlay(image, np.zeros((9, 7))), image)


def test_overlay_blends_by_alpha_where_the_map_is_high() -> None:
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    values = np.array([[1.0, 0.3, 0.0]])
    picture = overlay(image, values, colormap="gray", alpha=0.5)
    # 1.0: (100 + 255) / 2, rounded half up. 0.3: level 77 of 255 is 0.503 of the full heat, whose smooth step is
    # 0.505, so 128 * 0.505 = 65 of 256 parts are the grey 77 and 191 are the image: 94.2. 0: the image.
    assert picture[0, :, 0].tolist() == [178, 94, 100]
    assert np.array_equal(overlay(image, values, colormap="gray", alpha=0.0), image)
    assert overlay(image, values, colormap="gray", alpha=1.0)[0, 0].tolist() == [255, 255, 255]


def test_overlay_refuses_invalid_sizes_and_alphas() -> None:
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="as large as its map"):
        overlay(image, np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        overlay(image, np.zeros((4, 5, 1)))
    with pytest.raises(ValueError, match="opacity"):
        overlay(image, np.zeros((4, 5)), alpha=1.5)


# --- PNG files


def unfiltered(png: bytes, height: int, step: int) -> np.ndarray:
    """Return the rows of a PNG file of one data chunk whose rows have the filter SUB (specification, section 9.2)."""
    length = int.from_bytes(png[33:37], "big")
    rows = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 1).all()
    return rows[:, 1:].reshape(height, -1, step).cumsum(1).astype(np.uint8).reshape(height, -1)


SHAPES = [(1, 1), (7, 5), (40, 61), (7, 5, 3), (1, 4, 3), (4, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_png_of_8_bits_reads_back_exactly(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    data = encode_png(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert np.array_equal(iio.imread(data, extension=".png"), pixels)


@pytest.mark.parametrize("shape", SHAPES)
def test_png_of_16_bits_reads_back_exactly(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(0, 65536, shape, dtype=np.uint16)
    data = encode_png(pixels, bits=16)
    if len(shape) == 2:
        back = iio.imread(data, extension=".png")
        assert back.dtype == np.uint16 and np.array_equal(back, pixels)
    else:  # Pillow and imageio keep the upper 8 of the 16 bits of colour images
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels >> 8)
    step = 2 if len(shape) == 2 else 6
    assert np.array_equal(unfiltered(data, shape[0], step), pixels.astype(">u2").view(np.uint8).reshape(shape[0], -1))


def test_the_png_header_describes_the_image() -> None:
    data = encode_png(np.zeros((2, 3, 3), dtype=np.uint16), bits=16)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    # width 3, height 2, 16 bits, colour type 2 (RGB), deflate, adaptive filters, not interlaced
    assert struct.unpack(">IIBBBBB", data[16:29]) == (3, 2, 16, 2, 0, 0, 0)


def test_png_rounds_floats_and_takes_arrays_that_are_not_contiguous() -> None:
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6).T
    assert np.array_equal(iio.imread(encode_png(values), extension=".png"), to_uint8(values))
    assert np.array_equal(iio.imread(encode_png(values, bits=16), extension=".png"), to_uint16(values))


def test_png_refuses_unsupported_arrays() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_png(np.zeros((2, 2), dtype=np.uint16))
    with pytest.raises(ValueError, match="uint16"):
        encode_png(np.zeros((2, 2), dtype=np.uint8), bits=16)
    with pytest.raises(ValueError, match="8 or 16"):
        encode_png(np.zeros((2, 2)), bits=12)  # type: ignore[arg-type]
    for shape in ((2, 2, 4), (4,), (0, 3)):
        with pytest.raises(ValueError, match=r"\(H, W\)"):
            encode_png(np.zeros(shape))


# --- contact sheets


def solid(height: int, width: int, colour: str) -> NDArray[np.uint8]:
    return np.full((height, width, 3), [int(colour[k : k + 2], 16) for k in (1, 3, 5)], dtype=np.uint8)


def extent(picture: NDArray[np.uint8], colour: str) -> tuple[int, int]:
    """Return the (height, width) of the area of one colour."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    y, x = np.nonzero((picture == wanted).all(axis=2))
    return int(np.ptp(y)) + 1, int(np.ptp(x)) + 1


def test_pictures_of_a_sheet_keep_their_aspect() -> None:
    wide, tall, small = solid(300, 600, "#ff0000"), solid(600, 300, "#00ff00"), solid(10, 8, "#0000ff")
    sheet = contact_sheet([[wide, tall, small]], titles=["a", "b", "c"], cell_px=100)
    assert extent(sheet, "#ff0000") == (50, 100)
    assert extent(sheet, "#00ff00") == (100, 50)
    assert extent(sheet, "#0000ff") == (100, 80)
    # margins of 9, three columns as wide as their pictures, two gaps of 4
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 9 * 2 + 100 + 50 + 80 + 4 * 2
    assert sheet[0, 0].tolist() == [255, 255, 255]


def test_sheet_takes_maps_and_rows_of_different_length() -> None:
    sheet = contact_sheet([[np.ones((4, 4)) * 0.5, np.zeros((4, 4))], [np.zeros((4, 4), np.uint8)]], cell_px=64)
    assert extent(sheet, "#808080") == (64, 64)
    assert close_to(sheet, "#000000", 1) == 2 * 64 * 64


def test_texts_are_drawn_above_and_below_and_are_cut_to_fit() -> None:
    cell = solid(64, 64, "#ff0000")
    plain = contact_sheet([[cell]], cell_px=64)
    short = contact_sheet([[cell]], titles=["map"], captions=["a.png"], cell_px=64)
    long = contact_sheet([[cell]], titles=["map" * 50], captions=["a\n.png " * 50], cell_px=64)
    assert short.shape[0] > plain.shape[0] and long.shape == short.shape
    for sheet in (short, long):
        words = (sheet.max(axis=2) < 140).any(axis=1)  # rows with ink; the cell is pure red
        red = (sheet == [255, 0, 0]).all(axis=2).any(axis=1)
        assert words[: red.argmax()].any() and words[len(red) - red[::-1].argmax() :].any()
        margin = 8
        assert (sheet[:, :margin] == 255).all() and (sheet[:, -margin:] == 255).all()


def test_sheet_draws_letters_beyond_ascii() -> None:
    cell = solid(64, 64, "#ff0000")
    # A letter that the font lacks is drawn as one and the same box.
    pictures = [contact_sheet([[cell]], captions=[letter], cell_px=64).tobytes() for letter in "é—Жω…→\ue123"]
    assert len(set(pictures)) == len(pictures)


def test_sheet_refuses_a_grid_that_does_not_fit() -> None:
    cell = solid(4, 4, "#ff0000")
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([[cell], []])
    with pytest.raises(ValueError, match="2 titles: 1"):
        contact_sheet([[cell, cell]], titles=["a"])
    with pytest.raises(ValueError, match="1 captions: 2"):
        contact_sheet([[cell]], captions=["a", "b"])
    with pytest.raises(ValueError, match="at least 32"):
        contact_sheet([[cell]], cell_px=8)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        contact_sheet([[np.zeros((4, 4, 4), np.uint8)]])


# --- learning curves


def test_curves_draw_training_validation_and_the_best_epoch() -> None:
    data = curves(HISTORY, title="mlnet", best_epoch=4)
    picture = read(data)
    assert (
        close_to(picture, "#1f6fb4") > 200 and close_to(picture, "#8a97a6") > 100 and close_to(picture, "#d1495b") > 100
    )
    assert close_to(read(curves(HISTORY, title="mlnet")), "#d1495b") == 0
    assert data == curves(HISTORY, title="mlnet", best_epoch=4)


def test_a_panel_is_added_for_each_metric() -> None:
    widths = []
    for keys in ({"epoch", "train_loss"}, {"epoch", "train_loss", "val_cc", "val_kl"}, set(HISTORY[0])):
        rows = [{key: value for key, value in row.items() if key in keys} for row in HISTORY]
        widths.append(read(curves(rows, title="run")).shape[1])
    assert widths[0] < widths[1] < widths[2]


def test_one_epoch_is_shown_as_a_point() -> None:
    assert close_to(read(curves(HISTORY[:1], title="run")), "#1f6fb4") > 60


def test_values_that_are_missing_or_not_finite_are_left_out() -> None:
    holes = [{"epoch": 1, "train_loss": 1.0, "val_loss": math.nan, "val_cc": math.inf}, {"epoch": 2, "train_loss": 0.5}]
    clean = [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5}]
    assert curves(holes, title="run") == curves(clean, title="run")


def test_the_curves_of_a_run_without_values_are_drawn() -> None:
    assert read(curves([], title="run")).shape[0] > 100


def test_titles_are_drawn_literally_and_are_never_cut() -> None:
    for title in ("$x_1$ \\frac", "見る", "/data/" + "very_long_folder_name/" * 12, ""):
        picture = read(curves(HISTORY, title=title))
        assert (picture[:, -3:] == 255).all() and (picture[:, :3] == 255).all()


def test_the_picture_fills_its_frame_without_touching_the_edges() -> None:
    tiny = [{"epoch": epoch, "train_loss": 1e-7 * epoch, "val_loss": 123456789.0 * epoch} for epoch in range(1, 300)]
    for history in (HISTORY, tiny):
        picture = read(curves(history, title="run", best_epoch=2))
        for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
            assert (edge == 255).all()
