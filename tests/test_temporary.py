"""Test that the temporary files of killed processes are removed, and those of others are kept."""

import os
import subprocess
import sys
from pathlib import Path

from cvkit.files import atomic_path
from cvkit.temporary import remove_abandoned, remove_abandoned_folders


def temporary(folder: Path, owner: str) -> Path:
    """Make a temporary file as a killed process leaves it; ``owner`` is "SPACE-PROCESS-" or empty."""
    path = folder / f".cvkit-{owner}abcdefgh.tmp"
    path.touch()
    return path


def own_name(folder: Path) -> str:
    """Return the part of a temporary name that identifies this process."""
    with atomic_path(folder / "x") as path:
        return path.name.removeprefix(".cvkit-")[: -len("abcdefgh.tmp")]


def test_temporary_files_of_a_process_that_has_ended_are_removed(tmp_path: Path) -> None:
    space = own_name(tmp_path).split("-")[0]
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / "samples").mkdir()
    abandoned = temporary(tmp_path / "samples", f"{space}-{ended.stdout.strip()}-")
    alive = temporary(tmp_path, own_name(tmp_path))
    elsewhere = temporary(tmp_path, "0123abcd-1-")
    old = temporary(tmp_path, "")
    os.utime(old, (0, 0))
    others = [tmp_path / ".cvkit-notes.txt", tmp_path / "picture.tmp"]
    for path in others:
        path.touch()
        os.utime(path, (0, 0))
    remove_abandoned(tmp_path)
    assert not abandoned.exists() and not old.exists()
    assert alive.exists() and elsewhere.exists() and all(path.exists() for path in others)


def test_whoever_holds_the_lock_of_a_folder_removes_the_temporary_files_of_other_machines(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    here, below = temporary(tmp_path, "0123abcd-1-"), temporary(tmp_path / "maps", "0123abcd-1-")
    remove_abandoned(tmp_path, exclusive=True)
    assert not here.exists() and below.exists()


def test_temporary_folders_of_processes_that_have_ended_are_removed(tmp_path: Path) -> None:
    space = own_name(tmp_path).split("-")[0]
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    names = (f"{space}-{ended.stdout.strip()}-", own_name(tmp_path), "0123abcd-1-")
    abandoned, alive, elsewhere = (tmp_path / f".cvkit-{name}abcdefgh.tmp" for name in names)
    for folder in (abandoned, alive, elsewhere, tmp_path / ".cvkit-abcdefgh.tmp.d"):
        (folder / "inner").mkdir(parents=True)
        (folder / "inner/model.onnx").touch()
    link = tmp_path / f".cvkit-{names[0]}hgfedcba.tmp"
    link.symlink_to(alive)
    remove_abandoned_folders(tmp_path)
    remove_abandoned_folders(tmp_path / "missing")
    assert not abandoned.exists() and (alive / "inner/model.onnx").exists() and elsewhere.exists() and link.is_symlink()
