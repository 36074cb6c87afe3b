import gzip
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from cvkit.models.fetch import torch_hub_folder
from cvkit.models.published import table
from cvkit.models.published.table import LIBRARIES, encode, from_library, installed_version, listed
from tests.test_architecture import HEAVY

ROOT = Path(__file__).resolve().parents[3]
REGENERATE = "run: python docs/make_entries.py"


def described_version(library: str) -> str:
    """The version of a library that the data file describes."""
    found: str = table._read()["versions"][library]
    return found


def need_described_version(library: str) -> None:
    """Skip a test if the data file describes another version of a library than the installed one."""
    if described_version(library) != installed_version(library):
        pytest.skip(f"the data file describes {library} {described_version(library)}")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_data_file_equals_the_library(library: str) -> None:
    need_described_version(library)
    assert listed(library) == from_library(library), REGENERATE
    assert list(listed(library)) == list(from_library(library)), REGENERATE


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_data_file_is_not_older_than_the_library(library: str) -> None:
    # With another version `models list` is right, but takes ten times as long.
    assert Version(described_version(library)) >= Version(installed_version(library) or "0"), REGENERATE


@pytest.mark.parametrize("damage", ["missing", "no gzip", "no JSON", "another version"])
def test_without_a_matching_data_file_the_library_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    expected, file = listed("torchvision"), tmp_path / "entries.json.gz"
    if damage == "no gzip":
        file.write_bytes(b"{}")
    elif damage == "no JSON":
        file.write_bytes(gzip.compress(b"entries"))
    elif damage == "another version":
        file.write_bytes(gzip.compress(b'{"versions": {"torchvision": "0.1", "timm": "0.1"}}'))
    monkeypatch.setattr(table, "DATA", file)
    assert listed("torchvision") == expected


def test_the_same_entries_give_the_same_bytes() -> None:
    for library in LIBRARIES:
        need_described_version(library)
    tables = {library: listed(library) for library in LIBRARIES}
    assert gzip.decompress(encode(tables)) == gzip.decompress(table.DATA.read_bytes())
    assert table.DATA.read_bytes()[3:8] == bytes(5)  # no file name, no time of modification


def test_the_data_file_is_in_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert table.DATA.name in settings["tool"]["setuptools"]["package-data"]["cvkit.models.published"]


def test_models_list_imports_no_large_library_and_is_quick() -> None:
    for library in LIBRARIES:
        need_described_version(library)
    code = f"""
import contextlib, io, sys, time
from cvkit.cli import main
sys.argv = ["cvkit", "models", "list", "--json"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main.main()
print(time.process_time(), *sorted(set({HEAVY}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, *imported = done.stdout.split()
    assert imported == []
    assert float(seconds) < 1  # processor time, 0.4 on the machine of the measurements


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_the_cache_of_torch_hub_is_found_without_torch(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import hub

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "~/elsewhere")
    assert torch_hub_folder() == Path(hub.get_dir())
