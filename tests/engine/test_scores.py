"""Test the folder that `evaluate` writes scores to."""

from pathlib import Path

import pytest

from cvkit.engine.scores import open_scores
from cvkit.errors import OutputError


def test_scores_are_replaced_only_with_overwrite(tmp_path: Path) -> None:
    assert open_scores(None, overwrite=False) is None
    folder = open_scores(str(tmp_path / "s"), overwrite=False)
    assert folder is not None and folder.is_dir()
    assert open_scores(str(folder), overwrite=False) == folder  # still empty
    (folder / "summary.json").touch()
    with pytest.raises(OutputError, match="already holds scores: name another folder with --out, or add --overwrite"):
        open_scores(str(folder), overwrite=False)
    assert open_scores(str(folder), overwrite=True) == folder


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_without_scores_is_never_written(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"already holds other files: name another folder with --out\.$"):
        open_scores(str(tmp_path), overwrite=overwrite)
