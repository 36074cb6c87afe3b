"""Open and describe the folders of training runs."""

import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import cvkit
from cvkit.config import TrainingConfig
from cvkit.config.option import fields_of
from cvkit.config.values import to_text
from cvkit.engine.result_folder import claim_folder, mark_as_result
from cvkit.errors import OutputError
from cvkit.files import make_folder, read_json, write_json, writing

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run: ``config.json``, ``history.csv``, ``last.pt``, ``best.pt`` and plots."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint with everything that resuming needs."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the weights of the best epoch."""
        return self.path / "best.pt"

    @property
    def history(self) -> Path:
        """The file with one row per epoch."""
        return self.path / "history.csv"

    @property
    def config(self) -> Path:
        """The file with the settings."""
        return self.path / "config.json"


def open_run(out: str, config: TrainingConfig) -> RunFolder:
    """Create the folder of a new run, or check the one to resume.

    A run that ended before anything was saved starts anew.

    Args:
        out: The folder.
        config: Settings of the run; with ``resume`` the folder must hold a run of the same settings, except for those
            that a resumed run may change.

    Raises:
        OutputError: If the folder is in use, or holds no run to resume.
    """
    path = Path(out)
    folder = RunFolder(path)
    if folder.config.is_file() and not folder.last.is_file() and not folder.best.is_file():
        return folder
    if config.resume and not folder.last.is_file():
        raise OutputError(f"{path}: nothing to resume, because it holds no last.pt.")
    differences = _differing_options(folder, config) if config.resume else []
    own = "a run" if config.resume or folder.config.is_file() else None
    remedy = "" if config.resume else "--resume"
    claim_folder(path, own, differences=differences, reuse=config.resume and not differences, remedy=remedy)
    mark_as_result(path)
    return folder


def open_for_processes(config: TrainingConfig, base: Path, fabric: "Fabric") -> RunFolder:
    """Open the run folder of several processes: the first one chooses and opens it, as ``open_run`` does.

    Args:
        config: Settings of the run; ``out`` None takes the next free folder.
        base: The folder whose name gets the next free number.
        fabric: The processes.

    Raises:
        OutputError: If the folder is in use, or holds no run to resume.
    """
    out = config.out
    if fabric.global_rank == 0:
        out = out or str(make_next(base))
        open_run(out, config)
    return RunFolder(Path(str(fabric.broadcast(out))))


def make_next(base: Path) -> Path:
    """Create and return the folder ``base-N`` with the smallest N, from 1, that does not exist yet."""
    make_folder(base.parent)
    for number in itertools.count(1):
        candidate = base.with_name(f"{base.name}-{number}")
        with writing(candidate), contextlib.suppress(FileExistsError):
            candidate.mkdir()
            return candidate
    raise AssertionError("there is always a next number")


def _differing_options(folder: RunFolder, config: TrainingConfig) -> list[str]:
    """List the options that differ from those of a run and change what it learns."""
    document = read_json(folder.config)
    fields = fields_of(type(config))
    names = {key: name for name, field in fields.items() for key in field.keys}
    kept = {key: value for key, value in document.items() if key in names} if isinstance(document, dict) else {}
    before = type(config).from_dict(kept)
    return [
        f"{field.flag} was {to_text(field, getattr(before, name))}, is {to_text(field, getattr(config, name))}"
        for name, field in fields.items()
        if not field.option.changeable and getattr(before, name) != getattr(config, name)
    ]


def write_config(folder: RunFolder, command: str, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write ``config.json``.

    Args:
        folder: The run folder.
        command: Name of the command.
        settings: The settings as given (``Config.as_dict``).
        facts: The values that follow from them and from the data, written under ``resolved``.
    """
    versions = {"cvkit": cvkit.__version__, "torch": torch.__version__}
    write_json(folder.config, {"command": command, **settings, "resolved": dict(facts), **versions})
