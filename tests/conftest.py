"""What every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of real data beside the project; the test skips where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data in ../shared is not here")
    return SHARED
