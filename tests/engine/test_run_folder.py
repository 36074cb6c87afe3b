from pathlib import Path

import pytest
import torch

from cvkit.engine.run_folder import RunFolder, make_next, open_run, write_config
from cvkit.errors import OutputError
from cvkit.files import read_json


def test_make_next_counts_up_and_never_shares(tmp_path: Path) -> None:
    base = tmp_path / "runs" / "mlnet"
    assert [make_next(base).name for _ in range(2)] == ["mlnet-1", "mlnet-2"]
    assert (tmp_path / "runs/mlnet-2").is_dir()
    (tmp_path / "runs/mlnet-3").touch()
    assert make_next(base).name == "mlnet-4"


def test_a_new_run_wants_a_folder_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "a" / "run"
    folder = open_run(str(out), {}, resume=False)
    assert out.is_dir() and folder == RunFolder(out)
    names = [path.name for path in (folder.last, folder.best, folder.history, folder.config)]
    assert names == ["last.pt", "best.pt", "history.csv", "config.json"]
    open_run(str(out), {}, resume=False)  # still empty
    (out / "thesis.txt").touch()
    with pytest.raises(OutputError, match="holds something else already"):
        open_run(str(out), {}, resume=False)
    write_config(folder, {}, {})
    assert open_run(str(out), {}, resume=False) == folder  # a run that ended before it saved anything
    folder.last.touch()
    with pytest.raises(OutputError, match=r"holds a run already.*--resume"):
        open_run(str(out), {}, resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        open_run(str(tmp_path / "file"), {}, resume=False)


def test_resuming_wants_the_same_settings(tmp_path: Path) -> None:
    settings = {"model": "mlnet", "size": (240, 320), "batch_size": 8, "epochs": 3, "workers": None}
    folder = open_run(str(tmp_path / "run"), settings, resume=False)
    with pytest.raises(OutputError, match=r"nothing to resume, there is no last\.pt"):
        open_run(str(tmp_path / "run"), settings, resume=True)
    write_config(folder, settings, {"lr": 0.1})
    assert open_run(str(tmp_path / "run"), settings, resume=True) == folder  # begun anew
    folder.last.touch()
    assert (
        open_run(str(tmp_path / "run"), {**settings, "epochs": 9, "workers": 4, "resume": True}, resume=True) == folder
    )
    with pytest.raises(
        OutputError, match=r"other settings: --size was .240, 320., is .48, 64.; --batch-size was 8, is 4"
    ):
        open_run(str(tmp_path / "run"), {**settings, "size": (48, 64), "batch_size": 4}, resume=True)


def test_settings_and_what_they_came_to_are_written(tmp_path: Path) -> None:
    write_config(RunFolder(tmp_path), {"size": (1, 2)}, {"lr": 0.5})
    written = read_json(tmp_path / "config.json")
    assert written["size"] == [1, 2] and written["resolved"] == {"lr": 0.5} and written["torch"] == torch.__version__
