"""Test the folders of training runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from cvkit.config import TrainSaliencyConfig
from cvkit.engine import locks
from cvkit.engine.run_folder import RunFolder, differing_data, make_next, open_run, opened_run, write_config
from cvkit.errors import OutputError
from cvkit.files import read_json, write_json

CONFIG = TrainSaliencyConfig(data="d")


def test_make_next_counts_up_and_never_reuses_a_name(tmp_path: Path) -> None:
    base = tmp_path / "runs" / "mlnet"
    assert [make_next(base).name for _ in range(2)] == ["mlnet-1", "mlnet-2"]
    assert (tmp_path / "runs/mlnet-2").is_dir()
    (tmp_path / "runs/mlnet-3").touch()
    assert make_next(base).name == "mlnet-4"


def test_a_new_run_needs_a_new_or_empty_folder(tmp_path: Path) -> None:
    out = tmp_path / "a" / "run"
    folder = open_run(str(out), CONFIG)
    assert out.is_dir() and folder == RunFolder(out)
    names = [path.name for path in (folder.last, folder.best, folder.history, folder.config)]
    assert names == ["last.pt", "best.pt", "history.csv", "config.json"]
    open_run(str(out), CONFIG)  # still empty
    (out / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"already holds other files: name another folder with --out\.$"):
        open_run(str(out), CONFIG)
    write_config(folder, "train-saliency", {}, {})
    assert open_run(str(out), CONFIG) == folder  # a run that ended before it saved anything
    folder.last.touch()
    with pytest.raises(OutputError, match=r"already holds a run.*--resume"):
        open_run(str(out), CONFIG)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        open_run(str(tmp_path / "file"), CONFIG)


def test_resuming_needs_the_same_settings(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    config = replace(CONFIG, size=(240, 320), batch_size=8, epochs=3)
    again = replace(config, resume=True, out=out)
    folder = open_run(out, config)
    assert open_run(out, again) == folder  # starts from the beginning
    write_config(folder, "train-saliency", config.as_dict(), {"lr": 0.1})
    assert open_run(out, again) == folder  # starts from the beginning
    folder.last.touch()
    assert open_run(out, replace(again, epochs=9, workers=4)) == folder
    with pytest.raises(
        OutputError, match=r"a run of other settings \(--batch-size was 8, is 4; --size was 240x320, is 48x64\)"
    ):
        open_run(out, replace(again, size=(48, 64), batch_size=4))


def test_a_run_killed_before_its_first_checkpoint_starts_anew_whatever_the_options(tmp_path: Path) -> None:
    for name in ("new", "empty", "begun"):
        out = tmp_path / name
        for _ in range(2):
            assert open_run(str(out), replace(CONFIG, resume=True, out=str(out))) == RunFolder(out)
        open_run(str(out), CONFIG)
    folder = RunFolder(tmp_path / "begun")
    write_config(folder, "train-saliency", CONFIG.as_dict(), {})
    folder.best.touch()  # as versions before this one could leave it
    (folder.path / ".cvkit-0123abcd-1-abcdefgh.tmp").touch()
    for resume in (False, True):
        assert open_run(str(folder.path), replace(CONFIG, seed=9, resume=resume, out=str(folder.path))) == folder


def test_a_trained_model_without_a_checkpoint_to_resume_is_not_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_config(folder, "train-saliency", CONFIG.as_dict(), {})
    folder.best.touch()
    folder.history.touch()
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"a trained model and nothing to resume, because it has no last\.pt"):
            open_run(str(tmp_path), replace(CONFIG, resume=resume, out=str(tmp_path)))


def test_resuming_into_a_folder_of_other_files_is_refused_and_leaves_no_mark(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(OutputError, match="already holds other files"):
        open_run(str(tmp_path), replace(CONFIG, resume=True, out=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_run_whose_last_checkpoint_is_missing_resumes_from_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_config(folder, "train-saliency", CONFIG.as_dict(), {})
    folder.previous.touch()
    again = replace(CONFIG, resume=True, out=str(tmp_path))
    assert open_run(str(tmp_path), again).has_state
    with pytest.raises(OutputError, match="already holds a run"):
        open_run(str(tmp_path), CONFIG)


def test_an_open_run_is_locked_and_free_of_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    left = tmp_path / ".cvkit-0123abcd-1-abcdefgh.tmp"
    left.touch()
    config, fabric = replace(CONFIG, resume=True, out=str(tmp_path)), Fabric(accelerator="cpu", devices=1)
    with opened_run(config, Path("runs"), fabric) as folder:
        assert folder == RunFolder(tmp_path) and not left.exists()
        with pytest.raises(OutputError, match="is being written by process"):
            opened_run(config, Path("runs"), fabric).__enter__()
    with opened_run(config, Path("runs"), fabric):
        pass


class Failure(Exception):
    """Stands for any error of a start."""


def fail(config: TrainSaliencyConfig, base: Path, *written: str) -> Path:
    """Open a run, write files into it and fail; return its folder."""
    with pytest.raises(Failure), opened_run(config, base, Fabric(accelerator="cpu", devices=1)) as folder:
        for name in written:
            (folder.path / name).touch()
        raise Failure
    return folder.path


def test_a_failed_start_removes_the_folders_that_it_created(tmp_path: Path) -> None:
    named = replace(CONFIG, out=str(tmp_path / "a/b/run"))
    for config in (named, CONFIG):
        assert not fail(config, tmp_path / "runs/x/mlnet", "config.json", "summary.txt").exists()
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    fail(named, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]
    (tmp_path / "a/b/run").mkdir(parents=True)
    fail(named, tmp_path)
    assert list((tmp_path / "a/b/run").iterdir()) == []  # it was there and empty before


def test_a_failed_start_keeps_what_was_saved_and_what_others_wrote(tmp_path: Path) -> None:
    config = replace(CONFIG, out=str(tmp_path / "run"), resume=True)
    folder = fail(config, tmp_path, "config.json", "last.pt")
    assert {path.name for path in folder.iterdir()} == {".cvkit", "config.json", "last.pt"}
    write_config(RunFolder(folder), "train-saliency", config.as_dict(), {})
    fail(config, tmp_path)
    assert (folder / "last.pt").is_file()
    deep = replace(CONFIG, out=str(tmp_path / "new/run"))
    with pytest.raises(Failure), opened_run(deep, tmp_path, Fabric(accelerator="cpu", devices=1)):
        (tmp_path / "new/other.txt").touch()
        raise Failure
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other.txt"]


def test_differences_between_data_are_named() -> None:
    data = {"train": 6, "val": 3, "data_sha256": "a"}
    assert differing_data(data, data) == [] == differing_data({}, data) == differing_data("damaged", data)
    assert differing_data({**data, "train": 7, "data_sha256": "b"}, data) == ["7 train images then, 6 now"]
    assert differing_data({**data, "data_sha256": "b"}, data) == [
        "as many images, with other content or in another order"
    ]


def test_settings_of_an_older_version_are_compared_by_value(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    config = replace(CONFIG, freeze=2, resume=True, out=out)
    folder = open_run(out, CONFIG)
    old = {**replace(CONFIG, freeze=2).as_dict(), "freeze": "2", "removed_option": 1}
    write_json(folder.config, {**old, "resolved": {}})
    folder.last.touch()
    assert open_run(out, config) == folder
    with pytest.raises(OutputError, match="--freeze was 2, is 3"):
        open_run(out, replace(config, freeze=3))


def test_settings_and_resolved_values_are_written(tmp_path: Path) -> None:
    write_config(RunFolder(tmp_path), "train-saliency", {"size": (1, 2)}, {"lr": 0.5})
    written = read_json(tmp_path / "config.json")
    assert written["command"] == "train-saliency" and written["size"] == [1, 2]
    assert written["resolved"] == {"lr": 0.5} and written["torch"] == torch.__version__
