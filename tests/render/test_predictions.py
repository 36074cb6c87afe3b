"""Test contact sheets of classified images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cvkit.render import ClassifiedImage, prediction_sheet
from cvkit.render.predictions import CELL_PX, CORRECT, WRONG

GREEN = np.full((30, 40, 3), (0, 255, 0), np.uint8)


def item(predicted: int, true_class: int | None, **more: object) -> ClassifiedImage:
    settings = {"image": GREEN, "predicted": predicted, "probability": 0.9, "true_class": true_class} | more
    return ClassifiedImage(**settings)  # type: ignore[arg-type]


def count(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour)).all(axis=2).sum())


def ink_below(sheet: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels that are not white below the last row of images."""
    last = np.flatnonzero((sheet == (0, 255, 0)).all(axis=2).any(axis=1))[-1]
    return (sheet[last + CELL_PX // 4 :] < 255).any(axis=2)


def test_wrong_and_correct_images_differ_by_more_than_colour() -> None:
    correct = prediction_sheet([item(1, 1)], ["a", "b"], title="x")
    wrong = prediction_sheet([item(1, 0)], ["a", "b"], title="x")
    unknown = prediction_sheet([item(1, None)], ["a", "b"], title="x")
    assert correct.shape == wrong.shape == unknown.shape and correct.dtype == np.uint8
    # The frame of a wrong image is four pixels wide, and one line names its true class.
    assert count(wrong, WRONG) - count(correct, CORRECT) > 3 * 4 * (CELL_PX - 30)
    assert ink_below(wrong).sum() > ink_below(correct).sum()
    assert count(wrong, CORRECT) == count(correct, WRONG) == count(unknown, CORRECT) == count(unknown, WRONG) == 0
    grey = [(sheet.astype(int).sum(axis=2) // 3)[:, :CELL_PX] for sheet in (correct, wrong)]
    assert (np.abs(grey[0] - grey[1]) > 40).sum() > 500


def test_images_stand_in_rows_of_the_number_of_columns() -> None:
    sheets = [prediction_sheet([item(0, 0)] * number, [], title="x", columns=4) for number in (1, 3, 4, 5, 9)]
    heights = [sheet.shape[0] for sheet in sheets]
    assert heights[0] == heights[1] == heights[2]
    assert heights[4] - heights[3] == heights[3] - heights[2] > CELL_PX
    assert sheets[0].shape[1] == sheets[1].shape[1] < sheets[2].shape[1] == sheets[4].shape[1]
    assert count(sheets[4], (0, 255, 0)) == pytest.approx(9 * count(sheets[0], (0, 255, 0)), rel=1e-3)


def test_a_sheet_without_images_says_so() -> None:
    texts = [prediction_sheet([], ["a"], title="Mistakes", empty=text) for text in ("", "No mistakes.")]
    assert texts[0].shape == texts[1].shape
    assert (texts[1] < 200).sum() > (texts[0] < 200).sum()


def test_long_captions_stay_below_their_image() -> None:
    long = ["W" * 300, "a name of many words " * 9]
    more = {"true_probability": 0.00001, "name": "f" * 400}
    sheet = prediction_sheet([item(0, 1, **more), item(1, 0, **more)], long, title="t" * 900)
    assert (sheet[:, :16] == 255).all() and (sheet[:, -16:] == 255).all()
    gap = slice(16 + CELL_PX, 32 + CELL_PX)  # between the two images
    assert (sheet[60:, gap] == 255).all()


def test_images_of_any_size_and_kind_are_drawn() -> None:
    images = [np.zeros((1, 900), np.uint8), np.ones((28, 28)) * 0.5, np.zeros((900, 2, 3), np.float32), GREEN]
    sheet = prediction_sheet([item(0, 0, image=image) for image in images], ["a"], title="x")
    assert count(sheet, (128, 128, 128)) > CELL_PX * CELL_PX / 2
