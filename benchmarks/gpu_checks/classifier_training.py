"""Check and measure the training of classifiers on the device."""

import csv
import statistics
from typing import Any

import numpy as np

from cvkit.commands.train_classifier import train_classifier
from cvkit.config import TrainClassifierConfig
from gpu_checks.lab import Lab
from gpu_checks.report import Row
from gpu_checks.speed import percent
from gpu_checks.training import compare_curves, history, losses_of_run
from gpu_checks.training_speed import LOOPS, PLAIN, loop_rate, tasks

CURVE_NETWORK = "resnet18"  # without dropout, which differs by device
SPEED_NETWORK = "resnet34"
GOAL = 2.0  # images per second against those of the plain fp32 loop
CLASSES = 4


def labelled_photographs(lab: Lab, train: int) -> str:
    """Return a manifest of photographs with arbitrary classes: ``train`` training images and a few for validation."""
    path = lab.folder / f"labelled-{train}.csv"
    if not path.exists():
        photographs = lab.photographs
        val = max(CLASSES, train // 20)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("image", "label", "split"))
            for number in range(train + val):
                photograph = photographs[number % len(photographs)].absolute()
                writer.writerow((photograph, f"class {number % CLASSES}", "train" if number < train else "val"))
    return str(path)


def classifier_config(lab: Lab, data: str, **settings: Any) -> TrainClassifierConfig:
    """Return the settings of a training run from random weights."""
    common: dict[str, Any] = {"weights": "none", "samples": 0, "data": data, "out": str(lab.new_folder())}
    return TrainClassifierConfig(**(common | settings))


def check_classifier_curves(lab: Lab) -> list[Row]:
    """Compare the losses of the first steps of ``train-classifier`` with those on the processor."""

    def losses(**settings: Any) -> np.ndarray:
        config = classifier_config(
            lab, labelled_photographs(lab, 4 * lab.amounts.steps), model=CURVE_NETWORK, input_size=(64, 64),
            batch_size=4, epochs=1, workers=0, **settings,
        )  # fmt: skip
        return losses_of_run(lambda report: train_classifier(config, report).folder)

    expected = losses(device="cpu", precision="fp32")
    model = f"{CURVE_NETWORK}, {len(expected)} steps"
    return compare_curves(lab, expected, losses, command="train-classifier", model=model)


def measure_train_classifier(lab: Lab) -> list[Row]:
    """Return images per second of ``train-classifier --model resnet34`` against the plain fp32 loop.

    The epochs after the first one count. ``busy`` is the fraction of the time in which the loop does not wait for data.
    """
    amounts = lab.amounts
    task = tasks()[SPEED_NETWORK]
    plain = lab.keep(("loop", SPEED_NETWORK, PLAIN), lambda: loop_rate(lab, task, **LOOPS[PLAIN]))
    lab.free_memory()
    config = classifier_config(
        lab, labelled_photographs(lab, amounts.train_images), model=SPEED_NETWORK, input_size=amounts.train_size,
        batch_size=amounts.train_batch, epochs=amounts.epochs, device=str(lab.device),
    )  # fmt: skip
    epochs = history(train_classifier(config).folder)[1:]
    rate = statistics.median(epoch["images_per_second"] for epoch in epochs)
    busy = statistics.median(epoch["busy"] for epoch in epochs)
    return [
        {
            "network": SPEED_NETWORK,
            "variant": "cvkit train-classifier, all defaults",
            "images/s": rate,
            "ratio": rate / plain,
            "goal": f"ratio at least {GOAL}",
            "busy": percent(busy),
        }
    ]
