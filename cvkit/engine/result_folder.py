"""Decide whether an output folder may be written, and record in its manifest what was written with which settings."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cvkit
from cvkit import files
from cvkit.errors import OutputError
from cvkit.inputs import RESULT_MARK
from cvkit.temporary import is_temporary, remove_abandoned

MANIFEST = "manifest.json"
FAILURE_COLUMNS = ("input", "kind", "message")


def mark_as_result(folder: Path) -> None:
    """Mark a folder as a result folder, so that other runs do not read its images as inputs."""
    files.make_folder(folder / RESULT_MARK)


def holds_something(folder: Path) -> bool:
    """Return whether a folder holds files or records of results.

    The mark of a result folder alone, and files that a killed process was writing, do not count.
    """
    files_inside = (path for path in folder.iterdir() if path.name != RESULT_MARK and not is_temporary(path.name))
    return next(files_inside, None) is not None or holds_records(folder)


def holds_records(folder: Path) -> bool:
    """Return whether a folder holds records of the inputs of an inference command."""
    return next((folder / RESULT_MARK).glob("*.jsonl"), None) is not None


def claim_folder(
    folder: Path,
    own: str | None,
    *,
    differences: Sequence[str] = (),
    reuse: bool = False,
    remedy: str = "",
    option: str = "--out",
) -> None:
    """Create an output folder, or refuse one that must not be written.

    All commands follow this rule: a folder may be written if it is new, if it is empty, or if it holds output of the
    same command that this run may continue or replace. Temporary files of killed runs do not count, and those that are
    abandoned are removed.

    Args:
        folder: The folder. It is created with its parents.
        own: A noun for the content if it is output of the same command (``"scores"``), else None.
        differences: Settings in which that output differs from this run, each as ``"size was 4, is 8"``.
        reuse: Whether this run may continue or replace that output.
        remedy: The option that allows it (``"--overwrite"``), for the message; empty if there is none.
        option: The option that names the folder, for the message; empty if it is a positional argument.

    Raises:
        OutputError: If the folder holds other files, or output of the command that this run may not reuse.
    """
    files.make_folder(folder)
    if holds_something(folder):
        advice = f"name another folder with {option}" if option else "name another folder"
        if own is None:
            raise OutputError(f"{folder} already holds {_content(folder)}: {advice}.")
        if not reuse:
            what = (
                f"holds {own} of other settings ({'; '.join(differences)})" if differences else f"already holds {own}"
            )
            raise OutputError(f"{folder} {what}: {advice}{f', or add {remedy}' if remedy else ''}.")
    remove_abandoned(folder)


def check_links(folder: Path, inner: Iterable[str]) -> None:
    """Refuse a result folder in which a link leads outside, because results would be written there.

    Args:
        folder: The result folder, which may itself be a link.
        inner: The folders inside it that will be written, as paths inside it.

    Raises:
        OutputError: If one of them, or the folder of the records, is such a link.
    """
    for name in sorted((RESULT_MARK, *inner)):
        path = folder / name
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise OutputError(
                f"{path} is a link to {path.resolve()}, outside the result folder: remove the link, or name another "
                "folder with --out."
            )


def _content(folder: Path) -> str:
    """Name the content of a folder that is not empty: results of another or an unknown command, or other files."""
    command = read_manifest(folder).get("command")
    if isinstance(command, str):
        return f"results of cvkit {command}"
    return f"results without the {MANIFEST} that says their settings" if holds_records(folder) else "other files"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a result folder, or an empty dictionary if the folder has none."""
    path = folder / MANIFEST
    document = files.read_json(path) if path.is_file() else {}
    return document if isinstance(document, dict) else {}


def differing_settings(manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """List the settings whose value differs from the one in a manifest, each as ``"size was 4, is 8"``.

    Args:
        manifest: The manifest of a result folder.
        settings: The settings of this run, as values that JSON can hold.
    """
    recorded = manifest.get("settings")
    before = recorded if isinstance(recorded, dict) else {}
    now = json.loads(json.dumps(dict(settings)))  # a tuple becomes a list, as in the manifest
    return [f"{name} was {before.get(name)}, is {value}" for name, value in now.items() if before.get(name) != value]


def open_result(folder: Path, command: str, identity: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Create a result folder, or find out that it is complete.

    A new folder gets a manifest without files, which marks it as begun.

    Args:
        folder: The folder.
        command: Name of the command.
        identity: The settings that the results depend on.
        overwrite: Whether results of other settings may be replaced.

    Returns:
        The manifest if the folder holds all files of the same command with the same settings, and ``overwrite`` is
        False; else None.

    Raises:
        OutputError: If the folder holds other files, or results of other settings without ``overwrite``.
    """
    manifest = read_manifest(folder) if folder.is_dir() else {}
    ours = manifest.get("command") == command
    recorded = manifest.get("files") if ours else None
    sizes: dict[str, int] = recorded if isinstance(recorded, dict) else {}
    finished = bool(sizes)
    differences = differing_settings(manifest, identity) if finished else []
    own = "results" if ours else None
    claim_folder(folder, own, differences=differences, reuse=overwrite or not differences, remedy="--overwrite")
    if finished and not overwrite and all(_size(folder / name) == size for name, size in sizes.items()):
        return manifest
    mark_as_result(folder)
    close_result(folder, command, identity, [], {})
    return None


def close_result(
    folder: Path, command: str, identity: Mapping[str, Any], written: Sequence[Path], facts: Mapping[str, Any]
) -> None:
    """Write the manifest of a finished result folder.

    Args:
        folder: The folder.
        command: Name of the command.
        identity: The settings that the results depend on.
        written: The files of the folder. The manifest records their sizes, by which a later run finds it complete.
        facts: Further entries of the manifest.
    """
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    head = {"command": command, "settings": dict(identity), "cvkit": cvkit.__version__}
    files.write_json(folder / MANIFEST, {**head, **facts, "files": sizes})


def write_failures(folder: Path, failures: Iterable[Mapping[str, Any]]) -> None:
    """Write ``failures.csv`` with the columns input, kind and message, or remove it if there are no failures."""
    rows = iter(failures)
    first = next(rows, None)
    if first is None:
        (folder / "failures.csv").unlink(missing_ok=True)
    else:
        files.write_csv(folder / "failures.csv", FAILURE_COLUMNS, itertools.chain([first], rows))


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
