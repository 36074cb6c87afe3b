"""Test the scaling of samples and maps."""

import numpy as np
import pytest

from cvkit.data.scaling import min_max, white_level


@pytest.mark.parametrize(
    ("kind", "values", "white"),
    [
        ("?", [False, True], 1),
        ("u1", [0, 3], 255),
        ("u2", [0, 3], 65535),
        ("i2", [0, 3], 32767),
        ("i4", [-1, 255], 255),
        ("i4", [0, 256], 65535),
        ("u4", [0, 65536], 2**32 - 1),
        ("f4", [0.1, 0.2], 1),
        ("f8", [0, 2], 1),
        ("f4", [0, 2.1], 255),
        ("f4", [np.nan, np.inf, 1], 1),
        ("f4", [], 1),
        ("u4", [], 255),
    ],
)
def test_white_depends_on_the_type_and_on_the_largest_value(kind: str, values: list[float], white: float) -> None:
    assert white_level(np.array(values, dtype=kind)) == white


@pytest.mark.parametrize(
    "values",
    [
        [[0.0, np.nan]],
        [[0.0, np.inf]],
        [[-np.inf, 1.0]],
        [[np.inf, np.inf]],
        [[-3e38, 3e38]],  # a range larger than the largest float32
        [[0.0, 1e-39]],  # a range smaller than the resolution of float32
        [[0.0, 1e200]],
    ],
)
def test_scaling_gives_no_nan_and_no_infinity(values: list[list[float]]) -> None:
    assert not min_max(np.array(values)).any()


def test_scaling_uses_the_whole_range_of_small_and_large_numbers() -> None:
    for factor in (1e-37, 1e-20, 1.0, 1e20, 1e38):
        scaled = min_max(np.array([[-1.0, 0.0, 1.0]]) * factor)
        assert scaled.dtype == np.float32
        assert np.allclose(scaled, [[0, 0.5, 1]], atol=1e-6)


def test_scaling_does_not_change_its_input() -> None:
    values = np.array([[1.0, 3.0]], dtype=np.float32)
    values.setflags(write=False)
    assert min_max(values).tolist() == [[0, 1]]
    assert values.tolist() == [[1, 3]]
