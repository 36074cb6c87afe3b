"""Test that the last record of each input is read, whichever process wrote it."""

import json
from pathlib import Path

import pytest

from cvkit.engine.streaming.records import Records
from cvkit.inputs import Input


def item(name: str) -> Input:
    return Input(Path(name), name, name)


def write(path: Path, *entries: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries))


def test_the_last_record_counts_in_any_file(tmp_path: Path) -> None:
    state = tmp_path / ".cvkit"
    write(state / "1-of-1.jsonl", {"input": "a", "at": 1, "kind": "data"}, {"input": "b", "at": 9, "rows": [{"n": 1}]})
    write(state / "1-of-2.jsonl", "", {"input": "a", "at": 5, "rows": [{"n": 2}, {"n": 3}]}, {"input": "b", "at": 2})
    write(state / "2-of-2.jsonl", {"input": "c", "at": 3, "kind": "data", "message": "bad"})
    records = Records(state)
    assert (len(records), records.failed) == (3, 1)
    assert records.in_order([item("c"), item("b")]) == ["c", "b", "a"]
    assert list(records.rows(["b", "c", "a", "unknown"])) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [entry.get("message") for entry in records.entries(["c"])] == ["bad"]


def test_an_incomplete_line_is_ignored(tmp_path: Path) -> None:
    whole = {"input": "ä", "at": 1, "rows": [{"n": 1}]}
    write(
        tmp_path / ".cvkit" / "1-of-1.jsonl", whole, '{"input": "ä", "at": 2, "ro', "\xff\xfe", "[1]", '{"input": "b"}'
    )
    assert list(Records(tmp_path / ".cvkit").rows(["b", "ä"])) == [{"n": 1}]


def test_a_new_folder_has_no_records(tmp_path: Path) -> None:
    assert len(Records(tmp_path / ".cvkit")) == 0
    assert list(Records(tmp_path / ".cvkit").rows(["a"])) == []


def test_new_records_of_all_processes_are_read(tmp_path: Path) -> None:
    state = tmp_path / ".cvkit"
    own = state / "2-of-2.jsonl"
    write(own, {"input": "a", "at": 1, "kind": "data"})
    records = Records(state, keep=("kind",))
    with own.open("a") as stream:
        stream.write(json.dumps({"input": "a", "at": 4, "rows": [{"n": 1}]}) + "\n")
        stream.write('{"input": "b", "at": 5, "rows"')
    write(state / "1-of-2.jsonl", {"input": "c", "at": 2, "rows": [{"n": 3}]})
    records.read_new()
    assert (len(records), records.failed, records.damaged) == (2, 0, 0)
    assert list(records.rows("abc")) == [{"n": 1}, {"n": 3}]
    with own.open("a") as stream:  # the other process ends its line
        stream.write(': [{"n": 2}]}\n')
    records.read_new()
    records.read_new()
    assert list(records.rows("abc")) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert records.kept == {"a": {"kind": "data"}}


@pytest.mark.parametrize("name", ["", "/", "/etc/x", "..", "../x", "a/../x", "a/..", ".", "./.", "a\0b"])
def test_a_record_of_a_file_outside_the_folder_is_damaged(tmp_path: Path, name: str) -> None:
    state = tmp_path / ".cvkit"
    write(state / "1-of-1.jsonl", {"input": "a", "at": 1, "rows": [{"n": 1}], "files": {name: 1}})
    assert Records(state).damaged == 1
    write(state / "1-of-1.jsonl", {"input": "a", "at": 1, "rows": [{"n": 1}], "files": {"b/..c": 1, "./d..": 2}})
    assert Records(state).damaged == 0
