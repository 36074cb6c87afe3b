"""Test the reader of MATLAB files against scipy, and on damaged files."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from cvkit.errors import DataError
from cvkit.tasks.saliency.data.mat_file import read_mat


def struct_array(*entries: dict[str, Any]) -> np.ndarray:
    result = np.zeros((len(entries), 1), dtype=[(name, "O") for name in entries[0]])
    for row, entry in zip(result, entries, strict=True):
        row[0] = tuple(entry.values())
    return result


ARRAYS = {
    **{
        kind: np.arange(6).reshape(2, 3).astype(kind)
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
    },
    "logical": np.array([[True, False, True]]),
    "empty": np.zeros((0, 2)),
    "cube": np.arange(24.0).reshape(2, 3, 4),
    "large": np.arange(5000.0).reshape(50, 100),
}
CONTENT = {
    **{f"a_{name}": array for name, array in ARRAYS.items()},
    "text": "words",
    "cells": np.array([[1, "two"]], dtype=object),
    "gaze": struct_array(
        {"fixations": np.array([[1.0, 2.0], [3.0, 4.0]]), "inner": {"deep": np.array([[5.0]])}, "name": "a"},
        {"fixations": np.zeros((0, 0)), "inner": {"deep": np.array([[6.0]])}, "name": "b"},
    ),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_and_structs_are_those_of_scipy(tmp_path: Path, compressed: bool) -> None:
    savemat(tmp_path / "x.mat", CONTENT, do_compression=compressed)
    expected, content = loadmat(tmp_path / "x.mat"), read_mat(tmp_path / "x.mat")
    assert list(content) == list(CONTENT)
    for name, array in ARRAYS.items():
        value = content[f"a_{name}"]
        assert isinstance(value, np.ndarray) and value.dtype == array.dtype
        np.testing.assert_array_equal(value, expected[f"a_{name}"])
    assert content["text"] is None and content["cells"] is None
    gaze = content["gaze"]
    assert isinstance(gaze, list) and list(gaze[0]) == ["fixations", "inner", "name"]
    for entry, reference in zip(gaze, expected["gaze"].ravel(), strict=True):
        np.testing.assert_array_equal(entry["fixations"], reference["fixations"])
        np.testing.assert_array_equal(entry["inner"][0]["deep"], reference["inner"]["deep"][0, 0])


def test_files_of_the_other_byte_order_are_read(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    body = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 1)) + element(1, b"points")
    body += element(9, struct.pack(">dd", 1.5, -2))
    (tmp_path / "b.mat").write_bytes(b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + element(14, body))
    content = read_mat(tmp_path / "b.mat")
    assert isinstance(content["points"], np.ndarray) and content["points"].tolist() == [[1.5], [-2]]


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_are_refused_or_read(tmp_path: Path, compressed: bool) -> None:
    """scipy's reader ends the process with a segmentation fault on some of these files."""
    buffer = io.BytesIO()
    savemat(buffer, CONTENT, do_compression=compressed)
    whole, path = buffer.getvalue(), tmp_path / "x.mat"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for at in random.integers(100, len(whole), 3):
            content[at] ^= 1 << int(random.integers(8))
        path.write_bytes(content[: int(random.integers(1, len(whole)))] if random.random() < 0.2 else content)
        try:
            read_mat(path)
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_a_variable_that_inflates_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvkit.tasks.saliency.data.mat_file._MAX_BYTES", 1000)
    data = zlib.compress(struct.pack("<II", 14, 10**6) + bytes(10**6))
    head = b"MATLAB 5.0".ljust(124) + b"\0\1IM"
    (tmp_path / "x.mat").write_bytes(head + struct.pack("<II", 15, len(data)) + data)
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        read_mat(tmp_path / "x.mat")
