"""Take optimiser steps with a network, and save and restore everything that changes in them."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cvkit.config import TrainingConfig
from cvkit.device import is_out_of_memory
from cvkit.engine.memory import keep_activations
from cvkit.engine.training.learner import Batch, Learner
from cvkit.engine.training.optim import (
    WeightAverage,
    drop_frozen_gradients,
    largest_scale,
    load_averages,
    make_optimizer,
    schedule_factor,
    set_rates,
)
from cvkit.engine.training.state import State
from cvkit.engine.training.tensors import check_tensors
from cvkit.errors import TrainingError, WeightsError
from cvkit.messages import last_line


@dataclass(frozen=True)
class _GroupBatch:
    """A batch of a group.

    Attributes:
        batch: Its examples.
        number: Its number in the epoch.
        weight: Factor on its loss.
        last: Whether it is the last one of the group, after which the processes exchange their gradients.
    """

    batch: Batch
    number: int
    weight: float
    last: bool


class Trainer:
    """A network with its optimiser, gradient scaler and optional moving average of the weights.

    Attributes:
        network: The network itself, whose weights are saved.
        model: The network as it is run forward, compiled and set up for several processes.
        average: The moving average of the weights, None if it is switched off.
    """

    def __init__(self, learner: Learner, fabric: Fabric, config: TrainingConfig, lr: float, batches: int) -> None:
        """Set up the network on the device of ``fabric``.

        Args:
            learner: The network and its loss.
            fabric: The processes.
            config: Settings of the run.
            lr: Peak learning rate.
            batches: Number of batches per epoch and process.
        """
        self.learner, self.fabric, self.config, self.lr, self.batches = learner, fabric, config, lr, batches
        self.network = learner.model
        if fabric.device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)
        elif fabric.device.type == "cpu":
            keep_activations()
        optimizer = make_optimizer(learner.groups(), config, lr)
        runnable: nn.Module = torch.compile(self.network) if config.compile else self.network  # type: ignore[assignment]
        self.model, self.optimizer = fabric.setup(runnable, optimizer)
        self.average = WeightAverage(self.network, config.ema) if config.ema else None
        self._group: list[_GroupBatch] = []  # the batches since the last update of the weights
        self.steps_per_epoch = math.ceil(batches / config.accumulate)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of the run at an optimiser step, counted from 0."""
        return self.lr * schedule_factor(self.config, step, self.steps_per_epoch)

    def largest_rate(self, step: int, epoch: int) -> float:
        """Return the largest learning rate of any parameter group at a step of an epoch, both counted from 0."""
        return self.learning_rate(step) * largest_scale(self.optimizer.optimizer, epoch)

    def train_batch(self, batch: Batch, state: State, weight: float = 1.0) -> Tensor:
        """Run one batch forward and backward, and update the weights after the last batch of a group.

        A group has ``config.accumulate`` batches, fewer at the end of an epoch. Counts the step in ``state``. If memory
        does not suffice, every batch is computed in twice as many parts from now on (``state.parts``), whose gradients
        are added up.

        Args:
            batch: The examples of this process.
            state: The progress of the run.
            weight: Factor on the loss, by which processes with different numbers of examples are averaged.

        Returns:
            The loss, a detached scalar.

        Raises:
            RuntimeError: If memory does not suffice for one example, or in one of several processes.
        """
        accumulate = self.config.accumulate
        position = state.batch % accumulate
        group = min(accumulate, self.batches - (state.batch - position))
        self._group.append(_GroupBatch(batch, state.batch, weight / group, position == group - 1))
        loss = self._backward(self._group[-1], state)
        while loss is None:
            # Outside the handler of the error, whose traceback keeps the memory of the failed batch. The failed
            # backward pass may have added a part of its gradients, so the whole group is computed again.
            self.optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            state.parts *= 2
            for each in self._group:
                loss = self._backward(each, state)
                if loss is None:
                    break
        if position == group - 1:
            self._update_weights(state)
            self._group.clear()
        return loss

    def _backward(self, work: "_GroupBatch", state: State) -> Tensor | None:
        """Add the gradients of a batch, and return its loss, or None if it is to be computed in smaller parts."""
        size = len(work.batch["index"])
        total = torch.zeros((), device=self.fabric.device)
        try:
            for number, part in enumerate(_split(work.batch, state.parts)):
                fraction = len(part["index"]) / size
                key = (
                    self.config.seed,
                    state.epoch,
                    work.number,
                    self.fabric.global_rank,
                    *((number,) if number else ()),
                )
                torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
                with self.fabric.no_backward_sync(self.model, enabled=not work.last):
                    loss = self.learner.loss(self.model, part)
                    self.fabric.backward(loss * fraction * work.weight)
                total += loss.detach() * fraction
        except RuntimeError as error:
            # Several processes cannot repeat a batch that only one of them failed to compute.
            if not is_out_of_memory(error) or state.parts >= size or self.fabric.world_size > 1:
                raise
            return None
        return total

    def _update_weights(self, state: State) -> None:
        set_rates(self.optimizer, self.learning_rate(state.step), state.epoch)
        drop_frozen_gradients(self.optimizer, state.epoch)
        if self.config.clip_norm:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if self.average:
            self.average.update(self.network, state.step)

    def share_buffers(self) -> None:
        """Give every process the buffers of the first one, such as the statistics of batch norms, which it saves.

        The weights are the same in all processes already. DDP itself would share buffers in every forward pass, also in
        those of a validation in which the processes have different numbers of batches.
        """
        if self.fabric.world_size == 1:
            return
        averages = self.average.values if self.average else {}
        for name, buffer in self.network.named_buffers():
            for value in (buffer, averages.get(name)):
                if value is not None:
                    torch.distributed.broadcast(value, src=0)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the network its averaged weights inside the context, if there is an average."""
        if self.average is None:
            yield
            return
        current = {name: value.clone() for name, value in _weights(self.network).items()}
        self.network.load_state_dict(self.average.values)
        try:
            yield
        finally:
            self.network.load_state_dict(current)

    def validated_weights(self) -> dict[str, Tensor]:
        """Return the weights that validation uses and ``best.pt`` holds: the average if there is one."""
        return self.average.values if self.average else _weights(self.network)

    def check_finite(self, epoch: int, remark: str) -> None:
        """Raise TrainingError if a weight is not finite; the message names the epoch and ends with a remark."""
        if not all(bool(torch.isfinite(value).all()) for value in _weights(self.network).values()):
            raise TrainingError(
                f"a gradient was not finite in epoch {epoch}, and the weights no longer are: use a lower learning "
                f"rate{remark}."
            )

    def content(self) -> dict[str, Any]:
        """Return everything that changes in training, for a checkpoint."""
        return {
            "model": _weights(self.network),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "average": self.average.values if self.average else None,
            "batches": self.batches,
        }

    def restore(self, content: Mapping[str, Any], path: Path) -> State:
        """Load ``content()`` and the progress of the run from a checkpoint, and return the progress.

        Args:
            content: What the checkpoint holds.
            path: Its file, for messages.

        Raises:
            TrainingError: If an epoch had another number of batches, which means other data or processes.
            WeightsError: If the checkpoint does not fit this run.
        """
        batches = content.get("batches")
        if batches != self.batches:
            raise TrainingError(
                f"{path}: an epoch had {batches} batches and has {self.batches} now; "
                "resume with the same data and the same number of processes."
            )
        try:
            state = State.from_dict(content["state"])
            state.check_position(self.batches, self.config.accumulate)
            check_tensors("weight", content["model"], _weights(self.network))
            self.network.load_state_dict(content["model"])
            load_averages(self.optimizer.optimizer, content["optimizer"])
            self.fabric.strategy.precision.load_state_dict(content["precision"])
            if self.average:
                check_tensors("averaged weight", content["average"], self.average.values)
                self.average.load(content["average"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            cause = f"no {error}" if isinstance(error, KeyError) else last_line(error)
            raise WeightsError(f"{path} does not fit this run ({cause}): train in another folder.") from error
        return state


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    """Yield a batch in parts of nearly equal size, at most one per example."""
    size = len(batch["index"])
    if parts == 1:
        yield batch
        return
    for indices in torch.arange(size, device=batch["index"].device).tensor_split(min(parts, size)):
        yield {name: value[indices] for name, value in batch.items()}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights and buffers, detached and not copied."""
    return {name: value.detach() for name, value in model.state_dict().items()}
