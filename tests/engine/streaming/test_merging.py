"""Test that result folders of parts are joined as one process would have written them."""

import csv
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cvkit import files
from cvkit.commands.merge import merge
from cvkit.config import MergeConfig
from cvkit.engine.streaming.ledger import Ledger, Work
from cvkit.errors import CvkitError, DataError, OutputError
from cvkit.files import read_json
from cvkit.inputs import Input
from cvkit.tasks.attribution.reports import SCORES

STEMS = "dagcfbe"


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of flushes would take seconds


@pytest.fixture
def inputs(tmp_path: Path) -> list[Input]:
    """Seven inputs, whose names are not in alphabetical order."""
    found = []
    for stem in STEMS:
        path = tmp_path / "in" / f"{stem}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(stem)
        found.append(Input(path=path, name=f"in/{stem}.jpg", stem=f"below/{stem}"))
    return found


def run(folder: Path, inputs: list[Input], *, bad: str = "", text: str = "map of ", **changes: Any) -> Path:
    settings: dict[str, Any] = {"command": "predict", "identity": {"format": "png", "checkpoint_sha256": "abc"}}
    settings |= {"columns": ["image", "map"], "details": {"device": "cpu", "model": {"name": "tiny"}}}
    with Ledger(Work(**{"folder": folder, "inputs": inputs, **settings, **changes})) as ledger:
        for item in reversed(ledger.todo):
            if item.path.stem in bad:
                ledger.record_failure(item, "data", f"{item.name}: damaged")
            else:
                target = folder / f"{item.stem}.txt"
                target.parent.mkdir(exist_ok=True)
                target.write_text(text + item.path.stem)
                ledger.record_done(item, [{"image": item.name, "map": f"{item.stem}.txt"}], [target])
        ledger.finish()
    return folder


def parts(tmp_path: Path, inputs: list[Input], count: int = 3, **changes: Any) -> list[str]:
    return [str(run(tmp_path / f"part{k}", inputs, shard=(k, count), **changes)) for k in (*range(2, count + 1), 1)]


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder without its records and its manifest."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".cvkit" not in path.parts and path.name != "manifest.json"
    }


def join(tmp_path: Path, folders: list[str], **options: Any) -> Any:
    return merge(MergeConfig(folders=tuple(folders), out=str(tmp_path / "all"), **options))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("link", [False, True])
def test_merged_parts_equal_the_folder_of_one_process(
    tmp_path: Path, inputs: list[Input], count: int, link: bool
) -> None:
    run(tmp_path / "one", inputs, bad="ce")
    result = join(tmp_path, parts(tmp_path, inputs, count, bad="ce"), link=link)
    assert (result.inputs, result.done, result.failed, result.missing) == (7, 5, 2, [])
    assert content(tmp_path / "all") == content(tmp_path / "one")
    if link:
        assert (tmp_path / "all/below/d.txt").samefile(tmp_path / "part1/below/d.txt")
    manifest = read_json(tmp_path / "all/manifest.json")
    assert manifest["counts"] == {"inputs": 7, "done": 5, "failed": 2} and manifest["device"] == "cpu"
    seconds = [source["seconds"] for source in manifest["sources"]]
    assert len(seconds) == count and manifest["seconds"] == pytest.approx(sum(seconds), abs=1e-3)
    assert manifest["longest_seconds"] == max(seconds)


def test_a_merge_can_be_repeated_and_continued(tmp_path: Path, inputs: list[Input]) -> None:
    folders = parts(tmp_path, inputs, bad="c")
    join(tmp_path, folders)
    before, manifest = content(tmp_path / "all"), read_json(tmp_path / "all/manifest.json")
    join(tmp_path, folders)
    after = read_json(tmp_path / "all/manifest.json")
    assert content(tmp_path / "all") == before and after["sources"] == manifest["sources"]
    for name in folders:
        shutil.rmtree(name)
    run(tmp_path / "all", inputs)  # only the failed input is left
    assert content(tmp_path / "all") == content(run(tmp_path / "one", inputs))


def test_parts_may_be_merged_one_after_the_other(tmp_path: Path, inputs: list[Input]) -> None:
    run(tmp_path / "one", inputs)
    for name in parts(tmp_path, inputs):
        join(tmp_path, [name], allow_missing=True)
        shutil.rmtree(name)
    assert content(tmp_path / "all") == content(tmp_path / "one")


def test_missing_parts_are_named(tmp_path: Path, inputs: list[Input]) -> None:
    folders = parts(tmp_path, inputs)
    for name in ("below/a.txt", ".cvkit/2-of-3.jsonl"):
        (tmp_path / "part2" / name).unlink()
    run(tmp_path / "part2", inputs, shard=(2, 3), bad="x")
    with Ledger(Work(folder=tmp_path / "begun", inputs=inputs, command="predict", identity={}, columns=["image"])):
        pass
    with pytest.raises(DataError, match=r"inputs are missing: part 1/3 \(3 of 3 inputs\)\. Merge .* --allow-missing"):
        join(tmp_path, [name for name in folders if not name.endswith("1")])
    with pytest.raises(DataError, match=r"part 2/3 \(2 of 2 inputs\), part 3/3 \(2 of 2 inputs\)"):
        join(tmp_path, [name for name in folders if name.endswith("1")])
    assert not (tmp_path / "all").exists()
    result = join(tmp_path, [name for name in folders if name.endswith("1")], allow_missing=True)
    assert result.inputs == 3 and result.missing == ["part 2/3 (2 of 2 inputs)", "part 3/3 (2 of 2 inputs)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": {"format": "npy", "checkpoint_sha256": "abc"}}, "settings differ: format is png and npy"),
        ({"identity": {"format": "png", "checkpoint_sha256": "abd"}}, "checkpoint_sha256 is abc and abd"),
        ({"identity": {"format": "png", "checkpoint_sha256": "abc", "new": 1}}, "new is None and 1"),
        ({"command": "classify"}, "one holds results of cvkit predict, the other of cvkit classify"),
    ],
)
def test_folders_that_do_not_fit_are_refused_with_the_difference(
    tmp_path: Path, inputs: list[Input], changes: dict[str, Any], message: str
) -> None:
    run(tmp_path / "a", inputs, shard=(1, 2))
    run(tmp_path / "b", inputs, shard=(2, 2), **changes)
    with pytest.raises(DataError, match=message):
        join(tmp_path, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert not (tmp_path / "all").exists()


def test_the_same_result_twice_is_kept_once_and_different_results_are_refused(
    tmp_path: Path, inputs: list[Input]
) -> None:
    folders = [str(run(tmp_path / name, inputs)) for name in "ab"]
    assert join(tmp_path, folders).inputs == 7
    run(tmp_path / "c", inputs, text="pam of ")
    with pytest.raises(DataError, match=r"b and .*c have different results of in/a\.jpg: remove the folder"):
        merge(MergeConfig(folders=(folders[1], str(tmp_path / "c")), out=str(tmp_path / "new")))


def test_a_result_is_preferred_to_a_failure(tmp_path: Path, inputs: list[Input]) -> None:
    folders = [str(run(tmp_path / "a", inputs, bad="dc")), str(run(tmp_path / "b", inputs, bad="ec"))]
    for order in (folders, folders[::-1]):
        assert join(tmp_path, order).failed == 1
        shutil.rmtree(tmp_path / "all")


def test_inputs_with_one_output_file_are_refused(tmp_path: Path, inputs: list[Input]) -> None:
    run(tmp_path / "a", inputs)
    path = tmp_path / "d.jpg"
    path.write_text("another")
    run(tmp_path / "b", [Input(path, "other/d.jpg", "below/d")])
    with pytest.raises(DataError, match=r"in/d\.jpg in .*a and other/d\.jpg in .*b have the same output file below/d"):
        join(tmp_path, [str(tmp_path / "a"), str(tmp_path / "b")])


def test_a_missing_output_file_is_named(tmp_path: Path, inputs: list[Input]) -> None:
    folders = parts(tmp_path, inputs)
    (tmp_path / "part1/below/d.txt").write_text("cut")
    with pytest.raises(DataError, match=r"part1/below/d\.txt is missing or incomplete: run the command that wrote it"):
        join(tmp_path, folders)


def test_folders_without_records_are_refused(tmp_path: Path, inputs: list[Input]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no such folder"):
        join(tmp_path, [str(tmp_path / "gone")])
    with pytest.raises(DataError, match="empty holds no results of predict, classify or gradcam"):
        join(tmp_path, [str(tmp_path / "empty")])
    (tmp_path / "all").mkdir()
    (tmp_path / "all/thesis.txt").touch()
    with pytest.raises(OutputError, match="already holds other files"):
        join(tmp_path, parts(tmp_path, inputs))


def test_a_record_that_leads_out_of_the_folder_is_never_followed(tmp_path: Path, inputs: list[Input]) -> None:
    (tmp_path / "secret.txt").write_text("map of d")
    folders = parts(tmp_path, inputs)
    ledger = tmp_path / "part1/.cvkit/1-of-3.jsonl"
    lines = [line.rpartition(", ")[0] + "}" for line in ledger.read_text().splitlines() if line]  # without checksums
    for outside in ("../secret.txt", str(tmp_path / "secret.txt"), "x/../../secret.txt"):
        ledger.write_text("\n".join(lines).replace('below/d.txt": 8', f'{outside}": 8'))
        with pytest.raises(DataError, match=r"inputs are missing: part 1/3 \(1 of 3 inputs\)"):
            join(tmp_path, folders)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the program may catch it."""


def test_a_merge_that_was_killed_at_any_moment_is_completed_by_the_same_command(
    tmp_path: Path, inputs: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "one", inputs, bad="c")
    folders = parts(tmp_path, inputs, bad="c")
    atomic = files.atomic_path
    for moment in itertools.count():
        count = itertools.count()

        def kill(path: Path, count: Any = count, moment: int = moment, **settings: Any) -> Any:
            if next(count) == moment:
                raise Killed
            return atomic(path, **settings)

        monkeypatch.setattr(files, "atomic_path", kill)
        killed = False
        try:
            join(tmp_path, folders)
        except Killed:
            killed = True
        monkeypatch.setattr(files, "atomic_path", atomic)
        if not killed:
            break
        join(tmp_path, folders)
        assert content(tmp_path / "all") == content(tmp_path / "one")
        shutil.rmtree(tmp_path / "all")
    assert moment == 11  # the manifest twice, six files, the records and two tables


def test_damaged_manifests_and_records_are_refused_or_skipped_without_a_traceback(
    tmp_path: Path, inputs: list[Input]
) -> None:
    folders = parts(tmp_path, inputs)
    path = tmp_path / "part1/manifest.json"
    whole = read_json(path)
    for name, value in itertools.product(whole, (None, 3, "x", [], {}, [1], {"x": []}, True)):
        files.write_json(path, {**whole, name: value})
        try:
            join(tmp_path, folders)
        except CvkitError as error:
            assert "\n" not in str(error)
        shutil.rmtree(tmp_path / "all", ignore_errors=True)
    files.write_json(path, whole)
    ledger = tmp_path / "part1/.cvkit/1-of-3.jsonl"
    lines = [line.rpartition(", ")[0] + "}" for line in ledger.read_text().splitlines() if line]
    for name, value in itertools.product(("shard", "index", "inputs", "list"), ("null", "-1", '"x"', "[]", "[0, 0]")):
        damaged = [line.replace(f'"{name}": ', f'"{name}": {value}, "old": ') for line in lines]
        ledger.write_text("\n".join(damaged))
        try:
            join(tmp_path, folders)
        except CvkitError as error:
            assert "\n" not in str(error)
        shutil.rmtree(tmp_path / "all", ignore_errors=True)


def test_tables_keep_the_order_of_folders_from_different_lists(tmp_path: Path, inputs: list[Input]) -> None:
    run(tmp_path / "z", inputs[:3])
    run(tmp_path / "y", inputs[3:])
    join(tmp_path, [str(tmp_path / "z"), str(tmp_path / "y")])
    with (tmp_path / "all/results.csv").open(newline="") as stream:
        assert [Path(row["image"]).stem for row in csv.DictReader(stream)] == list(STEMS)


def test_the_mean_scores_of_merged_heat_maps_cover_all_parts(tmp_path: Path, inputs: list[Input]) -> None:
    columns = ["image", "rank", *SCORES]
    for k in (1, 2):
        details = {"reports": {"faithfulness": True}}
        work = {"command": "gradcam", "identity": {}, "columns": columns, "details": details, "shard": (k, 2)}
        with Ledger(Work(**{"folder": tmp_path / f"part{k}", "inputs": inputs, **work})) as ledger:
            for item in ledger.todo:
                scores = dict.fromkeys(SCORES, float(STEMS.index(item.path.stem)))
                ledger.record_done(item, [{"image": item.name, "rank": 1, **scores}], [])
            ledger.finish()
    join(tmp_path, [str(tmp_path / "part1"), str(tmp_path / "part2")])
    document = read_json(tmp_path / "all/faithfulness.json")
    assert {name: (part["mean"], part["n"]) for name, part in document.items()} == dict.fromkeys(SCORES, (3.0, 7))
