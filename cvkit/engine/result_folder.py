"""Open a result folder, and record in its manifest what was written with which settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cvkit
from cvkit import files
from cvkit.errors import OutputError

MANIFEST = "manifest.json"


def open_result(folder: Path, command: str, identity: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Make a result folder, and return its manifest when the same is done there already and whole.

    Else a manifest without files marks it as begun. Raises OutputError for a folder that holds something else, or
    results of other settings without ``overwrite``.
    """
    files.make_folder(folder)
    path = folder / MANIFEST
    before = files.read_json(path) if path.is_file() else {}
    ours = isinstance(before, dict) and before.get("command") == command
    if not ours and files.holds_something(folder):
        raise OutputError(f"{folder} holds something else (no {MANIFEST} of cvkit {command}): name another --out.")
    sizes = before.get("files") if ours else None
    if isinstance(sizes, dict) and sizes and not overwrite:
        settings = before.get("settings")
        then, now = settings if isinstance(settings, dict) else {}, dict(identity)
        changed = [f"{name} was {then.get(name)}, is {now[name]}" for name in now if then.get(name) != now[name]]
        if changed:
            raise OutputError(
                f"{folder} holds results of other settings ({'; '.join(changed)}): "
                "name another --out, or add --overwrite."
            )
        if all(_size(folder / name) == size for name, size in sizes.items()):
            return before
    files.mark_as_result(folder)
    close_result(folder, command, identity, [], {})
    return None


def close_result(
    folder: Path, command: str, identity: Mapping[str, Any], written: Sequence[Path], facts: Mapping[str, Any]
) -> None:
    """Write the manifest: settings, files with their sizes (which make the folder a finished one), and facts."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    head = {"command": command, "settings": dict(identity), "cvkit": cvkit.__version__}
    files.write_json(folder / MANIFEST, {**head, **facts, "files": sizes})


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
