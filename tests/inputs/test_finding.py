"""Test the search, order and naming of inputs."""

import io
import os
import sys
from pathlib import Path

import pytest

from cvkit.errors import DataError, UsageError
from cvkit.inputs import check_stdin_is_unshared, find_inputs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a folder with files, and make it the working directory."""
    for name in ("d/b.jpg", "d/a.PNG", "d/sub/c.tiff", "d/.hidden/x.jpg", "d/.x.jpg", "d/notes.txt", "one.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(arguments: list[str], stdin: list[str] | None = None) -> list[tuple[str, str]]:
    return [(item.path.as_posix(), item.stem) for item in find_inputs(arguments, stdin)]


def test_a_folder_is_searched_recursively_and_sorted(here: Path) -> None:
    del here
    assert pairs(["d"]) == [("d/a.PNG", "a"), ("d/b.jpg", "b"), ("d/sub/c.tiff", "sub/c")]


def test_a_named_file_needs_no_image_suffix(here: Path) -> None:
    del here
    assert pairs(["one.jpg", "d/notes.txt"]) == [("one.jpg", "one"), ("d/notes.txt", "notes")]


def test_glob_patterns_are_expanded(here: Path) -> None:
    del here
    assert pairs(["d/*.jpg"]) == [("d/b.jpg", "b")]
    assert pairs(["**/*.[jt]*"]) == [
        ("d/b.jpg", "d/b"),
        ("d/notes.txt", "d/notes"),
        ("d/sub/c.tiff", "d/sub/c"),
        ("one.jpg", "one"),
    ]


def test_a_file_whose_name_looks_like_a_glob_is_read_as_a_file(here: Path) -> None:
    (here / "a[1].jpg").touch()
    assert pairs(["a[1].jpg"]) == [("a[1].jpg", "a[1]")]


def test_results_mirror_the_paths_of_a_list_file(here: Path) -> None:
    (here / "list.txt").write_text(
        "\ufeffd/b.jpg\n\n# a remark\n  one.jpg  \n../gone.jpg\n./d/sub/c.tiff\n/\n", encoding="utf-8"
    )
    found = pairs(["@list.txt"])
    assert found[:4] == [("d/b.jpg", "d/b"), ("one.jpg", "one"), ("../gone.jpg", "gone"), ("d/sub/c.tiff", "d/sub/c")]
    assert found[4][1] == "input"  # an invalid line gets a name too, and fails when it is read


def test_inputs_are_read_from_standard_input(here: Path) -> None:
    del here
    assert pairs(["-"], ["d/b.jpg\n", "one.jpg\n"]) == [("d/b.jpg", "d/b"), ("one.jpg", "one")]


# A name per line. Only LF and CR LF end a line: U+0085, U+2028, FF and VT are parts of names.
ODD_NAMES = (
    b"caf\xe9.jpg",
    "a\u2028b\u0085c.jpg".encode(),
    b"a\x0bb\x0cc\x1cd.jpg",
    b"-rf.jpg",
    b'"quoted".jpg',
    b"'s.jpg",
    b"..png",
    b"x" * 250,
    b"a\rb.jpg",
)


def test_names_in_a_list_may_have_any_bytes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [Path(os.fsdecode(name)) for name in ODD_NAMES]
    for ending in (b"\n", b"\r\n"):
        content = b"".join(name + ending for name in ODD_NAMES)
        (here / "list.txt").write_bytes(content)
        assert [item.path for item in find_inputs(["@list.txt"])] == names
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
        assert [item.path for item in find_inputs(["-"])] == names


def test_names_that_end_with_nul_may_have_newlines(here: Path) -> None:
    (here / "list.txt").write_bytes(b"a\nb.jpg\0 #c.jpg \0")
    assert pairs(["@list.txt"]) == [("a\nb.jpg", "a\nb"), (" #c.jpg ", " #c")]


def test_closed_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input, which is closed"):
        find_inputs(["-"])


def test_inputs_keep_the_order_of_the_arguments_without_repeats(here: Path) -> None:
    (here / "list.txt").write_text("one.jpg\nd/a.PNG\n")
    found = pairs(["d/b.jpg", "@list.txt", "./d", "-"], ["./one.jpg"])
    assert [path for path, _ in found] == ["d/b.jpg", "one.jpg", "d/a.PNG", "d/sub/c.tiff"]


def test_two_inputs_never_share_a_result(here: Path) -> None:
    for name in ("c/a.jpg", "c/a.png", "c/b.jpg", "c/a.jpg.gif", "c/B.bmp", "c/x.y.jpg"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    found = dict(pairs(["c"]))
    assert found["c/a.jpg"] == "a.jpg" and found["c/a.png"] == "a.png" and found["c/x.y.jpg"] == "x.y"
    assert found["c/b.jpg"] == "b.jpg" and found["c/B.bmp"] == "B.bmp"  # the same file on file systems that ignore case
    assert found["c/a.jpg.gif"] not in ("a.jpg", "a.png")
    assert len({stem.lower() for stem in found.values()}) == len(found)


def test_equal_names_in_two_folders_are_numbered(here: Path) -> None:
    for name in ("p/a.jpg", "q/a.jpg"):
        (here / name).parent.mkdir()
        (here / name).touch()
    assert pairs(["p", "q"]) == [("p/a.jpg", "a.jpg"), ("q/a.jpg", "a.jpg-2")]


def test_a_result_folder_inside_a_folder_is_left_out(here: Path) -> None:
    for name in ("d/maps/.cvkit/1-of-1.jsonl", "d/maps/b.png", "d/maps/sub/c.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    assert [path for path, _ in pairs(["d"])] == ["d/a.PNG", "d/b.jpg", "d/sub/c.tiff"]
    assert [path for path, _ in pairs(["d/**/*.[jp]*"])] == ["d/b.jpg"]
    with pytest.raises(DataError, match="matches no file"):
        find_inputs(["d/**/*.png"])
    assert [path for path, _ in pairs(["d/maps"])] == ["d/maps/b.png", "d/maps/sub/c.png"]  # named explicitly


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gone.jpg", "no such file or folder: gone.jpg"),
        ("gone/*.jpg", "the pattern gone/.*matches no file"),
        ("@gone.txt", "the list gone.txt cannot be read"),
        ("@empty.txt", "empty.txt lists no files"),
        ("@binary.txt", "the list binary.txt cannot be read"),
        ("@photo.jpg", r"the list photo\.jpg cannot be read \(it holds NUL bytes\)"),
        ("bare", r"no images in the folder bare \(looked for \.bmp"),
        ("-", "standard input lists no files"),
    ],
)
def test_arguments_that_match_nothing_are_refused(here: Path, argument: str, message: str) -> None:
    (here / "bare").mkdir()
    (here / "empty.txt").write_text("\n# nothing\n")
    (here / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    (here / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    with pytest.raises(DataError, match=message):
        find_inputs([argument], [])


def test_standard_input_is_refused_in_several_processes() -> None:
    check_stdin_is_unshared(["-"], 1)
    check_stdin_is_unshared(["a"], 4)
    with pytest.raises(UsageError, match=r"write the list to a file and name it @list\.txt"):
        check_stdin_is_unshared(["a", "-"], 2)
