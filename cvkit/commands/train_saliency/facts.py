"""Describe a training run of a saliency network to the user, before it starts."""

from dataclasses import dataclass

from lightning_fabric import Fabric

from cvkit.commands.train_saliency.reading import DataFiles, TrainingData
from cvkit.config import TrainSaliencyConfig
from cvkit.config.values import format_size
from cvkit.data.splits import describe_splits, show_split
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.facts import Row, compute_rows, parameter_row
from cvkit.messages import counted
from cvkit.progress import Facts
from cvkit.tasks.saliency.data.selection import TrainingSplits
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.pretraining import RANDOM


@dataclass(frozen=True)
class Start:
    """Everything that a training starts with, beside its settings.

    Attributes:
        fabric: The processes.
        model: The network.
        weights: Where its initial weights come from.
        folder: The run folder.
        files: The files of the data set.
        data: The images.
    """

    fabric: Fabric
    model: SaliencyModel
    weights: str
    folder: RunFolder
    files: DataFiles
    data: TrainingData


def describe_run(config: TrainSaliencyConfig, start: Start) -> Facts:
    """Return the block of facts of a run; the settings are the resolved ones."""
    assert config.batch_size is not None
    rows = (
        *_data_rows(config, start.files.splits, start.data),
        ("network", config.model),
        ("backbone", config.backbone),
        ("weights", start.weights),
        parameter_row(start.model),
        ("loss", config.loss),
        ("learning rate", _rates(config)),
        *compute_rows(config, start.fabric, config.batch_size),
        ("run folder", str(start.folder.path)),
    )
    return Facts("training", rows)


def _data_rows(config: TrainSaliencyConfig, splits: TrainingSplits, data: TrainingData) -> tuple[Row, ...]:
    assert config.size is not None
    train_name = show_split(splits.train_name)
    validation = f"held out from {train_name}" if splits.val_name is None else f"split {show_split(splits.val_name)}"
    unused = [("not used", describe_splits(splits.unused))] if splits.unused else []
    storage = "kept in memory" if data.train.cached is not None else "read again in each epoch"
    return (
        ("data", config.data),
        ("training", f"{counted(len(data.train), 'image')}, split {train_name}"),
        ("validation", f"{counted(len(data.val), 'image')}, {validation}"),
        *unused,
        ("images", f"{format_size(config.size)} pixels, {storage}, augmentation {config.augment}"),
    )


def _rates(config: TrainSaliencyConfig) -> str:
    """Return the peak learning rates of the head and of the backbone."""
    assert config.lr is not None
    backbone = config.lr * (1.0 if config.weights == RANDOM else config.backbone_lr)
    if config.freeze == "backbone" or backbone == 0:
        return f"{config.lr:g} (head), backbone frozen"
    epochs = config.freeze if isinstance(config.freeze, int) else 0
    frozen = f", frozen for {counted(epochs, 'epoch')}" if epochs else ""
    return f"{config.lr:g} (head), {backbone:g} (backbone{frozen})"
