"""Test the search of folders with links, loops and paths that are no files."""

import inspect
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvkit.errors import DataError
from cvkit.inputs import find_inputs, is_image_name, open_file, search_folder


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a folder with one image, and with everything else that may have the name of an image."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "odd"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.jpg").touch()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "broken.jpg").symlink_to("gone.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "notes").symlink_to("/dev/null")
    (folder / "text.txt").symlink_to("gone.txt")
    return folder


def relative_paths(folder: Path) -> list[tuple[str, bool]]:
    return [(found.relative, found.is_folder) for found in search_folder(folder, is_image_name)]


def why(path: Path) -> str:
    """Return the reason why a path cannot be opened."""
    with pytest.raises(DataError) as error:
        open_file(path)
    return str(error.value).removeprefix(f"{path}: ")


def test_paths_that_are_no_files_are_found_and_cannot_be_opened(odd: Path) -> None:
    assert relative_paths(odd) == [
        ("broken.jpg", False),
        ("fifo.jpg", False),
        ("loop.jpg", False),
        ("null.png", False),
        ("sub/a.jpg", False),
    ]
    assert why(odd / "broken.jpg") == "is a broken link to gone.jpg."
    assert why(odd / "fifo.jpg") == "is a FIFO, not a file."
    assert why(odd / "loop.jpg") == "cannot be read (Too many levels of symbolic links)."
    assert why(odd / "null.png") == "is a device, not a file."
    assert why(odd / "sub") == "is a folder, not an image."
    assert why(odd / "none.jpg") == "no such file."
    assert why(odd / "a\0b.jpg") == "cannot be read (embedded null byte)."
    with open_file(odd / "sub/a.jpg") as stream:
        assert stream.read() == b""


def test_a_socket_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has at most 107 characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        assert why(Path("s.jpg")) == "is a socket, not a file."


def test_links_to_folders_are_followed_and_loops_end(odd: Path) -> None:
    (odd / "linked").symlink_to("sub")
    (odd / "self").symlink_to(".")
    (odd / "sub/up").symlink_to("..")
    found = [entry for entry in relative_paths(odd) if "/" in entry[0] or entry[1]]
    assert found == [
        ("linked/a.jpg", False),
        ("linked/up", True),
        ("self", True),
        ("sub/a.jpg", False),
        ("sub/up", True),
    ]
    for name in ("self", "sub/up", "linked/up"):
        assert why(odd / name) == "is a link to a folder that contains it, which is not searched again."


def test_a_broken_link_without_suffix_may_be_a_lost_folder(odd: Path) -> None:
    (odd / "disk").symlink_to("/not/mounted")
    assert ("disk", True) in relative_paths(odd)
    assert why(odd / "disk") == "is a broken link to /not/mounted."


def test_a_folder_without_permission_is_found(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who has every permission
    assert ("sub", True) in relative_paths(odd)
    assert why(odd / "sub") == "the folder cannot be searched (Permission denied)."
    with pytest.raises(DataError, match=r"sub: the folder cannot be searched \(Permission denied\)"):
        find_inputs([str(odd / "sub")])


def test_a_folder_that_vanishes_during_the_search_is_found(odd: Path) -> None:
    search = search_folder(odd, is_image_name)
    assert next(search).relative == "broken.jpg"
    (odd / "sub/a.jpg").unlink()
    (odd / "sub").rmdir()
    assert [found.relative for found in search if found.is_folder] == ["sub"]
    assert why(odd / "sub") == "no such file."


def test_very_deep_folders_are_searched(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["d"] * 100)
    folder.mkdir(parents=True)
    (folder / "deep.jpg").touch()
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 50)  # a search that calls itself for each folder would fail
        stems = [item.stem for item in find_inputs([str(tmp_path)])]
    finally:
        sys.setrecursionlimit(limit)
    assert stems == ["d/" * 100 + "deep"]


def test_inputs_that_cannot_be_read_are_listed_in_order(odd: Path) -> None:
    names = ["broken.jpg", "fifo.jpg", "loop.jpg", "null.png", "sub/a.jpg"]
    assert [item.name for item in find_inputs(["odd"])] == [f"odd/{name}" for name in names]
    # Named on the command line, as the shell expands odd/*.jpg.
    assert [item.name for item in find_inputs([f"odd/{name}" for name in names])] == [f"odd/{name}" for name in names]
    assert [item.name for item in find_inputs(["odd/*.jpg"])] == ["odd/broken.jpg", "odd/fifo.jpg", "odd/loop.jpg"]
    assert [item.name for item in find_inputs(["odd/**/*.jpg"])] == [f"odd/{name}" for name in names if "jpg" in name]
    del odd


def test_recursive_patterns_end_at_loops(odd: Path) -> None:
    for name in ("one", "two", "sub/three"):
        (odd / name).symlink_to(odd)
    found = find_inputs(["odd/**/a.jpg"])
    assert [item.name for item in found] == ["odd/one", "odd/sub/a.jpg", "odd/sub/three", "odd/two"]
    assert [item.is_folder for item in found] == [True, False, True, True]
