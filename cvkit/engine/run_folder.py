"""Open and describe the folders of training runs."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import cvkit
from cvkit.config import RunConfig
from cvkit.config.option import fields_of
from cvkit.config.values import to_text
from cvkit.engine.locks import WRITER, sole_writer
from cvkit.engine.result_folder import claim_folder, mark_as_result
from cvkit.errors import OutputError, UsageError
from cvkit.files import make_folder, read_json, write_json, writing
from cvkit.inputs import RESULT_MARK
from cvkit.temporary import remove_abandoned

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DATA_DIGEST = "data_sha256"
SUMMARY = "summary.txt"  # the layers of the network, if the command writes them
SPLITS = "splits.csv"  # the split of each image, if the command writes it


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run: ``config.json``, ``history.csv``, ``last.pt``, ``best.pt`` and plots."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint with everything that resuming needs."""
        return self.path / "last.pt"

    @property
    def previous(self) -> Path:
        """The checkpoint before ``last.pt``, for the case that ``last.pt`` is damaged."""
        return self.path / "last.prev.pt"

    @property
    def has_state(self) -> bool:
        """True if the folder holds a checkpoint to resume from."""
        return self.last.is_file() or self.previous.is_file()

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


def open_run(out: str, config: RunConfig) -> RunFolder:
    """Create the folder of a new run, or check the one to resume.

    A run that ended before anything was saved starts anew, with or without ``resume``.

    Args:
        out: The folder.
        config: Settings of the run; with ``resume``, a folder that holds a run must hold one of the same settings,
            except for those that a resumed run may change.

    Raises:
        OutputError: If the folder holds other files, a run and ``resume`` is not set, or a run of other settings.
    """
    folder = RunFolder(Path(out))
    if folder.has_state:
        differences = differing_options(folder.config, read_json(folder.config), config) if config.resume else []
        own = "a run" if config.resume or folder.config.is_file() else None
        remedy = "" if config.resume else "--resume"
        claim_folder(folder.path, own, differences=differences, reuse=config.resume and not differences, remedy=remedy)
    elif folder.best.is_file() and folder.history.is_file():
        # A run that is killed never leaves these two alone: somebody removed the checkpoint of a trained model.
        raise OutputError(
            f"{folder.path} holds a trained model and nothing to resume, because it has no {folder.last.name}: train "
            "in another folder."
        )
    elif not folder.config.is_file():
        claim_folder(folder.path, None)
    mark_as_result(folder.path)
    return folder


@contextmanager
def opened_run(config: RunConfig, base: Path, fabric: "Fabric") -> Iterator[RunFolder]:
    """Open the run folder of several processes, and hold its lock inside the context.

    The first process chooses, opens and locks the folder, and removes the temporary files of processes that were
    killed in it. If the context ends with an error before anything is trained, it removes the folders that it created.

    Args:
        config: Settings of the run; ``out`` None takes the next free folder.
        base: The folder whose name gets the next free number.
        fabric: The processes.

    Raises:
        OutputError: If another process trains into the folder, or for the reasons of ``open_run``.
    """
    out = config.out
    with ExitStack() as held:
        if fabric.global_rank == 0:
            created = missing_folders(base.parent if out is None else Path(out) / RESULT_MARK)
            if out is None:
                out = str(make_next(base))
                created = [Path(out) / RESULT_MARK, Path(out), *created]
            folder = open_run(out, config)  # before anything is written into a folder that is not ours
            if held.enter_context(sole_writer(folder.path)).exclusive:
                remove_abandoned(folder.path, exclusive=True)
            open_run(out, config)  # again, because the process that held the lock may have written to it
            held.enter_context(_removed_if_nothing_is_trained(folder, created))
        yield RunFolder(Path(str(fabric.broadcast(out))))


def missing_folders(path: Path) -> list[Path]:
    """Return a folder and those of its parents that do not exist, the innermost first."""
    return list(itertools.takewhile(lambda each: not each.exists(), (path, *path.parents)))


@contextmanager
def _removed_if_nothing_is_trained(folder: RunFolder, created: Sequence[Path]) -> Iterator[None]:
    """Remove the folders that this start created if it fails before it has saved anything.

    The lock of the folder must be held. Its settings, the table of its layers and its splits are nothing to keep.

    Args:
        folder: The run folder.
        created: The folders that this start created, the innermost first; the mark of the run folder is among them.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # another process uses one of them
            unimportant = (folder.config.name, SUMMARY, SPLITS)
            if created and {path.name for path in folder.path.iterdir()} <= {RESULT_MARK, *unimportant}:
                for name in (*unimportant, f"{RESULT_MARK}/{WRITER}"):
                    (folder.path / name).unlink(missing_ok=True)
                for path in created:
                    path.rmdir()
        raise


def make_next(base: Path) -> Path:
    """Create and return the folder ``base-N`` with the smallest N, from 1, that does not exist yet."""
    make_folder(base.parent)
    for number in itertools.count(1):
        candidate = base.with_name(f"{base.name}-{number}")
        with writing(candidate), contextlib.suppress(FileExistsError):
            candidate.mkdir()
            return candidate
    raise AssertionError("there is always a next number")


def differing_options(source: Path, document: Any, config: RunConfig) -> list[str]:
    """List the options that differ from those of a run and change what it learns, each as ``"--lr was 1, is 2"``.

    An option that the run did not record had its default value: the option is newer than the run.

    Args:
        source: The file that recorded the options of the run, for messages.
        document: The options as plain values, by field name. Other keys are ignored.
        config: The settings of this command.

    Raises:
        OutputError: If the document does not hold the settings of such a run.
    """
    fields = fields_of(type(config))
    compared = {name: field for name, field in fields.items() if not field.option.changeable}
    names = {key for field in compared.values() for key in field.keys}
    kept = {key: value for key, value in document.items() if key in names} if isinstance(document, dict) else {}
    changeable = {name: value for name, value in config.as_dict().items() if name not in compared}
    try:
        before = type(config).from_dict({**changeable, **kept})
    except UsageError as error:
        raise OutputError(f"{source} does not hold the settings of a run of this command: {error}") from error
    return [
        f"{field.flag} was {to_text(field, getattr(before, name))}, is {to_text(field, getattr(config, name))}"
        for name, field in compared.items()
        if getattr(before, name) != getattr(config, name)
    ]


def fixed_options(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a resumed run may not change, as plain values."""
    fields = fields_of(type(config))
    return {name: value for name, value in config.as_dict().items() if not fields[name].option.changeable}


def differing_data(recorded: Any, data: Mapping[str, Any]) -> list[str]:
    """List the differences between the data of a run and those of this command.

    Args:
        recorded: The values of ``data`` that the run recorded, possibly among others; those it lacks are not compared.
        data: The number of images of each split by its name, and ``data_sha256``, a digest of their content and order.
    """
    before = recorded if isinstance(recorded, dict) else {}
    counts = [
        f"{before[name] if isinstance(before[name], int) else 'unknown'} {name} images then, {value} now"
        for name, value in data.items()
        if name != DATA_DIGEST and before.get(name, value) != value
    ]
    if counts or before.get(DATA_DIGEST, data.get(DATA_DIGEST)) == data.get(DATA_DIGEST):
        return counts
    return ["as many images, with other content or in another order"]


def check_same_data(folder: RunFolder, config: RunConfig, data: Mapping[str, Any]) -> None:
    """Check that a run to resume was started with the same images and the same split. Their paths may differ.

    Args:
        folder: The run folder.
        config: Settings of the run.
        data: As in ``differing_data``.

    Raises:
        OutputError: If the data differ.
    """
    if not (config.resume and folder.has_state):
        return
    document = read_json(folder.config)
    if differences := differing_data(document.get("resolved") if isinstance(document, dict) else None, data):
        raise OutputError(
            f"{folder.path} was started with other images or another split ({'; '.join(differences)}): resume it with "
            "the same data."
        )


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
