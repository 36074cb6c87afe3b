"""Describe a training run in a block of facts, which is printed before the first epoch."""

from lightning_fabric import Fabric
from torch import nn

from cvkit.config import TrainingConfig
from cvkit.device import choose_precision, describe_device

Row = tuple[str, str]


def parameter_row(model: nn.Module) -> Row:
    """Return the numbers of all parameters and of those that are trained."""
    total = sum(value.numel() for value in model.parameters())
    trainable = sum(value.numel() for value in model.parameters() if value.requires_grad)
    return "parameters", f"{total:,}, {'all' if trainable == total else f'{trainable:,}'} of them trained"


def compute_rows(config: TrainingConfig, fabric: Fabric, batch_size: int) -> tuple[Row, ...]:
    """Return the rows that all training commands share: batch size, device, precision and epochs.

    Args:
        config: Settings of the run.
        fabric: The processes.
        batch_size: Images per batch and process.
    """
    processes = f" in each of {fabric.world_size} processes" if fabric.world_size > 1 else ""
    accumulated = f", {config.accumulate} batches per step" if config.accumulate > 1 else ""
    return (
        ("batch size", f"{batch_size}{processes}{accumulated}"),
        ("device", describe_device(fabric.device)),
        ("precision", choose_precision(config.precision, fabric.device)),
        ("epochs", f"{config.epochs}, {config.optimizer}, {config.schedule} schedule"),
    )
