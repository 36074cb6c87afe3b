"""Test confusion matrices of few and many classes."""

import io
import itertools
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from cvkit.render import confusion_chart
from cvkit.render.confusion import MAX_LABELLED_CLASSES, MAX_WRITTEN_CLASSES
from tests.render.figures import capture, cut_texts, texts_of, words_of

MODULE = sys.modules["cvkit.render.confusion"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return capture(monkeypatch, MODULE)


def random_counts(classes: int, images: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, images)
    predicted = np.where(rng.random(images) < 0.8, truth, rng.integers(0, classes, images))
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def overlap(labels: list[Text], vertical: bool) -> bool:
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    spans = sorted((box.y0, box.y1) if vertical else (box.x0, box.x1) for box in boxes)
    return any(after[0] < before[1] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "classes",
    [1, 2, 10, 40, 1000, *(pytest.param(count, marks=pytest.mark.slow) for count in (30, 31, 100, 101, 331, 3000))],
)
def test_no_text_is_cut_and_no_label_covers_another(classes: int, figures: list[Figure]) -> None:
    labels = [f"a class with a long name {k}" if k % 2 else f"W{k}" for k in range(classes)]
    counts = random_counts(classes, 20 * classes + 3)
    png = confusion_chart(counts, labels, title="a model " * 40)
    width, height = Image.open(io.BytesIO(png)).size
    assert max(width, height) < 2600
    axes = figures[0].axes[0]
    assert cut_texts(figures[0]) == []
    (heading,) = (text for text in texts_of(figures[0]) if "images correct" in text.get_text())
    (title,) = (text for text in texts_of(figures[0]) if text.get_text().startswith("a model"))
    assert title.get_window_extent().y0 > heading.get_window_extent().y1
    assert not overlap(axes.get_yticklabels(), vertical=True)
    assert not overlap(axes.get_xticklabels(), vertical=False)


def test_the_cells_of_few_classes_hold_their_counts(figures: list[Figure]) -> None:
    counts = np.array([[123, 4, 0], [0, 77, 0], [9, 0, 0]])
    confusion_chart(counts, ["ant", "bee", "fly"], title="insects")
    axes = figures[0].axes[0]
    written = {(text.get_position(), text.get_text()) for text in axes.texts if text.get_text().isdigit()}
    assert written == {((0, 0), "123"), ((1, 0), "4"), ((1, 1), "77"), ((0, 2), "9")}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ant", "bee", "fly"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant  127", "bee  77", "fly  9"]
    assert "200 of 213 images correct (93.9 %)" in words_of(figures[0])


def test_colours_are_fractions_of_the_true_class(figures: list[Figure]) -> None:
    confusion_chart(np.array([[3, 1], [0, 0]]), [], title="x")
    values = figures[0].axes[0].images[0].get_array()
    assert values is not None
    assert values.filled(-1).tolist() == [[0.75, 0.25], [-1, -1]]  # a class without images has no fractions


def test_many_classes_have_a_list_of_the_most_confused_pairs(figures: list[Figure]) -> None:
    counts = np.diag(np.full(MAX_WRITTEN_CLASSES + 1, 50))
    counts[3, 5], counts[5, 3], counts[4, 7] = 6, 2, 6
    counts[4, 4] = 10
    confusion_chart(counts, [f"kind{k}" for k in range(len(counts))], title="x")
    words = words_of(figures[0])
    start = words.index("true class → predicted class")
    # Of equal counts, the one of the smaller class precedes.
    assert words[start - 1 : start + 7] == [
        *("images", "true class → predicted class", "6 of 16", "kind4 → kind7"),
        *("6 of 56", "kind3 → kind5", "2 of 52", "kind5 → kind3"),
    ]
    assert not [text for text in figures[0].axes[0].texts if text.get_text().isdigit()]


def test_very_many_classes_have_indices_and_keep_every_confusion(figures: list[Figure]) -> None:
    counts = np.eye(1000, dtype=np.int64)
    counts[17, 803] = 4
    confusion_chart(counts, [], title="x")
    axes = figures[0].axes[0]
    labels = [int(label.get_text()) for label in axes.get_xticklabels() if label.get_text()]
    assert 5 <= len(labels) <= 12 and set(labels) <= set(range(1000))
    values = axes.images[0].get_array()
    assert values is not None
    assert values.shape == (250, 250) and values[17 // 4, 803 // 4] == 0.8
    assert np.count_nonzero(values) == 251 and "class 17 → class 803" in words_of(figures[0])


def test_classes_that_do_not_occur_are_left_out_of_many(figures: list[Figure]) -> None:
    counts = np.zeros((1000, 1000), np.int64)
    counts[7, 7], counts[7, 900], counts[12, 12] = 5, 1, 3
    confusion_chart(counts, [], title="x")
    words = words_of(figures[0])
    assert [label.get_text() for label in figures[0].axes[0].get_yticklabels()] == [
        *("class 7  6", "class 12  3", "class 900  0"),
    ]
    assert "8 of 9 images correct (88.9 %); without 997 classes that do not occur" in words


def test_labels_that_the_font_lacks_become_indices_and_dollars_are_no_formulas(figures: list[Figure]) -> None:
    confusion_chart(np.eye(4, dtype=np.int64), ["雏菊", "$x^2$", "розы", "line\nbreak"], title="$x$ {")
    labels = [label.get_text() for label in figures[0].axes[0].get_xticklabels()]
    assert labels == ["class 0", "$x^2$", "розы", "line break"]


@pytest.mark.parametrize(
    "classes", [1, MAX_WRITTEN_CLASSES + 1, pytest.param(MAX_LABELLED_CLASSES + 1, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", ["none", "perfect", "all wrong"])
def test_matrices_without_images_or_with_one_kind_of_cell_are_drawn(
    case: str, classes: int, figures: list[Figure]
) -> None:
    counts = {
        "none": np.zeros((classes, classes), np.int64),
        "perfect": np.eye(classes, dtype=np.int64),
        "all wrong": np.roll(np.eye(classes, dtype=np.int64), 1, axis=1),
    }[case]
    confusion_chart(counts, [], title=case)
    assert cut_texts(figures[0]) == []
    assert ("no images" in words_of(figures[0])) == (case == "none")


def test_matrices_that_do_not_fit_their_labels_are_refused() -> None:
    for shape, labels in (((2, 3), []), ((0, 0), []), ((2, 2), ["a"]), ((4,), [])):
        with pytest.raises(ValueError, match="need counts"):
            confusion_chart(np.zeros(shape, np.int64), labels, title="x")
