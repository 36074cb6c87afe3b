"""Test the pictures and HTML pages of embeddings."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from cvkit.render import PagePoints, Plane, embedding_page, latent_grid, planes, sprite
from cvkit.render.plane import class_colours, visible_range

RNG = np.random.default_rng(0)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: str) -> int:
    """Count the pixels of about one colour, blended with some white."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(picture - (0.7 * wanted + 0.3 * 255)).max(-1) < 25).sum())


def panel(points: np.ndarray, name: str = "CAE") -> Plane:
    return Plane(name=name, about="", points=points)


def test_points_are_drawn_in_the_colour_of_their_class() -> None:
    points = np.concatenate([RNG.normal(-5, 0.3, (80, 2)), RNG.normal(5, 0.3, (80, 2))])
    labels = np.repeat([0, 1], 80)
    picture = pixels(planes([panel(points)], title="two", labels=labels, classes=["a", "b"]))
    left, right = class_colours(2)
    half = picture.shape[1] * 2 // 5  # of the panel, without the legend
    lower_left, upper_right = picture[picture.shape[0] // 2 :, :half], picture[: picture.shape[0] // 2, half:]
    assert near(lower_left, left) > 200 > 40 > near(lower_left, right)
    assert near(upper_right, right) > 200 > 40 > near(upper_right, left)


def test_a_panel_for_each_projection_and_no_legend_without_classes() -> None:
    points = RNG.normal(size=(30, 2))
    one, two = (pixels(planes([panel(points)] * count, title="t")) for count in (1, 2))
    assert two.shape[1] > 1.8 * one.shape[1]
    labelled = pixels(planes([panel(points)], title="t", labels=np.zeros(30, np.int64), classes=["only"]))
    assert labelled.shape[1] > one.shape[1]
    many = planes([panel(points)], title="t", labels=np.arange(30), classes=[f"class {k}" for k in range(60)])
    assert pixels(many).shape == one.shape


@pytest.mark.parametrize("count", [1, 10, 20, 21, 300])
def test_all_classes_have_different_colours(count: int) -> None:
    colours = class_colours(count)
    assert len(set(colours)) == len(colours) == count
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_outliers_do_not_extend_the_visible_range() -> None:
    values = np.concatenate([RNG.uniform(0, 1, 1000), [500.0]])
    low, high = visible_range(values)
    assert -0.5 < low < 0 and 1 < high < 2
    low, high = visible_range(RNG.uniform(0, 1, 1000))
    assert low < 0.01 and high > 0.99
    assert visible_range(np.array([3.0, 3.0])) == (2.5, 3.5)
    assert visible_range(np.array([np.nan, np.nan])) == (-1.0, 1.0)
    assert visible_range(np.array([0.0, np.nan, 1.0])) == pytest.approx((-0.03, 1.03))


def test_the_first_row_of_the_latent_grid_is_drawn_at_the_top() -> None:
    images = np.zeros((4, 6, 5, 5, 1), np.float32)
    images[0, -1] = 1  # upper right
    picture = pixels(latent_grid(images, title="t", horizontal=(-1, 1), vertical=(-2, 2)))
    # The grid consists of the black pixels and the white cell among them.
    rows, columns = np.nonzero(picture.max(-1) < 10)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    field = picture[top + 5 : top + (bottom - top) // 4 - 5, right - (right - left) // 6 + 5 : right - 5]
    assert field.min() > 245
    assert picture[bottom - 20 : bottom - 5, left + 5 : left + 40].max() < 10


def test_a_latent_grid_of_one_row_is_drawn_in_colour() -> None:
    images = np.ones((1, 8, 4, 4, 3), np.float32) * np.array([1, 0, 0], np.float32)
    picture = pixels(latent_grid(images, title="t", horizontal=(0, 1), vertical=(0, 0)))
    assert ((picture == [255, 0, 0]).all(-1)).sum() > 10_000


def test_a_sprite_is_square_or_has_the_given_number_of_columns() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 3, 1), np.uint8)
    whole = sprite(images)
    assert whole.shape == (6, 9, 1)
    assert whole[::2, ::3, 0].tolist() == [[0, 1, 2], [3, 4, 255], [255, 255, 255]]
    assert sprite(images, 2).shape == (6, 6, 1) and sprite(images, 2)[::2, ::3, 0].tolist() == [
        [0, 1],
        [2, 3],
        [4, 255],
    ]


def document(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_page_holds_points_images_and_names() -> None:
    images = RNG.integers(0, 256, (1030, 9, 7, 3), dtype=np.uint8) // 64 * 64
    points = RNG.normal(size=(1030, 2)).astype(np.float32)
    labels = np.arange(1030) % 3 - 1
    shown = PagePoints(
        images=images,
        names=["</script><script>alert(1)</script>", *["x"] * 1029],
        splits=["train"] * 1000 + ["test"] * 30,
        labels=labels,
        classes=["a&b", "c"],
    )
    text = embedding_page([panel(points), panel(points * 2, "PCA")], shown, title="</title><b>")
    data = document(text)
    assert "alert(1)</script>" not in text and "<title>&lt;/title&gt;&lt;b&gt;</title>" in text
    assert "http://" not in text and "https://" not in text  # the page loads nothing from the network
    assert data["names"][0] == "</script><script>alert(1)</script>" and data["classes"] == ["a&b", "c"]
    assert np.array_equal(np.frombuffer(base64.b64decode(data["spaces"][0]["points"]), "<f4").reshape(-1, 2), points)
    assert np.frombuffer(base64.b64decode(data["labels"]), "<i4").tolist() == labels.tolist()
    assert sum(base64.b64decode(data["split_of"])) == 30 and data["splits"] == ["train", "test"]
    thumbs = data["thumbs"]
    assert thumbs["cell"] == [8, 16] and (thumbs["width"], thumbs["height"]) == (7, 9)
    last = np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbs["sheets"][1]))))
    at = 1029 - thumbs["on_sheet"]  # the last image, on the second sheet
    cell = last[:9, at % thumbs["columns"] * 8 :][:, :7].astype(int)
    assert np.abs(cell - images[1029].astype(int)).mean() < 20


def test_a_page_without_classes_and_of_grey_images() -> None:
    shown = PagePoints(images=np.zeros((2, 4, 4, 1), np.uint8), names=["0", "1"], splits=["test"] * 2)
    text = embedding_page([panel(np.full((2, 2), np.nan, np.float32))], shown, title="t")
    data = document(text)
    assert data["labels"] is None and data["classes"] == []
    assert Image.open(io.BytesIO(base64.b64decode(data["thumbs"]["sheets"][0]))).mode == "L"
