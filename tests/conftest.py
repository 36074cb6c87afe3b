"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Return the folder of real data beside the project; skip the test if it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data in ../shared is absent")
    return SHARED
