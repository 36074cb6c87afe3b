"""Checkpoints and run folders: written whole, read without ever unpickling code."""

import contextlib
import errno
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import cvkit
from cvkit import files
from cvkit.errors import OutputError, WeightsError, nearest
from cvkit.files import atomic_path, holds_something, make_folder, mark_as_result, read_json, write_json, writing

FORMAT = 1


def save(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a checkpoint of a kind (``saliency``, ``training-state``): tensors and plain values only."""
    with atomic_path(path) as temporary:
        try:
            torch.save({"cvkit": cvkit.__version__, "format": FORMAT, "kind": kind, **content}, temporary)
        except RuntimeError as error:  # torch hides a full disk behind its own writer's error
            if not any(word in str(error) for word in ("PytorchStreamWriter", "unexpected pos")):
                raise
            raise OSError(errno.ENOSPC, "no space left, or the file cannot be written") from error


def load(path: Path, *kinds: str) -> dict[str, Any]:
    """Read a checkpoint of one of these kinds onto the processor; raises WeightsError for anything else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such checkpoint.") from error
    except OSError as error:
        # A file that is cut off is asked for what lies behind its end.
        reason = "it is damaged" if error.errno == errno.EINVAL else error.strerror or error
        raise WeightsError(f"{path}: the checkpoint cannot be read ({reason}).") from error
    except Exception as error:
        raise WeightsError(f"{path}: not a cvkit checkpoint (it does not load as plain tensors).") from error
    found = content.get("kind") if isinstance(content, dict) else None
    if found is None:
        raise WeightsError(f"{path}: holds bare weights, not a cvkit checkpoint; train with --weights {path.name}.")
    if found not in kinds:
        wanted = " or ".join(map(repr, kinds))
        raise WeightsError(f"{path}: a checkpoint of kind {found!r}; this command needs one of kind {wanted}.")
    if content.get("format", 0) > FORMAT:
        raise WeightsError(f"{path}: written by cvkit {content.get('cvkit')}, newer than this {cvkit.__version__}.")
    return content


def find(place: str) -> Path:
    """Return the checkpoint file a run folder or file name means (``best.pt`` of a run)."""
    path = Path(place)
    if files.is_folder(place):
        if (path / "best.pt").is_file():
            return path / "best.pt"
        hint = " It has last.pt: finish it with --resume." if (path / "last.pt").is_file() else ""
        raise WeightsError(f"{path}: no best.pt in this folder.{hint}")
    if not files.is_file(place):
        near = [p.name for p in path.parent.iterdir()] if files.is_folder(str(path.parent)) else []
        raise WeightsError(f"--checkpoint {place}: no such run folder or file.{nearest(path.name, near)}")
    return path


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
