"""Fixtures shared by all tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Accept Ctrl-C, which a shell ignores for all processes of a background job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep exported graphs out of the cache of the user; the processes that tests start use the same folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def shared() -> Path:
    """Return the folder of real data beside the project; skip the test if it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data in ../shared is absent")
    return SHARED
