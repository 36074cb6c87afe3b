"""Keep the checkpoints of a training run: ``last.pt``, the one before it, and ``best.pt``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cvkit.engine import checkpoint
from cvkit.engine.checkpoint import UnreadableCheckpoint
from cvkit.engine.run_folder import RunFolder, differing_data, differing_options, fixed_options
from cvkit.engine.training.state import State
from cvkit.engine.training.tensors import check_tensors
from cvkit.engine.training.trainer import Trainer
from cvkit.errors import WeightsError
from cvkit.progress import Note, Reporter

KIND = "training-state"  # kind of the checkpoint last.pt


class Checkpoints:
    """The checkpoints of a run. They are written by its first process and read by all.

    Args:
        trainer: The network and its optimiser.
        folder: The run folder.
        kind: Kind of ``best.pt``.
        data: The data of the run, as ``differing_data`` compares it.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, kind: str, data: Mapping[str, Any]) -> None:
        self.trainer, self.folder, self.kind, self.data = trainer, folder, kind, data
        self._last_is_whole = False  # a damaged last.pt must not replace the checkpoint before it

    @property
    def remark(self) -> str:
        """Return the end of an error message about the saved state; it is empty before anything is saved."""
        return f"; {self.folder.last.name} keeps the last good state" if self.folder.has_state else ""

    def save(self, state: State) -> None:
        """Write everything that resuming needs to ``last.pt``, and keep the one before it."""
        content = {
            **self.trainer.content(),
            "state": vars(state),
            "settings": fixed_options(self.trainer.config),
            "data": dict(self.data),
        }
        checkpoint.save(self.folder.last, KIND, content, keep=self.folder.previous if self._last_is_whole else None)
        self._last_is_whole = True

    def save_best(self, row: Mapping[str, Any]) -> None:
        """Write the validated weights of the epoch that has just ended to ``best.pt``."""
        content = {"weights": self.trainer.validated_weights(), "epoch": row["epoch"], "scores": dict(row)}
        checkpoint.save(self.folder.best, self.kind, {**self.trainer.learner.metadata(), **content})

    def restore(self, report: Reporter) -> State:
        """Load ``last.pt`` into the trainer, or the checkpoint before it if ``last.pt`` is damaged.

        Raises:
            WeightsError: If neither can be read, or if it belongs to another run.
            TrainingError: If an epoch had another number of batches.
        """
        path, content = self._read(report)
        self._check_identity(path, content)
        return self.trainer.restore(content, path)

    def _read(self, report: Reporter) -> tuple[Path, dict[str, Any]]:
        last, previous = self.folder.last, self.folder.previous
        try:
            content = checkpoint.load(last, KIND)
        except UnreadableCheckpoint as error:
            if not previous.is_file():
                raise WeightsError(f"{error} There is no checkpoint before it: train in another folder.") from error
            try:
                content = checkpoint.load(previous, KIND)
            except UnreadableCheckpoint as other:
                raise WeightsError(f"{error} Nor can {previous} be used: train in another folder.") from other
            report(Note(f"{error} The run continues from {previous.name}, the checkpoint before it.", "warning"))
            return previous, content
        self._last_is_whole = True
        return last, content

    def _check_identity(self, path: Path, content: Mapping[str, Any]) -> None:
        """Check that a checkpoint was written by this run. Checkpoints of earlier versions do not say."""
        if "settings" not in content:
            return
        options = differing_options(path, content["settings"], self.trainer.config)
        # Without dashes: `cvkit resume`, which takes the settings from config.json, has few of these options.
        differences = [text.removeprefix("--") for text in options] + differing_data(content.get("data"), self.data)
        if differences:
            raise WeightsError(
                f"{path} belongs to another run ({'; '.join(differences)}): restore the file of this run, or train in "
                "another folder."
            )

    def mend_best(self, state: State, report: Reporter) -> None:
        """Write ``best.pt`` again if the process was killed between it and ``last.pt``, which is written before."""
        if not state.best_epoch or self._best_epoch() >= state.best_epoch:
            return
        if state.best_epoch == state.epoch and not state.batch:
            self.save_best(state.history[-1])
        else:
            name, epoch = self.folder.best, state.best_epoch
            report(Note(f"{name} of epoch {epoch} is missing or damaged; a better epoch will replace it", "warning"))

    def _best_epoch(self) -> int:
        """Return the number of the epoch in ``best.pt``, 0 if the file cannot be used."""
        try:
            epoch = _load_best(self.folder, self.kind, self.trainer.network)["epoch"]
        except WeightsError:
            return 0
        return epoch if isinstance(epoch, int) else 0


def load_best_weights(folder: RunFolder, kind: str, network: nn.Module) -> None:
    """Load the weights of ``best.pt`` into the network of the run.

    Raises:
        WeightsError: If the file cannot be read, or does not fit the network.
    """
    network.load_state_dict(_load_best(folder, kind, network)["weights"])


def _load_best(folder: RunFolder, kind: str, network: nn.Module) -> dict[str, Any]:
    content = checkpoint.load(folder.best, kind)
    try:
        check_tensors("weight", content.get("weights"), network.state_dict())
        if "epoch" not in content:
            raise ValueError("no epoch")
    except ValueError as error:
        raise WeightsError(f"{folder.best} does not fit the network of this run ({error}).") from error
    return content
