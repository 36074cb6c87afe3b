"""Test which folders may be written, and the manifest of a result folder."""

import os
from pathlib import Path

import pytest

from cvkit.engine.result_folder import check_links, claim_folder, close_result, open_result, write_failures
from cvkit.errors import OutputError

SETTINGS = {"seed": 0, "embed": ["test"]}


def test_a_complete_folder_is_recognised_until_a_file_changes(tmp_path: Path) -> None:
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
    # A folder that was begun and never finished may be used with other settings.
    assert open_result(folder, "cae-embed", SETTINGS, overwrite=False) is None
    close_result(folder, "cae-embed", SETTINGS, written, {})
    written[0].write_text("cut")
    assert open_result(folder, "cae-embed", SETTINGS, overwrite=False) is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_or_of_another_command_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="already holds other files"):
        open_result(tmp_path, "cae-embed", SETTINGS, overwrite)
    close_result(tmp_path, "predict", SETTINGS, [], {})
    with pytest.raises(OutputError, match="already holds results of cvkit predict"):
        open_result(tmp_path, "cae-embed", SETTINGS, overwrite)


def test_a_new_or_empty_folder_may_be_written(tmp_path: Path) -> None:
    for own in (None, "scores"):
        claim_folder(tmp_path / "new" / "deep", own)
    assert (tmp_path / "new" / "deep").is_dir()
    (tmp_path / "new" / "deep" / ".cvkit").mkdir()  # the mark of a result folder
    claim_folder(tmp_path / "new" / "deep", None)


def test_output_of_the_same_command_may_be_written_if_the_run_may_reuse_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").touch()
    claim_folder(tmp_path, "scores", reuse=True, remedy="--overwrite")
    with pytest.raises(
        OutputError, match=r"already holds scores: name another folder with --out, or add --overwrite\.$"
    ):
        claim_folder(tmp_path, "scores", remedy="--overwrite")
    with pytest.raises(OutputError, match=r"holds a run of other settings \(a was 1, is 2; b\): .* with --out\.$"):
        claim_folder(tmp_path, "a run", differences=["a was 1, is 2", "b"])
    with pytest.raises(OutputError, match=r"already holds files: name another folder, or add --overwrite\.$"):
        claim_folder(tmp_path, "files", remedy="--overwrite", option="")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        claim_folder(tmp_path / "file", None)


def test_failures_csv_exists_only_if_there_are_failures(tmp_path: Path) -> None:
    write_failures(tmp_path, iter([{"input": "a", "kind": "data", "message": "bad", "at": 1}]))
    assert (tmp_path / "failures.csv").read_text() == "input,kind,message\na,data,bad\n"
    write_failures(tmp_path, [])
    assert not (tmp_path / "failures.csv").exists()


def test_a_folder_with_nothing_but_what_a_killed_run_left_is_free(tmp_path: Path) -> None:
    left = tmp_path / ".cvkit-abcdefgh.tmp"
    left.touch()
    claim_folder(tmp_path, None)
    assert left.exists()  # another machine may be writing it
    os.utime(left, (0, 0))
    claim_folder(tmp_path, None)
    assert not left.exists()
    left.touch()
    os.utime(left, (0, 0))
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="already holds other files"):
        claim_folder(tmp_path, None)
    assert left.exists()  # a folder that is refused stays as it was


def test_links_that_lead_out_of_a_result_folder_are_refused(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / "real").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(out)
    (out / "inside").symlink_to("real")
    check_links(tmp_path / "alias", {"real", "inside", "new/deep"})  # the folder itself may be a link
    (out / "real/outside").symlink_to(elsewhere)
    check_links(out, {"real"})
    with pytest.raises(OutputError, match=r"out/real/outside is a link to .*/elsewhere, outside the result folder"):
        check_links(out, {"real", "real/outside", "real/outside/deep"})
    (out / ".cvkit").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"out/\.cvkit is a link"):
        check_links(out, ())
