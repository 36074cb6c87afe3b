from pathlib import Path

import pytest

from cvkit.engine.result_folder import close_result, open_result
from cvkit.errors import OutputError

SETTINGS = {"seed": 0, "embed": ["test"]}


def test_a_finished_folder_is_known_again_while_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert open_result(folder, "cae-embed", SETTINGS, overwrite=False) is None
    written = [folder / "table.csv"]
    written[0].write_text("image,label\n")
    close_result(folder, "cae-embed", SETTINGS, written, {"images": {"test": 2}})
    found = open_result(folder, "cae-embed", SETTINGS, overwrite=False)
    assert found is not None and found["images"] == {"test": 2}
    with pytest.raises(OutputError, match="seed was 0, is 1"):
        open_result(folder, "cae-embed", {**SETTINGS, "seed": 1}, overwrite=False)
    assert open_result(folder, "cae-embed", {**SETTINGS, "seed": 1}, overwrite=True) is None
    # What was only begun keeps nobody else out.
    assert open_result(folder, "cae-embed", SETTINGS, overwrite=False) is None
    close_result(folder, "cae-embed", SETTINGS, written, {})
    written[0].write_text("cut")
    assert open_result(folder, "cae-embed", SETTINGS, overwrite=False) is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="holds something else"):
        open_result(tmp_path, "cae-embed", SETTINGS, overwrite)
    close_result(tmp_path, "predict", SETTINGS, [], {})
    with pytest.raises(OutputError, match="holds something else"):
        open_result(tmp_path, "cae-embed", SETTINGS, overwrite)
