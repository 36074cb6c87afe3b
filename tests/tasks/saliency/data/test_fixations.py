"""Test the reading, counting and blurring of fixations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from cvkit.errors import DataError
from cvkit.tasks.saliency.data.fixations import (
    Fixations,
    blur_counts,
    count_map,
    default_sigma,
    grid_positions,
    read_fixations,
)


def points(*pairs: tuple[float, float]) -> Fixations:
    array = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Fixations(x=array[:, 0], y=array[:, 1])


def gaze(*observers: list[list[int]]) -> np.ndarray:
    """Return a MATLAB struct array like those in the files of SALICON."""
    array = np.empty((len(observers), 1), dtype=[("location", object), ("timestamp", object), ("fixations", object)])
    for index, locations in enumerate(observers):
        array[index, 0] = (np.zeros((1, 2)), np.zeros((1, 1)), np.array(locations, dtype=np.uint16).reshape(-1, 2))
    return array


def test_csv_with_bom_spaces_and_extra_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("\ufeff X , y ,pupil,duration_ms,subject\n1.5,2,9,200, anna\n\n3,4,9,,bob\n  \n", encoding="utf-8")
    read = read_fixations(path)
    assert read.x.tolist() == [1.5, 3] and read.y.tolist() == [2, 4]
    assert read.duration_ms is not None and read.subject is not None
    assert read.duration_ms[0] == 200 and np.isnan(read.duration_ms[1])
    assert read.subject.tolist() == ["anna", "bob"] and read.size is None


def test_csv_with_x_and_y_only_and_no_rows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("x,y\n")
    read = read_fixations(path)
    assert len(read) == 0 and read.duration_ms is None and read.subject is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns x and y, has none"),
        ("x,time\n1,2\n", "needs the columns x and y, has x, time"),
        ("x,y\n1,2\n3,left\n", r"line 3 is not a fixation .*left"),
        ("x,y\n1\n", r"line 2 is not a fixation \(it has 1 of 2 columns\)"),
        ("x,y\nnan,1\n", "finite"),
        ("x,y\ninf,1\n", "finite"),
        ("x,y\n,1\n", "finite"),
    ],
)
def test_a_damaged_csv_is_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_fixations(path)


def test_a_binary_csv_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="not a readable CSV"):
        read_fixations(tmp_path / "b.csv")
    for name in ("none.csv", "none.mat", "none.npy", "none.png"):
        with pytest.raises(DataError, match="no such file"):
            read_fixations(tmp_path / name)


def test_salicon_gaze_is_converted_to_zero_based_and_has_observers(tmp_path: Path) -> None:
    path = tmp_path / "COCO.mat"
    savemat(path, {"gaze": gaze([[1, 1], [640, 480]], [], [[11, 21]]), "resolution": [480, 640], "image": "COCO"})
    read = read_fixations(path)
    assert read.x.tolist() == [0, 639, 10] and read.y.tolist() == [0, 479, 20]
    assert read.subject is not None and read.subject.tolist() == ["1", "1", "3"]
    assert read.size == (480, 640)


def test_salicon_gaze_without_fixations_is_read(tmp_path: Path) -> None:
    savemat(tmp_path / "e.mat", {"gaze": gaze([], [])})
    read = read_fixations(tmp_path / "e.mat")
    assert len(read) == 0 and read.size is None


def test_gaze_in_another_format_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "g.mat", {"gaze": np.ones((3, 2))})
    with pytest.raises(DataError, match="no field 'fixations'"):
        read_fixations(tmp_path / "g.mat")
    odd = gaze([[1, 1]])
    odd[0, 0]["fixations"] = np.ones((1, 3))
    savemat(tmp_path / "h.mat", {"gaze": odd})
    with pytest.raises(DataError, match="observer 1"):
        read_fixations(tmp_path / "h.mat")


@pytest.mark.parametrize("name", ["fixLocs", "fixationPts", "anything"])
def test_a_binary_location_array_of_mit_is_read(tmp_path: Path, name: str) -> None:
    locations = np.zeros((5, 7), np.uint8)
    locations[1, 6] = locations[4, 0] = 1
    savemat(tmp_path / "m.mat", {"aaa_settings": [[1.0, 2.0]], name: locations})
    read = read_fixations(tmp_path / "m.mat")
    assert read.x.tolist() == [6, 0] and read.y.tolist() == [1, 4] and read.size == (5, 7)


def test_empty_and_unreadable_mat_files_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "n.mat", {"name": "x"})
    with pytest.raises(DataError, match="neither 'gaze' nor"):
        read_fixations(tmp_path / "n.mat")
    for name, content in (("garbage.mat", b"garbage" * 40), ("empty.mat", b""), ("cut.mat", b"MATLAB 5.0")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"not a readable \.mat file"):
            read_fixations(tmp_path / name)
    # The first 128 bytes of a version 7.3 file: text, then version 0x0200 and the byte order.
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "new.mat").write_bytes(head + b"\x89HDF\r\n\x1a\n" + bytes(512))
    with pytest.raises(DataError, match=r"7\.3 file; save it with -v7"):
        read_fixations(tmp_path / "new.mat")


def test_npy_files_hold_points_or_locations(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[1, 2], [1, 2], [3, 4]]))
    read = read_fixations(tmp_path / "p.npy")
    assert read.x.tolist() == [1, 1, 3] and read.y.tolist() == [2, 2, 4] and read.size is None
    locations = np.zeros((3, 4), bool)
    locations[2, 1] = True
    np.save(tmp_path / "l.npy", locations)
    read = read_fixations(tmp_path / "l.npy")
    assert read.x.tolist() == [1] and read.y.tolist() == [2] and read.size == (3, 4)
    np.save(tmp_path / "none.npy", np.zeros((0, 2)))
    assert len(read_fixations(tmp_path / "none.npy")) == 0


def test_npy_files_without_fixations_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"its shape is \(2, 3, 4\)"):
        read_fixations(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([[1.0, np.nan]]))
    with pytest.raises(DataError, match="finite"):
        read_fixations(tmp_path / "b.npy")


@pytest.mark.parametrize("top", [1, 255])
def test_a_binary_image_is_read_as_locations(tmp_path: Path, top: int) -> None:
    pixels = np.zeros((3, 5), np.uint8)
    pixels[2, 4] = top
    Image.fromarray(pixels).save(tmp_path / "b.png")
    read = read_fixations(tmp_path / "b.png")
    assert read.x.tolist() == [4] and read.y.tolist() == [2] and read.size == (3, 5)


def test_a_binary_jpeg_is_thresholded_at_half(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[8, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "b.jpg", quality=100)
    read = read_fixations(tmp_path / "b.jpg")
    assert read.x.tolist() == [3] and read.y.tolist() == [8]


def test_points_on_the_edge_pixels_are_inside() -> None:
    seen = points((-0.4, 0), (-0.6, 0), (3.4, 0), (3.6, 0), (0, 2.4), (0, 2.6)).inside((3, 4))
    assert seen.x.tolist() == [-0.4, 3.4, 0]


def test_where_selects_all_columns_alike() -> None:
    every = Fixations(
        np.array([1.0, 2]), np.array([3.0, 4]), np.array([5.0, 6]), np.array(["a", "b"]), size=(9, 9)
    ).where(np.array([False, True]))
    assert (every.x, every.y, every.duration_ms, every.subject) == (2, 4, 6, "b") and every.size == (9, 9)


def test_counts_by_hand() -> None:
    counts = count_map(points((0, 0), (2.4, 1), (2, 1), (9, 9)), (2, 3), (2, 3))
    assert counts.dtype == np.int16
    assert counts.tolist() == [[1, 0, 0], [0, 0, 2]]


def test_counts_at_another_size_by_hand() -> None:
    # Measured on 4x4, halved: pixels 0 and 1 fall into 0, 2 and 3 into 1. Doubled: the centre of 3 lands in 7.
    seen = points((0, 0), (1, 1), (2, 0), (3, 3))
    assert count_map(seen, (4, 4), (2, 2)).tolist() == [[2, 1], [0, 1]]
    rows, columns = grid_positions(seen, (4, 4), (8, 8))
    assert rows.tolist() == [1, 3, 1, 7] and columns.tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize("size", [(7, 5), (240, 320), (601, 799), (1, 1)])
def test_scaling_keeps_the_number_of_fixations(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    seen = Fixations(x=rng.uniform(-0.5, 799.49, 500), y=rng.uniform(-0.5, 599.49, 500))
    assert count_map(seen, (600, 800), size).sum() == len(seen.inside((600, 800)))


def test_blur_is_a_gaussian_with_its_peak_at_the_fixation() -> None:
    counts = count_map(points((30, 20)), (41, 61), (41, 61))
    values = blur_counts(counts, 3.0)
    assert (
        values.dtype == np.float32 and values.max() == 1 and np.unravel_index(values.argmax(), values.shape) == (20, 30)
    )
    np.testing.assert_allclose(values[20, 33], np.exp(-0.5), atol=1e-5)
    np.testing.assert_allclose(values[26, 30], np.exp(-2), atol=1e-5)
    # A Gaussian of sigma s and peak 1 holds 2 pi s^2.
    np.testing.assert_allclose(values.sum(), 2 * np.pi * 9, rtol=2e-3)


def test_the_blur_of_no_fixations_is_zero() -> None:
    assert not blur_counts(np.zeros((4, 4), np.int16), 2.0).any()


def test_the_default_sigma_depends_on_the_longer_side() -> None:
    assert default_sigma((600, 800)) == 24 and default_sigma((800, 600)) == 24


@pytest.mark.parametrize("resolution", [[np.nan, 3], [0, 5], [-4, 5], [1e300, 2]])
def test_a_resolution_that_is_no_size_is_refused(tmp_path: Path, resolution: list[float]) -> None:
    savemat(tmp_path / "r.mat", {"gaze": gaze([[1, 1]]), "resolution": resolution})
    with pytest.raises(DataError, match="is not the size of an image"):
        read_fixations(tmp_path / "r.mat")
