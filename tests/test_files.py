"""Test that files are written atomically, and that failures name the file."""

import csv
import errno
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from cvkit.errors import DataError, OutputError
from cvkit.files import (
    atomic_path,
    damaged_member,
    make_folder,
    read_json,
    sha256,
    write_atomic,
    write_csv,
    write_json,
)


def test_a_file_is_written_with_its_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "x.txt"
    write_atomic(path, "Größe")
    assert path.read_bytes() == "Größe".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00" and [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_a_failed_write_leaves_no_new_file_and_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomic(path, "old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    write_atomic(tmp_path / "x.txt", "")
    assert stat.S_IMODE((tmp_path / "x.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_an_error_about_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"no space left to write .*x\.png: free some"):
        write_atomic(tmp_path / "x.png", b"1")
    assert list(tmp_path.iterdir()) == []


def test_other_write_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file/x\.png"):
        write_atomic(tmp_path / "file" / "x.png", b"1")
    with pytest.raises(OutputError, match="is a file, where a folder is needed"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write"):
        make_folder(tmp_path / "file" / "below")


def test_a_name_that_is_too_long_fails_one_input_only(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("x" * 255), b"1")  # the longest name allowed, which the temporary name must not exceed
    with pytest.raises(DataError, match="too long"):
        write_atomic(tmp_path / ("x" * 256), b"1")
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_are_written_as_csv(tmp_path: Path) -> None:
    rows = [{"a": 0.1 + 0.2, "b": None, "other": 1}, {"a": 'say "x", y'}]
    write_csv(tmp_path / "t.csv", ["a", "b"], rows)
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n0.30000000000000004,\n"say ""x"", y",\n'


def test_values_are_written_as_json(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"name": "é", "list": [1]})
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == read_json(tmp_path / "t.json")
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "none.json"):
        with pytest.raises(DataError, match=f"{name} cannot be read as JSON"):
            read_json(tmp_path / name)


def test_a_file_name_that_is_not_utf8_can_be_reported(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["input"], [{"input": os.fsdecode(b"\xff.jpg")}])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1].endswith("ff.jpg")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_flipped_byte_in_an_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first", b"1" * 100)
        archive.writestr("second", b"2" * 100)
    assert damaged_member(path) is None
    content = bytearray(path.read_bytes())
    content[content.index(b"222") + 50] ^= 1
    path.write_bytes(content)
    assert damaged_member(path) == "second"
    (tmp_path / "text").write_text("no archive")
    assert damaged_member(tmp_path / "text") is None


def test_a_kept_file_gets_its_other_name_when_the_new_one_is_complete(tmp_path: Path) -> None:
    path, keep = tmp_path / "last", tmp_path / "previous"
    for number in range(3):
        with atomic_path(path, keep=keep) as new:
            new.write_text(str(number))
    assert (path.read_text(), keep.read_text()) == ("2", "1")
    with pytest.raises(KeyboardInterrupt), atomic_path(path, keep=keep):
        raise KeyboardInterrupt
    assert (path.read_text(), keep.read_text()) == ("2", "1")


def test_documents_are_flushed_to_the_disk_before_they_get_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, list[str]]] = []

    def record(handle: int) -> None:
        names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".cvkit-"))
        flushed.append((Path(f"/proc/self/fd/{handle}").readlink().name, names))

    monkeypatch.setattr(os, "fsync", record)
    write_json(tmp_path / "config.json", {})
    assert flushed[0][0].startswith(".cvkit-") and flushed[0][1] == []
    assert flushed[1] == (tmp_path.name, ["config.json"])
    write_csv(tmp_path / "history.csv", ["a"], [])
    assert len(flushed) == 4
    write_atomic(tmp_path / "map.png", b"1")  # one of many small results
    assert len(flushed) == 4


def test_a_disk_that_is_full_when_the_file_is_flushed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_json(tmp_path / "x.json", 1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        write_json(tmp_path / "x.json", 2)
    assert read_json(tmp_path / "x.json") == 1 and len(list(tmp_path.iterdir())) == 1


# Names that a spreadsheet takes for formulas, and names with line ends and other control characters.
ODD_NAMES = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\t=1",
    "\r=1",
    "a\rb",
    "a\nb",
    "a\r\nb",
    '"',
    ",",
    " x ",
    "\x1b[31m",
    "\u2028",
    "",
]


def test_names_in_a_csv_file_are_those_of_the_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["image", "score"], ({"image": name, "score": -0.5} for name in ODD_NAMES))
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        assert [(row["image"], row["score"]) for row in csv.DictReader(stream)] == [
            (name, "-0.5") for name in ODD_NAMES
        ]
    assert (tmp_path / "t.csv").read_bytes().startswith(b"image,score\n=1+1,-0.5\n")
