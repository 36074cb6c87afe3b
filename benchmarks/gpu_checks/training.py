"""Check training on the device: loss curves, exact resume, and recovery from too little memory."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvkit.commands.classify import classify
from cvkit.commands.train_saliency import train_saliency
from cvkit.config import ClassifyConfig, TrainSaliencyConfig
from cvkit.engine import checkpoint
from cvkit.progress import Event, Note, Reporter, Step
from gpu_checks.lab import Lab, attempt, make_config, tf32
from gpu_checks.outputs import ON_CPU, differences, log_probabilities, read_logs
from gpu_checks.report import Row, Skip

# Largest allowed difference of the loss of any step from that on the processor, as a fraction of it. Differences of
# rounding grow from step to step, so the tolerances are wider than those of one forward pass. fp16 also skips its first
# steps while the scale of the loss adapts.
CURVE_TOLERANCES = {"fp32 without TF32": 0.01, "TF32": 0.03, "bf16": 0.1, "fp16": 0.2}
SMALL_MEMORY = 4 * 2**30  # bytes to which the memory of the GPU is limited
IMAGES_ON_CPU = 4  # at which a convolution reports too little memory, where the device has no limit to set
VOLATILE = ("seconds", "images_per_second", "busy")  # columns of history.csv that differ from run to run
CHILD = str(Path(__file__).with_name("killed_run.py"))


def training_config(lab: Lab, data: str, **settings: Any) -> TrainSaliencyConfig:
    """Return the settings of a training run from random weights. Dropout is off, because it differs by device."""
    common: dict[str, Any] = {"weights": "none", "dropout": 0.0, "samples": 0, "workers": 0, "val_fraction": 0.1}
    return TrainSaliencyConfig(**(common | {"data": data, "out": str(lab.new_folder())} | settings))


def small_training(lab: Lab, **settings: Any) -> TrainSaliencyConfig:
    """Return the settings of a run whose first epoch has ``steps`` steps of batches of 4."""
    amounts = lab.amounts
    data = lab.fixations(4 * amounts.steps, 4, amounts.small_size)
    common: dict[str, Any] = {
        "backbone": amounts.small_backbone,
        "size": amounts.small_size,
        "batch_size": 4,
        "epochs": 1,
    }
    return training_config(lab, data, **(common | settings))


def losses_of(config: TrainSaliencyConfig) -> np.ndarray:
    """Train a saliency network for one epoch, and return the loss of every step."""
    return losses_of_run(lambda report: train_saliency(config, report).folder)


def losses_of_run(train: Callable[[Reporter], Path]) -> np.ndarray:
    """Return the loss of every step of a run of one epoch.

    The progress reports the mean loss over the steps before the current one, which gives the loss of each of them.

    Args:
        train: Trains with a reporter, and returns the run folder.
    """
    sums = [0.0]

    def listen(event: Event) -> None:
        if isinstance(event, Step) and "loss" in event.figures:
            sums.append(event.figures["loss"] * (event.done - 1))

    folder = train(listen)
    steps = len(sums) - 1
    sums.append(history(folder)[-1]["train_loss"] * steps)
    return np.diff(sums)[1:]


def history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of ``history.csv``."""
    with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(stream)]


def check_curves(lab: Lab) -> list[Row]:
    """Compare the losses of the first steps with those on the processor."""
    expected = lab.keep(("curve",), lambda: losses_of(small_training(lab, device="cpu", precision="fp32")))
    return compare_curves(
        lab,
        expected,
        lambda **settings: losses_of(small_training(lab, **settings)),
        command="train-saliency",
        model=f"mlnet, {lab.amounts.small_backbone}, {len(expected)} steps",
    )


def compare_curves(lab: Lab, expected: np.ndarray, train: Callable[..., np.ndarray], **labels: str) -> list[Row]:
    """Compare the losses of a run on the device, in every precision, with those on the processor.

    Args:
        lab: The lab.
        expected: Loss of every step on the processor.
        train: Returns these losses for settings of the run.
        labels: Command and model.
    """

    def measure(tolerance: float, allowed: bool, **settings: Any) -> Row:
        with tf32(allowed) if lab.is_cuda else nullcontext():
            losses = train(device=str(lab.device), **settings)
        apart = np.abs(losses / expected - 1)
        largest, first = float(apart.max()), float(apart[0])
        return {"measured": largest, "first step": first, "tolerance": tolerance, "ok": bool(largest <= tolerance)}

    variants: list[tuple[str, dict[str, Any]]] = [("fp32 without TF32", {"precision": "fp32"})]
    if lab.is_cuda:
        variants += [(name, {"precision": name}) for name in ("bf16", "fp16")]
        variants.insert(1, ("TF32", {"precision": "fp32"}))
    return [
        attempt(lambda n=name, s=settings: measure(CURVE_TOLERANCES[n], n == "TF32", **s), variant=name, **labels)
        for name, settings in variants
    ]


def check_compiled_training(lab: Lab) -> list[Row]:
    """Compare the losses of ``--compile`` with those on the processor."""
    if not lab.is_cuda:
        raise Skip("compiling for a processor takes minutes; it needs a CUDA GPU")
    expected = lab.keep(("curve",), lambda: losses_of(small_training(lab, device="cpu", precision="fp32")))

    def measure() -> Row:
        with tf32(False):
            config = small_training(lab, device=str(lab.device), precision="fp32", compile=True)
            largest = float(np.abs(losses_of(config) / expected - 1).max())
        tolerance = CURVE_TOLERANCES["fp32 without TF32"]
        return {"measured": largest, "tolerance": tolerance, "ok": largest <= tolerance}

    model = f"mlnet, {lab.amounts.small_backbone}"
    return [attempt(measure, command="train-saliency --compile", model=model, variant="fp32 without TF32")]


def check_resume(lab: Lab) -> list[Row]:
    """Kill a run by SIGKILL, resume it, and compare its weights and history with those of an uninterrupted run.

    Each run is a process of its own with ``--deterministic``, because this setting must precede all work on the GPU.
    """
    amounts = lab.amounts
    data = lab.fixations(12, 4, amounts.small_size)
    common = {
        "backbone": amounts.small_backbone, "size": amounts.small_size, "batch_size": 2, "epochs": 2, "dropout": 0.2,
        "device": str(lab.device), "deterministic": True, "save_every": "2steps",
    }  # fmt: skip
    whole = training_config(lab, data, **common)
    killed = training_config(lab, data, **common)
    run_child(lab, whole)
    code = run_child(lab, killed, kill_at=(2, 4))  # in the middle of the second epoch
    resumed = TrainSaliencyConfig(**{**killed.as_dict(), "size": amounts.small_size, "resume": True})
    run_child(lab, resumed)
    first, second = Path(str(whole.out)), Path(str(killed.out))
    weights = [checkpoint.load(folder / "last.pt", "training-state")["model"] for folder in (first, second)]
    different = [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])]
    histories = [repeatable(history(folder)) for folder in (first, second)]
    equal = histories[0] == histories[1]
    measured = f"{len(different)} of {len(weights[0])} tensors differ; histories {'equal' if equal else 'differ'}"
    ok = equal and not different and code == -signal.SIGKILL
    return [
        {"command": "train-saliency --deterministic", "model": "killed and resumed", "measured": measured, "ok": ok}
    ]


def repeatable(rows: list[dict[str, float]]) -> str:
    """Return the columns of a history that a repeated run gives again, as text, in which NaN equals NaN."""
    return str([{name: value for name, value in row.items() if name not in VOLATILE} for row in rows])


def run_child(lab: Lab, config: TrainSaliencyConfig, kill_at: tuple[int, int] | None = None) -> int:
    """Train in a process of its own, which kills itself at (epoch, step) if asked; return its exit code.

    Raises:
        RuntimeError: If the process failed.
    """
    settings = {"config": config.as_dict(), "kill_at": kill_at}
    path = lab.new_folder().with_suffix(".json")
    path.write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run([sys.executable, "-P", CHILD, str(path)], capture_output=True, text=True, check=False)
    expected = 0 if kill_at is None else -signal.SIGKILL
    if done.returncode != expected:
        raise RuntimeError(f"the run ended with exit code {done.returncode}: {done.stderr[-400:]}")
    return done.returncode


@contextmanager
def small_memory(lab: Lab) -> Iterator[None]:
    """Limit the memory of the GPU for the block; on a processor, let convolutions of larger batches fail alike."""
    if lab.is_cuda:
        lab.free_memory()
        total = torch.cuda.get_device_properties(lab.device).total_memory
        # This function takes no device without an index, such as "cuda".
        torch.cuda.set_per_process_memory_fraction(min(1.0, SMALL_MEMORY / total), lab.device.index)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, lab.device.index)
        return
    forward = nn.Conv2d.forward

    def limited(self: nn.Conv2d, images: Tensor) -> Tensor:
        if len(images) > IMAGES_ON_CPU:
            raise torch.OutOfMemoryError(f"simulated: more than {IMAGES_ON_CPU} images")
        return forward(self, images)

    nn.Conv2d.forward = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Conv2d.forward = forward  # type: ignore[method-assign]


def check_memory_of_inference(lab: Lab) -> list[Row]:
    """Classify with a batch size that does not fit, and compare the results with those of the processor."""
    model = lab.amounts.classifiers[0]
    weights = lab.weights(model)
    expected = lab.keep(("classify", model), lambda: log_probabilities(lab, model, weights, "cpu", "fp32"))
    notes: list[str] = []
    files = tuple(map(str, lab.many[: 8 if lab.quick else 512]))
    folder = lab.new_folder()
    with small_memory(lab), tf32(False) if lab.is_cuda else nullcontext():
        result = classify(
            make_config(
                ClassifyConfig, inputs=files, model=model, weights=weights, device=str(lab.device), top=1000,
                batch_size=len(files), out=str(folder), optional=ON_CPU,
            ),
            lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        )  # fmt: skip
    halved = [note for note in notes if "do not fit into memory" in note]
    counts = result.batch.counts
    # The first files are links to the compared photographs.
    got = read_logs(folder, files[: len(expected)])
    row = differences(expected, dict(zip(expected, got.values(), strict=True)), 1e-2, mean=True)
    row["ok"] = bool(row["ok"] and halved and counts.done == len(files))
    row["measured"] = f"{counts.done} of {len(files)} done; {halved[-1] if halved else 'the batch was never halved'}"
    return [{"command": "classify", "model": model, "variant": f"one batch of {len(files)}", **row}]


def check_memory_of_training(lab: Lab) -> list[Row]:
    """Train with a batch size that does not fit, and compare the loss with that of a run with enough memory."""
    batch, size = (8, (96, 96)) if lab.quick else (96, (240, 320))
    data = lab.fixations(batch, 4, size)
    notes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    def train() -> float:
        settings = {"size": size, "batch_size": batch, "epochs": 1, "augment": "none", "precision": "fp32"}
        config = training_config(lab, data, device=str(lab.device), **settings)
        return history(train_saliency(config, listen).folder)[0]["train_loss"]

    whole = train()
    lab.free_memory()
    notes.clear()
    with small_memory(lab):
        parts = train()
    split = [note for note in notes if "out of memory" in note]
    apart = abs(parts / whole - 1)
    measured = f"loss differs by {apart:.1e}; {split[-1] if split else 'the batch was never split'}"
    ok = bool(split) and apart <= 0.01
    return [
        {
            "command": "train-saliency",
            "model": "mlnet, vgg16",
            "variant": f"one batch of {batch}",
            "measured": measured,
            "ok": ok,
        }
    ]
