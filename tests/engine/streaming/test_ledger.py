"""Test that a result folder keeps the results of complete inputs when the work is interrupted."""

import csv
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvkit.engine import locks
from cvkit.engine.streaming import ledger as ledgers
from cvkit.engine.streaming.ledger import Counts, Ledger, Work
from cvkit.engine.streaming.records import Records, decode
from cvkit.engine.streaming.tables import Rows
from cvkit.errors import CvkitError, OutputError
from cvkit.files import read_json
from cvkit.inputs import Input


@pytest.fixture
def inputs(tmp_path: Path) -> list[Input]:
    """Seven inputs, whose names are not in alphabetical order."""
    found = []
    for name in ("d", "a", "g", "c", "f", "b", "e"):
        path = tmp_path / "in" / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        found.append(Input(path=path, name=f"in/{name}.jpg", stem=name))
    return found


def work(tmp_path: Path, inputs: list[Input], **changes: Any) -> Work:
    settings = {
        "command": "predict",
        "identity": {"format": "png", "size": (1, 2)},
        "columns": ["image", "map"],
        "details": {"device": "cpu"},
    }
    return Work(**{"folder": tmp_path / "out", "inputs": inputs, **settings, **changes})


def do(ledger: Ledger, item: Input, text: str = "map") -> None:
    target = ledger.work.folder / f"{item.stem}.txt"
    target.write_text(text)
    ledger.record_done(item, [{"image": item.name, "map": text}], [target])


def run(work: Work, *, bad: str = "") -> tuple[list[str], Counts]:
    """Process all remaining inputs; those whose stem is in ``bad`` fail. Return the stems of the remaining inputs."""
    with Ledger(work) as ledger:
        todo = list(ledger.todo)
        for item in reversed(todo):  # in another order than that of the inputs
            if item.stem in bad:
                ledger.record_failure(item, "data", f"{item.name}: damaged")
            else:
                do(ledger, item)
        return [item.stem for item in todo], ledger.finish()


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_a_first_run_does_all_inputs_and_reports_in_input_order(tmp_path: Path, inputs: list[Input]) -> None:
    todo, counts = run(work(tmp_path, inputs))
    assert todo == list("dagcfbe") and counts == Counts(inputs=7, skipped=0, done=7, failed=0)
    assert table(tmp_path / "out/results.csv") == [["image", "map"]] + [[f"in/{s}.jpg", "map"] for s in "dagcfbe"]
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["command"] == "predict" and manifest["settings"] == {"format": "png", "size": [1, 2]}
    assert manifest["counts"] == {"inputs": 7, "done": 7, "failed": 0} and manifest["device"] == "cpu"
    assert not (tmp_path / "out/failures.csv").exists()


def test_a_second_run_skips_complete_inputs(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    before = (tmp_path / "out/results.csv").read_text()
    todo, counts = run(work(tmp_path, inputs))
    assert todo == [] and counts == Counts(inputs=7, skipped=7, done=0, failed=0)
    assert (tmp_path / "out/results.csv").read_text() == before


def test_changed_inputs_and_incomplete_results_are_redone(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    inputs[0].path.write_text("changed")
    os.utime(inputs[1].path, ns=(1, 1))
    (tmp_path / "out/g.txt").unlink()
    (tmp_path / "out/c.txt").write_text("m")
    assert run(work(tmp_path, inputs))[0] == ["d", "a", "g", "c"]
    assert run(work(tmp_path, inputs))[0] == []


def test_overwrite_redoes_all_inputs(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    assert run(work(tmp_path, inputs, overwrite=True))[0] == list("dagcfbe")
    assert len(table(tmp_path / "out/results.csv")) == 8


def test_failures_are_retried_and_failures_csv_is_removed_at_the_end(tmp_path: Path, inputs: list[Input]) -> None:
    _, counts = run(work(tmp_path, inputs), bad="ag")
    assert counts == Counts(inputs=7, skipped=0, done=5, failed=2)
    assert table(tmp_path / "out/failures.csv") == [
        ["input", "kind", "message"],
        ["in/a.jpg", "data", "in/a.jpg: damaged"],
        ["in/g.jpg", "data", "in/g.jpg: damaged"],
    ]
    assert read_json(tmp_path / "out/manifest.json")["counts"] == {"inputs": 7, "done": 5, "failed": 2}
    assert run(work(tmp_path, inputs), bad="g")[0] == ["a", "g"]
    assert run(work(tmp_path, inputs))[0] == ["g"]
    assert not (tmp_path / "out/failures.csv").exists() and len(table(tmp_path / "out/results.csv")) == 8


def test_an_input_that_fails_later_loses_its_results(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    inputs[0].path.write_text("broken now")
    run(work(tmp_path, inputs), bad="d")
    results = table(tmp_path / "out/results.csv")
    assert results[1] == ["in/d.jpg", ""]  # a failed input keeps its row, which holds only its name
    assert len(results) == 8 and all(row[1] for row in results[2:])
    assert len(table(tmp_path / "out/failures.csv")) == 2


def test_other_settings_are_refused_with_the_difference(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    with pytest.raises(OutputError, match=r"other settings \(format was png, is npy; size was \[1, 2\], is None\)"):
        Ledger(work(tmp_path, inputs, identity={"format": "npy", "size": None}))
    with pytest.raises(OutputError, match="already holds results of cvkit predict: name another folder with --out"):
        Ledger(work(tmp_path, inputs, command="gradcam"))


def test_a_foreign_folder_is_refused(tmp_path: Path, inputs: list[Input]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"already holds other files: name another folder with --out"):
        Ledger(work(tmp_path, inputs))
    (out / "manifest.json").write_text("[]")
    with pytest.raises(OutputError, match="already holds other files"):
        Ledger(work(tmp_path, inputs))
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "thesis.txt"]
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="is a file, where a folder is needed"):
        Ledger(work(tmp_path, inputs, folder=file))


def test_an_empty_folder_is_used(tmp_path: Path, inputs: list[Input]) -> None:
    (tmp_path / "out").mkdir()
    assert len(run(work(tmp_path, inputs))[0]) == 7


def test_shards_share_one_folder_in_any_order(tmp_path: Path, inputs: list[Input]) -> None:
    parts = {k: run(work(tmp_path, inputs, shard=(k, 3)), bad="c") for k in (1, 3, 2)}
    assert {k: todo for k, (todo, _) in parts.items()} == {1: ["d", "c", "e"], 2: ["a", "f"], 3: ["g", "b"]}
    assert parts[1][1] == Counts(inputs=3, skipped=0, done=2, failed=1)
    assert [row[0] for row in table(tmp_path / "out/results.csv")[1:]] == [f"in/{s}.jpg" for s in "dagcfbe"]
    assert len(table(tmp_path / "out/failures.csv")) == 2
    # The same work in one process, or in other shards, skips the inputs that the shards completed.
    assert run(work(tmp_path, inputs, shard=(2, 2)), bad="c")[0] == ["c"]
    assert run(work(tmp_path, inputs))[0] == ["c"]


def test_shards_may_run_at_the_same_time(tmp_path: Path, inputs: list[Input]) -> None:
    with Ledger(work(tmp_path, inputs, shard=(1, 2))) as one, Ledger(work(tmp_path, inputs, shard=(2, 2))) as two:
        for ledger in (two, one):
            for item in ledger.todo:
                do(ledger, item)
        one.finish()
        two.finish()
    assert [row[0] for row in table(tmp_path / "out/results.csv")[1:]] == [f"in/{s}.jpg" for s in "dagcfbe"]


def test_an_old_failure_of_another_shard_does_not_come_back(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs, shard=(1, 2)), bad="d")  # fails, recorded in the file of shard 1 of 2
    run(work(tmp_path, inputs))  # succeeds, recorded in the file of shard 1 of 1
    run(work(tmp_path, inputs, shard=(1, 2)))  # nothing is left to process, but the old file is touched
    assert not (tmp_path / "out/failures.csv").exists()
    assert len(table(tmp_path / "out/results.csv")) == 8


def test_a_line_cut_by_a_kill_costs_one_input(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    path = tmp_path / "out/.cvkit/1-of-1.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # the last record is that of "d", the last complete input
    assert run(work(tmp_path, inputs))[0] == ["d"]
    assert run(work(tmp_path, inputs))[0] == []
    assert len(table(tmp_path / "out/results.csv")) == 8


@pytest.mark.parametrize("junk", [b"null\n", b"12\n", b"{}\n", b'"in/a.jpg"\n', b"\xff\xfe\x00\n", b"[1, 2]"])
def test_unreadable_lines_between_the_records_are_ignored(tmp_path: Path, inputs: list[Input], junk: bytes) -> None:
    run(work(tmp_path, inputs))
    with (tmp_path / "out/.cvkit/1-of-1.jsonl").open("ab") as stream:
        stream.write(junk)
    assert run(work(tmp_path, inputs))[0] == []


def test_a_kill_before_the_reports_loses_nothing(tmp_path: Path, inputs: list[Input]) -> None:
    with Ledger(work(tmp_path, inputs)) as ledger:
        do(ledger, inputs[0])
    assert not (tmp_path / "out/results.csv").exists()
    assert run(work(tmp_path, inputs))[0] == list("agcfbe")
    assert len(table(tmp_path / "out/results.csv")) == 8


def test_two_inputs_never_share_a_result(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    other = tmp_path / "in" / "d.png"
    other.touch()
    clash = Input(path=other, name="in/d.png", stem="D")
    with pytest.raises(OutputError, match=r"holds results of in/d\.jpg, which those of in/d\.png would replace"):
        Ledger(work(tmp_path, [clash]))


def test_a_failed_input_reserves_no_result_name(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs[:1]), bad="d")
    other = tmp_path / "in" / "d.png"
    other.touch()
    assert run(work(tmp_path, [Input(path=other, name="in/d.png", stem="d")]))[0] == ["d"]


def test_other_inputs_are_added_to_the_folder(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs[:3]))
    todo, counts = run(work(tmp_path, inputs[3:]))
    assert todo == list("cfbe") and counts.inputs == 4
    # The inputs of this call come first, then the others by name.
    assert [row[0] for row in table(tmp_path / "out/results.csv")[1:]] == [f"in/{s}.jpg" for s in "cfbeadg"]


def test_a_file_name_that_is_not_utf8_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.jpg")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    odd = [Input(path=path, name=str(path), stem="odd")]
    assert run(work(tmp_path, odd))[0] == ["odd"]
    assert run(work(tmp_path, odd))[0] == []


def test_a_file_system_without_locks_is_supported(
    tmp_path: Path, inputs: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert run(work(tmp_path, inputs))[1].done == 7


def test_a_full_disk_names_the_ledger(tmp_path: Path, inputs: list[Input]) -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, f"No space left for {len(text)}")

        def close(self) -> None:
            pass

    with Ledger(work(tmp_path, inputs)) as ledger:
        ledger._stream.close()
        ledger._stream = Full()  # type: ignore[assignment]
        with pytest.raises(OutputError, match=r"no space left to write .*1-of-1\.jsonl"):
            ledger.record_failure(inputs[0], "data", "x")


def test_a_missing_input_is_tried_in_every_run(tmp_path: Path) -> None:
    gone = Input(path=tmp_path / "gone.jpg", name="gone.jpg", stem="gone")
    assert ledgers._stamp(gone.path) == []
    assert run(work(tmp_path, [gone]), bad="gone")[0] == ["gone"]
    assert run(work(tmp_path, [gone]), bad="gone")[0] == ["gone"]


def test_a_report_writer_can_read_all_rows_more_than_once(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs, shard=(1, 2)), bad="g")  # d, f and e are complete
    seen: list[list[dict[str, Any]]] = []

    def report(rows: Rows) -> None:
        seen.extend([list(rows()), list(rows())])
        assert (tmp_path / "out/results.csv").exists()

    with Ledger(work(tmp_path, inputs, shard=(2, 2))) as ledger:
        for item in reversed(ledger.todo):
            ledger.record_done(item, [{"image": item.name, "more": number} for number in (1, 2)], [])
        ledger.finish(report)
    once = [{"image": "in/d.jpg", "map": "map"}, *({"image": "in/a.jpg", "more": number} for number in (1, 2))]
    assert seen[0][:3] == once
    assert [row["image"][3] for row in seen[0]] == list("daaccfbbe")  # a failed input has no rows
    assert seen[0] == seen[1]


def test_a_failed_report_leaves_the_records(tmp_path: Path, inputs: list[Input]) -> None:
    def full(rows: Rows) -> None:
        raise OutputError(f"no space left to write {len(list(rows()))} rows")

    with Ledger(work(tmp_path, inputs)) as ledger:
        for item in ledger.todo:
            do(ledger, item)
        with pytest.raises(OutputError, match="7 rows"):
            ledger.finish(full)
    assert run(work(tmp_path, inputs))[0] == []


def rows_of(folder: Path, inputs: list[Input]) -> list[dict[str, Any]]:
    return list(Records(folder / ".cvkit").rows(item.name for item in inputs))


def test_rows_are_read_in_the_requested_order(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs), bad="g")
    asked = [inputs[5], inputs[2], inputs[0]]  # b, g, d
    assert rows_of(tmp_path / "out", asked) == [{"image": f"in/{s}.jpg", "map": "map"} for s in "bd"]
    run(work(tmp_path, inputs))
    assert [row["image"] for row in rows_of(tmp_path / "out", asked)] == [f"in/{s}.jpg" for s in "bgd"]
    stranger = Input(path=tmp_path / "in/x.jpg", name="in/x.jpg", stem="x")
    assert rows_of(tmp_path / "out", [stranger]) == []


def test_extra_values_of_a_row_are_read_back_and_are_not_in_the_table(tmp_path: Path, inputs: list[Input]) -> None:
    with Ledger(work(tmp_path, inputs[:1])) as ledger:
        ledger.record_done(inputs[0], [{"image": "in/d.jpg", "map": 0.1, "true_index": 7, "top": [["cat", 0.5]]}], [])
        ledger.finish()
    (row,) = rows_of(tmp_path / "out", inputs)
    assert row == {"image": "in/d.jpg", "map": 0.1, "true_index": 7, "top": [["cat", 0.5]]}
    assert table(tmp_path / "out/results.csv") == [["image", "map"], ["in/d.jpg", "0.1"]]


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.0)


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize(("first", "second"), [((1, 1), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (2, 3)), ((1, 2), (3, 4))])
def test_a_second_job_with_common_inputs_is_refused(
    tmp_path: Path, inputs: list[Input], first: tuple[int, int], second: tuple[int, int]
) -> None:
    with Ledger(work(tmp_path, inputs, shard=first)) as ledger:
        with pytest.raises(OutputError, match=rf"is being written by process {os.getpid()} on .*: wait until it ends"):
            Ledger(work(tmp_path, inputs, shard=second))
        for item in ledger.todo:
            do(ledger, item)
        ledger.finish()
    assert len(run(work(tmp_path, inputs))[0]) == 7 - len(inputs[first[0] - 1 :: first[1]])


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize(("first", "second"), [((1, 2), (2, 2)), ((1, 2), (2, 4)), ((1, 3), (2, 3))])
def test_parts_without_common_inputs_are_written_at_the_same_time(
    tmp_path: Path, inputs: list[Input], first: tuple[int, int], second: tuple[int, int]
) -> None:
    with Ledger(work(tmp_path, inputs, shard=first)), Ledger(work(tmp_path, inputs, shard=second)):
        pass


def test_a_job_waits_for_one_that_ends(tmp_path: Path, inputs: list[Input]) -> None:
    ledger = Ledger(work(tmp_path, inputs))
    do(ledger, inputs[0])
    timer = threading.Timer(0.2, ledger.__exit__)
    timer.start()
    assert run(work(tmp_path, inputs))[0] == list("agcfbe")
    timer.join()


def test_results_without_a_manifest_are_never_continued(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs[:3]))
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            path.unlink()
    with pytest.raises(OutputError, match=r"already holds results without the manifest\.json that says their settings"):
        Ledger(work(tmp_path, inputs, identity={"format": "npy"}))


def test_the_folder_of_a_training_run_is_refused(tmp_path: Path, inputs: list[Input]) -> None:
    (tmp_path / "out/.cvkit").mkdir(parents=True)
    (tmp_path / "out/config.json").write_text("{}")
    with pytest.raises(OutputError, match="already holds other files"):
        Ledger(work(tmp_path, inputs))


def test_a_process_that_is_killed_while_it_creates_the_folder_leaves_a_usable_one(
    tmp_path: Path, inputs: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(path: Path, document: object) -> None:
        path.with_name(".cvkit-cut.tmp").write_text(repr(document)[:10])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledgers, "write_json", kill)
        with pytest.raises(Killed):
            Ledger(work(tmp_path, inputs))
    assert len(run(work(tmp_path, inputs, identity={"format": "npy"}))[0]) == 7


def mutations(line: str) -> Iterator[bytes]:
    """Yield damaged versions of a record: cut, flipped, with other types and keys, very deep, very long, binary."""
    raw = line.encode()
    yield from (raw[:end] for end in range(0, len(raw), 7))
    yield from (raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :] for at in range(0, len(raw), 3))
    entry = json.loads(line)
    for name in entry:
        for value in (None, True, -1, 10**400, 1e308, "x", [], [[]], ["x"], {}, {"x": None}, {"../x": 1}, "\0"):
            yield json.dumps({key: part for key, part in entry.items() if key != "crc"} | {name: value}).encode()
        yield json.dumps({key: part for key, part in entry.items() if key != name}).encode()
    yield b"[" * 100_000
    yield b'{"input": ' + b"9" * 10_000 + b"}"
    yield bytes(range(256)) * 50
    yield b"\0" * 100_000


def test_damaged_records_are_skipped_without_a_traceback(
    tmp_path: Path, inputs: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of flushes would take seconds
    run(work(tmp_path, inputs[:2]), bad="a")
    path = tmp_path / "out/.cvkit/1-of-1.jsonl"
    done, failed = sorted(path.read_text().split("\n"))[-2:]
    count = 0
    for line in (done, failed):
        for damaged in mutations(line):
            decode(damaged)  # raises nothing
            count += 1
            if count % 5:  # a whole run takes 25 milliseconds
                continue
            path.write_bytes(damaged + b"\n")
            try:
                todo, counts = run(work(tmp_path, inputs[:2]))
            except OutputError:  # the record of another input with the same stem, which is valid
                continue
            assert len(todo) == counts.done and counts.skipped == 2 - len(todo)
            assert [row[0] for row in table(tmp_path / "out/results.csv")][1:3] == ["in/d.jpg", "in/a.jpg"]
    assert count > 300


def test_a_changed_value_in_a_record_is_found_by_its_checksum(tmp_path: Path, inputs: list[Input]) -> None:
    run(work(tmp_path, inputs))
    path = tmp_path / "out/.cvkit/1-of-1.jsonl"
    path.write_text(path.read_text().replace('"map": "map"', '"map": "mop"', 1))
    with Ledger(work(tmp_path, inputs)) as ledger:
        assert [item.stem for item in ledger.todo] == ["e"] and ledger.damaged == 1


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "[" * 100_000, "\0\xff", '{"command": 3}', '{"settings": 1e999}']
)
def test_a_damaged_manifest_is_refused_with_a_line(tmp_path: Path, inputs: list[Input], text: str) -> None:
    run(work(tmp_path, inputs))
    (tmp_path / "out/manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(CvkitError, match="out"):
        Ledger(work(tmp_path, inputs))


@pytest.mark.parametrize("settings", ["null", "[]", "3", '{"format": ["png"]}', '{"format": {"png": 1}, "size": "x"}'])
def test_damaged_settings_of_a_manifest_are_named(tmp_path: Path, inputs: list[Input], settings: str) -> None:
    run(work(tmp_path, inputs))
    (tmp_path / "out/manifest.json").write_text(f'{{"command": "predict", "settings": {settings}}}')
    with pytest.raises(OutputError, match=r"other settings \(format was .*, is png"):
        Ledger(work(tmp_path, inputs))


def test_results_are_not_written_through_a_link_that_leads_out_of_the_folder(
    tmp_path: Path, inputs: list[Input]
) -> None:
    run(work(tmp_path, inputs))
    (tmp_path / "out/sub").symlink_to(tmp_path)
    with pytest.raises(OutputError, match=r"out/sub is a link to"):
        Ledger(work(tmp_path, [replace(inputs[0], stem="sub/deep/d")]))
    with Ledger(work(tmp_path, inputs)):  # no input needs the link
        pass


def test_a_result_folder_that_is_removed_during_the_run_is_one_line(tmp_path: Path, inputs: list[Input]) -> None:
    with Ledger(work(tmp_path, inputs)) as ledger:
        do(ledger, inputs[0])
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(OutputError, match=r"cannot write .*out"):
            ledger.finish()
    assert len(run(work(tmp_path, inputs))[0]) == 7


@pytest.mark.parametrize("name", ["results.csv", "failures.csv", "manifest.json"])
def test_a_report_that_does_not_fit_on_the_disk_leaves_the_one_before(
    tmp_path: Path, inputs: list[Input], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run(work(tmp_path, inputs[:3]), bad="d")
    before = (tmp_path / "out" / name).read_bytes()
    rename = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match=rf"no space left to write .*{name}: free some, then run the same"):
            run(work(tmp_path, inputs), bad="d")
    assert (tmp_path / "out" / name).read_bytes() == before
    assert not list((tmp_path / "out").rglob(".cvkit-*"))
    assert run(work(tmp_path, inputs))[0] == ["d"]
