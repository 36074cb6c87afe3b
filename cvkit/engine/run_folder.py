"""Open the folder of a training run, and check that a resumed run keeps its settings."""

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import cvkit
from cvkit.errors import OutputError
from cvkit.files import holds_something, make_folder, mark_as_result, read_json, write_json, writing


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run: ``config.json``, ``history.csv``, ``last.pt``, ``best.pt`` and its pictures."""

    path: Path

    @property
    def last(self) -> Path:
        """Return where everything needed to resume is kept."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """Return where the best weights are kept."""
        return self.path / "best.pt"

    @property
    def history(self) -> Path:
        """Return where the rows of the epochs are kept."""
        return self.path / "history.csv"

    @property
    def config(self) -> Path:
        """Return where the settings are kept."""
        return self.path / "config.json"


# What a resumed run may ask for anew: where and how long it computes, and what is made of its result.
FREE_TO_CHANGE = frozenset(
    {"resume", "workers", "devices", "nodes", "device", "cache", "compile", "epochs", "out", "data"}
    | {"embed", "format", "compare", "html", "labels", "strict", "overwrite"}
)


def open_run(out: str, settings: dict[str, Any], resume: bool) -> RunFolder:
    """Return the folder of a new run, or of the one to resume; raises OutputError where it is in use or not a run.

    A resumed run must have been started with the same settings, but for those that do not change what is learned. A
    run that ended before anything was saved is begun anew.
    """
    path = Path(out)
    folder = RunFolder(path)
    begun = folder.config.is_file() and not folder.last.is_file() and not folder.best.is_file()
    if begun:
        return folder
    if resume:
        if not folder.last.is_file():
            raise OutputError(f"{path}: nothing to resume, there is no last.pt in it.")
        _check_same(folder, settings)
    elif path.is_dir() and holds_something(path):
        what = "a run" if folder.config.is_file() else "something else"
        raise OutputError(f"{path} holds {what} already: name another folder with --out, or go on with --resume.")
    make_folder(path)
    mark_as_result(path)
    return folder


def make_next(base: Path) -> Path:
    """Make and return the folder ``base-N`` with the first N, counted from 1, that nobody has made before."""
    make_folder(base.parent)
    for number in itertools.count(1):
        candidate = base.with_name(f"{base.name}-{number}")
        with writing(candidate), contextlib.suppress(FileExistsError):
            candidate.mkdir()
            return candidate
    raise AssertionError("there is always a next number")


def _check_same(folder: RunFolder, settings: dict[str, Any]) -> None:
    before = read_json(folder.config)
    now = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    changed = [
        f"--{name.replace('_', '-')} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if name not in FREE_TO_CHANGE and before.get(name) != value
    ]
    if changed:
        raise OutputError(f"{folder.path} was started with other settings: {'; '.join(changed)}.")


def write_config(folder: RunFolder, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write ``config.json``: the settings as asked, and under ``resolved`` what they came to."""
    write_json(folder.config, {**settings, "resolved": facts, "cvkit": cvkit.__version__, "torch": torch.__version__})
