"""Fixtures shared by all tests."""

import signal
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Accept Ctrl-C, which a shell ignores for all processes of a background job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shared() -> Path:
    """Return the folder of real data beside the project; skip the test if it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data in ../shared is absent")
    return SHARED
