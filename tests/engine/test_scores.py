"""Test the folder that `evaluate` writes scores to."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from cvkit import files
from cvkit.engine import locks
from cvkit.engine.scores import ScoreTable, open_scores, write_scores
from cvkit.errors import OutputError

TABLES = {name: ScoreTable([{"image": "a.png", "auc": 0.5}]) for name in ("maps", "centre prior")}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the program may catch it."""


def score(out: Path, *, overwrite: bool = False, tables: dict[str, ScoreTable] = TABLES) -> None:
    with open_scores(str(out), "evaluate", overwrite=overwrite) as folder:
        assert folder is not None
        write_scores(folder, "evaluate", tables, ["auc"], [], {"settings": {}})


def test_no_folder_is_created_without_out() -> None:
    with open_scores(None, "evaluate", overwrite=False) as folder:
        assert folder is None


def test_scores_are_replaced_only_with_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "s"
    score(out)
    with pytest.raises(OutputError, match="already holds scores: name another folder with --out, or add --overwrite"):
        score(out)
    score(out, overwrite=True, tables={"maps": TABLES["maps"]})
    assert not (out / "scores-centre-prior.csv").exists()


def test_scores_of_earlier_versions_are_replaced_only_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "summary.json").touch()
    with pytest.raises(OutputError, match="already holds scores"):
        score(tmp_path)
    score(tmp_path, overwrite=True)


@pytest.mark.parametrize("before", [False, True])
def test_scores_that_were_killed_at_any_moment_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    atomic = files.atomic_path
    for moment in itertools.count():
        out = tmp_path / str(moment)
        if before:
            score(out)
        count = itertools.count()

        def kill(path: Path, count: Any = count, moment: int = moment, **settings: Any) -> Any:
            if next(count) == moment:
                path.with_name(".cvkit-cut.tmp").write_text("half")
                raise Killed
            return atomic(path, **settings)

        monkeypatch.setattr(files, "atomic_path", kill)
        killed = False
        try:
            score(out, overwrite=before)
        except Killed:
            killed = True
        monkeypatch.setattr(files, "atomic_path", atomic)
        if not killed:
            break
        score(out, overwrite=before)
        assert (out / "scores.csv").is_file() and (out / "summary.json").is_file()
        with pytest.raises(OutputError, match="already holds scores"):
            score(out)
    assert moment == 5  # the manifest, two tables, the summary, and the manifest again


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_without_scores_is_never_written(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"already holds other files: name another folder with --out\.$"):
        score(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_evaluation_into_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    with (
        open_scores(str(tmp_path / "s"), "evaluate", overwrite=False),
        pytest.raises(OutputError, match=r"s is being written by process \d+ on .*: wait until it ends"),
    ):
        score(tmp_path / "s")
    score(tmp_path / "s")
