"""Measure training against the plain fp32 loop that a script would run."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.commands.train_saliency import train_saliency
from cvkit.tasks.classification import specification
from cvkit.tasks.saliency.losses import make_loss
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from gpu_checks.lab import Lab, median_rate
from gpu_checks.report import Row
from gpu_checks.speed import percent
from gpu_checks.training import history, training_config

GOAL = 2.5  # images per second against those of the plain loop
BUSY_GOAL = 0.95
PLAIN = "plain fp32 loop"
LOOPS: Mapping[str, Mapping[str, bool]] = {
    PLAIN: {"fast": False, "compiled": False},
    "loop in bf16, channels_last": {"fast": True, "compiled": False},
    "loop in bf16, channels_last, compiled": {"fast": True, "compiled": True},
}


@dataclass(frozen=True)
class Task:
    """A network to train, and its loss.

    Attributes:
        build: Returns the network.
        loss: Returns the scalar loss of (output, target).
        targets: Returns random targets for a batch of images.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    targets: Callable[[Tensor], Tensor]


def tasks() -> dict[str, Task]:
    """Return the networks: the generator of SalGAN (arXiv 1701.01081), and ResNet-34 with 1,000 classes."""
    bce = make_loss("bce")
    return {
        "salgan": Task(
            build=lambda: build(SaliencySpec.of("salgan")),
            loss=lambda maps, targets: bce(maps.float(), targets, None),
            targets=lambda images: torch.rand_like(images[:, :1]),
        ),
        "resnet34": Task(
            build=lambda: specification.make("resnet34"),
            loss=lambda logits, classes: F.cross_entropy(logits.float(), classes),
            targets=lambda images: torch.randint(1000, (len(images),), device=images.device),
        ),
    }


def loop_rate(lab: Lab, task: Task, *, fast: bool, compiled: bool) -> float:
    """Return images per second of forward pass, loss, backward pass and optimizer step, on a batch on the device.

    Args:
        lab: The lab.
        task: The network and its loss.
        fast: Whether to use bf16 and channels_last, as ``train-saliency`` does on a GPU; else fp32 and contiguous.
        compiled: Whether to compile the network.
    """
    torch.manual_seed(0)
    batch, device = lab.amounts.train_batch, lab.device
    layout = torch.channels_last if fast else torch.contiguous_format
    model = task.build().to(device).to(memory_format=layout).train()
    images = torch.randn(batch, 3, *lab.amounts.train_size, device=device).contiguous(memory_format=layout)
    targets = task.targets(images)
    runnable = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            output = runnable(images)
        task.loss(output, targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return median_rate(step, batch, lab)


def measure_loops(lab: Lab) -> list[Row]:
    """Return images per second of the loops of each network; compiled ones on a GPU only."""
    rows = []
    for name, task in tasks().items():
        for label, settings in LOOPS.items():
            if settings["compiled"]:
                continue
            rows.append(_loop_row(lab, name, task, label))
    return rows


def measure_compiled_loops(lab: Lab) -> list[Row]:
    """Return images per second of the compiled loops."""
    lab.need_cuda()
    label = next(label for label, settings in LOOPS.items() if settings["compiled"])
    return [_loop_row(lab, name, task, label) for name, task in tasks().items()]


def _loop_row(lab: Lab, name: str, task: Task, label: str) -> Row:
    rate = lab.keep(("loop", name, label), lambda: loop_rate(lab, task, **LOOPS[label]))
    lab.free_memory()
    plain = lab.keep(("loop", name, PLAIN), lambda: loop_rate(lab, task, **LOOPS[PLAIN]))
    return {"network": name, "variant": label, "images/s": rate, "ratio": rate / plain, "goal": None, "busy": None}


def measure_train_saliency(lab: Lab) -> list[Row]:
    """Return images per second of ``train-saliency --model salgan`` against the plain fp32 loop.

    The epochs after the first one count. ``busy`` is the fraction of the time in which the loop does not wait for data.
    """
    amounts = lab.amounts
    plain = lab.keep(("loop", "salgan", PLAIN), lambda: loop_rate(lab, tasks()["salgan"], **LOOPS[PLAIN]))
    lab.free_memory()
    data = lab.fixations(amounts.train_images, 4, amounts.train_size)
    config = training_config(
        lab, data, model="salgan", size=amounts.train_size, batch_size=amounts.train_batch, epochs=amounts.epochs,
        device=str(lab.device), workers=None,
    )  # fmt: skip
    epochs = history(train_saliency(config).folder)[1:]
    rate = statistics.median(epoch["images_per_second"] for epoch in epochs)
    busy = statistics.median(epoch["busy"] for epoch in epochs)
    return [
        {
            "network": "salgan",
            "variant": "cvkit train-saliency, all defaults",
            "images/s": rate,
            "ratio": rate / plain,
            "goal": f"ratio at least {GOAL}, busy at least {BUSY_GOAL:.0%}",
            "busy": percent(busy),
        }
    ]
