"""Which files go in, and how files come out."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from cvkit import files
from cvkit.errors import DataError, OutputError, UsageError
from cvkit.files import atomic_path, find_inputs, make_folder, read_json, sha256, write_atomic, write_csv, write_json


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files to be in."""
    for name in ("d/b.jpg", "d/a.PNG", "d/sub/c.tiff", "d/.hidden/x.jpg", "d/.x.jpg", "d/notes.txt", "one.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(words: list[str], stdin: list[str] | None = None) -> list[tuple[str, str]]:
    return [(item.path.as_posix(), item.stem) for item in find_inputs(words, stdin)]


def test_folder_is_searched_through_and_sorted(here: Path) -> None:
    del here
    assert pairs(["d"]) == [("d/a.PNG", "a"), ("d/b.jpg", "b"), ("d/sub/c.tiff", "sub/c")]


def test_file_of_any_name(here: Path) -> None:
    del here
    assert pairs(["one.jpg", "d/notes.txt"]) == [("one.jpg", "one"), ("d/notes.txt", "notes")]


def test_globs(here: Path) -> None:
    del here
    assert pairs(["d/*.jpg"]) == [("d/b.jpg", "b")]
    assert pairs(["**/*.[jt]*"]) == [
        ("d/b.jpg", "d/b"),
        ("d/notes.txt", "d/notes"),
        ("d/sub/c.tiff", "d/sub/c"),
        ("one.jpg", "one"),
    ]


def test_a_file_whose_name_looks_like_a_glob(here: Path) -> None:
    (here / "a[1].jpg").touch()
    assert pairs(["a[1].jpg"]) == [("a[1].jpg", "a[1]")]


def test_list_file(here: Path) -> None:
    (here / "list.txt").write_text(
        "\ufeffd/b.jpg\n\n# a remark\n  one.jpg  \n../gone.jpg\n./d/sub/c.tiff\n/\n", encoding="utf-8"
    )
    found = pairs(["@list.txt"])
    assert found[:4] == [("d/b.jpg", "d/b"), ("one.jpg", "one"), ("../gone.jpg", "gone"), ("d/sub/c.tiff", "d/sub/c")]
    assert found[4][1] == "input"  # nonsense gets a name too, and fails by itself when it is read


def test_lines_on_standard_input(here: Path) -> None:
    del here
    assert pairs(["-"], ["d/b.jpg\n", "one.jpg\n"]) == [("d/b.jpg", "d/b"), ("one.jpg", "one")]


def test_any_mix_in_the_order_of_the_words_without_repeats(here: Path) -> None:
    (here / "list.txt").write_text("one.jpg\nd/a.PNG\n")
    found = pairs(["d/b.jpg", "@list.txt", "./d", "-"], ["./one.jpg"])
    assert [path for path, _ in found] == ["d/b.jpg", "one.jpg", "d/a.PNG", "d/sub/c.tiff"]


def test_two_inputs_never_share_a_result(here: Path) -> None:
    for name in ("c/a.jpg", "c/a.png", "c/b.jpg", "c/a.jpg.gif", "c/B.bmp", "c/x.y.jpg"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    found = dict(pairs(["c"]))
    assert found["c/a.jpg"] == "a.jpg" and found["c/a.png"] == "a.png" and found["c/x.y.jpg"] == "x.y"
    assert found["c/b.jpg"] == "b.jpg" and found["c/B.bmp"] == "B.bmp"  # one file where case does not count
    assert found["c/a.jpg.gif"] not in ("a.jpg", "a.png")
    assert len({stem.lower() for stem in found.values()}) == len(found)


def test_same_name_in_two_places(here: Path) -> None:
    for name in ("p/a.jpg", "q/a.jpg"):
        (here / name).parent.mkdir()
        (here / name).touch()
    assert pairs(["p", "q"]) == [("p/a.jpg", "a.jpg"), ("q/a.jpg", "a.jpg-2")]


def test_a_result_folder_inside_is_left_out(here: Path) -> None:
    for name in ("d/maps/.cvkit/1-of-1.jsonl", "d/maps/b.png", "d/maps/sub/c.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    assert [path for path, _ in pairs(["d"])] == ["d/a.PNG", "d/b.jpg", "d/sub/c.tiff"]
    assert [path for path, _ in pairs(["d/**/*.[jp]*"])] == ["d/b.jpg"]
    with pytest.raises(DataError, match="matches no file"):
        find_inputs(["d/**/*.png"])
    assert [path for path, _ in pairs(["d/maps"])] == ["d/maps/b.png", "d/maps/sub/c.png"]  # asked for by name


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("gone.jpg", "no such file or folder: gone.jpg"),
        ("gone/*.jpg", "the pattern gone/.*matches no file"),
        ("@gone.txt", "the list gone.txt cannot be read"),
        ("@empty.txt", "empty.txt lists no files"),
        ("@binary.txt", "the list binary.txt cannot be read"),
        ("bare", r"no images in the folder bare \(looked for \.bmp"),
        ("-", "standard input lists no files"),
    ],
)
def test_words_that_find_nothing(here: Path, word: str, words: str) -> None:
    (here / "bare").mkdir()
    (here / "empty.txt").write_text("\n# nothing\n")
    (here / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=words):
        find_inputs([word], [])


def test_standard_input_is_for_one_process() -> None:
    files.refuse_stdin_in_many_processes(["-"], 1)
    files.refuse_stdin_in_many_processes(["a"], 4)
    with pytest.raises(UsageError, match=r"write the list to a file and name it @list\.txt"):
        files.refuse_stdin_in_many_processes(["a", "-"], 2)


def test_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "x.txt"
    write_atomic(path, "Größe")
    assert path.read_bytes() == "Größe".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00" and [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_a_failure_leaves_nothing_and_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomic(path, "old")

    def half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_way()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    write_atomic(tmp_path / "x.txt", "")
    assert stat.S_IMODE((tmp_path / "x.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"no space left to write .*x\.png: free some"):
        write_atomic(tmp_path / "x.png", b"1")
    assert list(tmp_path.iterdir()) == []


def test_other_failures_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file/x\.png"):
        write_atomic(tmp_path / "file" / "x.png", b"1")
    with pytest.raises(OutputError, match="is a file, where a folder is needed"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write"):
        make_folder(tmp_path / "file" / "below")


def test_a_name_too_long_is_the_fault_of_one_input(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("x" * 255), b"1")  # as long as may be, whatever the temporary name is
    with pytest.raises(DataError, match="too long"):
        write_atomic(tmp_path / ("x" * 256), b"1")
    assert len(list(tmp_path.iterdir())) == 1


def test_csv_of_rows(tmp_path: Path) -> None:
    rows = [{"a": 0.1 + 0.2, "b": None, "other": 1}, {"a": 'say "x", y'}]
    write_csv(tmp_path / "t.csv", ["a", "b"], rows)
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n0.30000000000000004,\n"say ""x"", y",\n'


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"name": "é", "list": [1]})
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == read_json(tmp_path / "t.json")
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "none.json"):
        with pytest.raises(DataError, match=f"{name} cannot be read as JSON"):
            read_json(tmp_path / name)


def test_a_name_that_is_no_utf8_can_be_reported(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["input"], [{"input": os.fsdecode(b"\xff.jpg")}])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1].endswith("ff.jpg")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
