"""Measure the speed of `train-classifier`.

The script makes three comparisons. The compared variants alternate, and every run has two epochs, the second of which
counts.

- Steps: a training epoch of `cvkit` (which shuffles, loads, schedules the learning rate, checks for NaN and saves) with
  a hand-written loop whose batches are ready in memory, on the same network, loss, optimizer and normalisation. The
  images are in memory: basic-cnn on 28x28 arrays, and a large network on photographs.
- Folder: an epoch over JPEG photographs that are decoded in every epoch or kept in memory, with random crops and
  flips, with torchvision's `ImageFolder` and a `DataLoader` that decode the same files and apply the same transforms.
  The script also measures decoding, reduction, augmentation and training of an image one by one, in milliseconds of one
  core.
- Features: an epoch, with validation and pictures, of a network whose backbone is frozen: with features that are
  computed once, and with the backbone run in every epoch.
"""

import argparse
import csv
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess, active_children
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from photographs import find_photographs
from side_by_side import Row, Times, faster, make_parser, publish, rate, report, slower, throughput, values_row
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from cvkit.commands.train_classifier import train_classifier
from cvkit.commands.train_classifier.reading import find_images
from cvkit.config import TrainClassifierConfig
from cvkit.data.collection import find_source
from cvkit.data.idx import read_idx
from cvkit.data.images import read_image
from cvkit.engine.memory import keep_activations
from cvkit.progress import Event, Stage, StageEnd, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.augment import RATIOS, Augmentation
from cvkit.tasks.classification.data.reading import ImageReader
from cvkit.tasks.classification.data.source import read_source
from cvkit.tasks.classification.starting import start_classifier

CLASSES = 10
PLAIN: dict[str, Any] = {"flip": False, "crop_scale": 1.0}  # no augmentation
BARE, DEFAULT, UNCHANGED = "bare loop", "cvkit", "cvkit without augmentation"


@dataclass(frozen=True)
class Epoch:
    """The cost of the training part of an epoch.

    Attributes:
        seconds: Duration.
        processor: Processor time of this process and its loading processes in seconds (Linux; else of this one).
        busy: Fraction of the duration in which the model does not wait for data; None if it is not recorded.
    """

    seconds: float
    processor: float
    busy: float | None = None


class Clock:
    """Measures the durations and the processor times between calls of ``mark``."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        self.marks.append((time.perf_counter(), time.process_time() + sum(map(_processor_seconds, active_children()))))

    def last(self, busy: float | None = None) -> Epoch:
        """Return the cost between the last two marks."""
        (began, before), (ended, after) = self.marks[-2:]
        return Epoch(ended - began, after - before, busy)


def _processor_seconds(process: BaseProcess) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: proc(5)


def alternate(functions: Mapping[str, Callable[[], Epoch]], rounds: int) -> dict[str, list[Epoch]]:
    """Call each function once per round, every other round in reverse order."""
    measured: dict[str, list[Epoch]] = {name: [] for name in functions}
    for number in range(rounds):
        for name in list(functions) if number % 2 else list(reversed(functions)):
            measured[name].append(functions[name]())
    return measured


def durations(measured: dict[str, list[Epoch]]) -> Times:
    return {name: [epoch.seconds for epoch in epochs] for name, epochs in measured.items()}


def processor_times(measured: dict[str, list[Epoch]]) -> Times:
    return {name: [epoch.processor for epoch in epochs] for name, epochs in measured.items()}


def run_cvkit(config: dict[str, Any]) -> Epoch:
    """Train two epochs with the command, and return the cost of the second one."""
    clock = Clock()

    def listen(event: Event) -> None:
        if (isinstance(event, Stage) and event.title.startswith("epoch ")) or (
            isinstance(event, StageEnd) and len(clock.marks) % 2
        ):
            clock.mark()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        train_classifier(TrainClassifierConfig(**config, weights="none", epochs=2, samples=0, out=str(folder)), listen)
        with (folder / "history.csv").open() as stream:
            busy = float(list(csv.DictReader(stream))[-1]["busy"])
    return clock.last(busy)


def new_classifier(config: dict[str, Any]) -> Classifier:
    """Return the network that the command trains, with its normalisation and its memory layout."""
    settings = TrainClassifierConfig(**config, weights="none").resolved()
    started = start_classifier(settings, tuple(map(str, range(CLASSES))), ignore)
    return Classifier(started.network, started.facts)


def train_epoch(classifier: Classifier, optimizer: torch.optim.Optimizer, batches: Iterable[Sequence[Tensor]]) -> None:
    for images, labels in batches:
        loss = F.cross_entropy(classifier.network(classifier.normalise(images)), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def run_bare(config: dict[str, Any], batches: Iterable[Sequence[Tensor]]) -> Epoch:
    """Train two epochs by hand, and return the cost of the second one."""
    classifier = new_classifier(config)
    classifier.network.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(classifier.network.parameters(), lr=1e-3)
    train_epoch(classifier, optimizer, batches)
    clock = Clock()
    clock.mark()
    train_epoch(classifier, optimizer, batches)
    clock.mark()
    return clock.last()


def ready_batches(images: Tensor, labels: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(size), labels.split(size), strict=True))


def read_in_memory(config: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the training images as the command reads them without augmentation, in batches of uint8."""
    settings = TrainClassifierConfig(**config).resolved()
    source = find_images(settings, ignore).splits.images["train"]
    reader = ImageReader(
        images=source, preprocessing=new_classifier(config).preprocessing, max_pixels=settings.max_pixels
    )
    images = torch.stack([reader(index) for index in range(len(source))])
    assert settings.batch_size is not None
    return ready_batches(
        images.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(source.labels), settings.batch_size
    )


def measure_steps(config: dict[str, Any], subject: str, rounds: int) -> list[Row]:
    """Compare an epoch with a bare loop, images in memory, with the augmentation of the command and without."""
    cached = {**config, "cache": "ram"}
    batches = read_in_memory(cached)
    count = sum(len(labels) for _, labels in batches)
    measured = alternate(
        {
            BARE: partial(run_bare, config, batches),
            UNCHANGED: partial(run_cvkit, {**cached, **PLAIN}),
            DEFAULT: partial(run_cvkit, cached),
        },
        rounds,
    )
    rows = []
    for title, times in (
        ("a training epoch", durations(measured)),
        ("the processor time of a training epoch", processor_times(measured)),
    ):
        print(title)
        report(times, BARE, count)
        claim = f"{title} of `train-classifier`, {subject}"
        rows += [
            slower(times, UNCHANGED, BARE, f"{claim}, no augmentation"),
            slower(times, DEFAULT, BARE, f"{claim}, random crops and flips"),
        ]
    return rows


def run_image_folder(config: dict[str, Any], workers: int) -> Epoch:
    """Train two epochs by hand over `ImageFolder` and a `DataLoader` with the same transforms."""
    settings = TrainClassifierConfig(**config).resolved()
    assert settings.crop_scale is not None
    crop = new_classifier(config).preprocessing.crop
    scale = (settings.crop_scale, 1.0)
    # On uint8 tensors, which torchvision resizes faster than Pillow images. Its own decoder of files is deprecated.
    crops = v2.RandomResizedCrop(crop, scale, RATIOS, antialias=True)
    data = ImageFolder(f"{config['data']}/train", v2.Compose([v2.PILToTensor(), crops, v2.RandomHorizontalFlip()]))
    loader: Iterable[Any] = DataLoader(
        data, settings.batch_size, shuffle=True, num_workers=workers, persistent_workers=True, prefetch_factor=4
    )
    return run_bare(config, loader)


def measure_folder(config: dict[str, Any], subject: str, rounds: int) -> list[Row]:
    """Compare an epoch over a folder with `ImageFolder` and a `DataLoader`."""
    count = len(read_source(config["data"]).splits["train"])
    caches = {f"cvkit, --cache {cache}": cache for cache in ("none", "ram")}
    peers = {f"ImageFolder and DataLoader, {count} workers": count for count in (1, 2)}
    measured = alternate(
        {name: partial(run_cvkit, {**config, "cache": cache}) for name, cache in caches.items()}
        | {name: partial(run_image_folder, config, workers) for name, workers in peers.items()},
        rounds,
    )
    times = durations(measured)
    best = min(peers, key=lambda name: np.median(times[name]))
    report(times, best, count)
    print("processor time")
    report(processor_times(measured), best, count)
    rows = []
    for name, cache in caches.items():
        claim = f"`train-classifier --cache {cache}`, {subject}"
        busy = [100 * epoch.busy for epoch in measured[name] if epoch.busy is not None]
        rows += [
            rate(times, name, count, claim),
            throughput(times, name, best, claim),
            slower(processor_times(measured), name, best, f"processor time of {claim}"),
            values_row(f"time in which the model does not wait for data, {claim}", busy, "{:.1f}", " %", "–"),
        ]
    return rows


def core_milliseconds(function: Callable[[int], object], count: int) -> float:
    """Return the processor time of a call in milliseconds; the first call does not count."""
    function(0)
    began = time.process_time()
    for index in range(count):
        function(index)
    return 1000 * (time.process_time() - began) / count


def measure_parts(config: dict[str, Any], subject: str, rounds: int) -> list[Row]:
    """Return the processor time of each part of the work on an image, with one thread."""
    settings = TrainClassifierConfig(**config).resolved()
    classifier = new_classifier(config)
    steps = classifier.preprocessing
    source = read_source(config["data"]).splits["train"]
    reader = ImageReader(images=source, preprocessing=steps, max_pixels=settings.max_pixels, whole=True)
    augmentation = Augmentation(settings, steps)
    assert settings.batch_size is not None and source.paths is not None and isinstance(steps.resize, int)
    paths, side, batch_size = source.paths, steps.resize, settings.batch_size
    whole = [reader(index) for index in range(len(paths))]
    images = torch.stack([augmentation(image, (0, index)) for index, image in enumerate(whole)])[:batch_size]
    batch = (images, torch.zeros(len(images), dtype=torch.int64))
    classifier.network.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(classifier.network.parameters())
    parts: Times = {"decoding": [], "decoding and reduction": [], "augmentation": [], "model": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(rounds):
        parts["decoding"].append(core_milliseconds(lambda k: read_image(paths[k], reduce_to=side), len(paths)))
        parts["decoding and reduction"].append(core_milliseconds(reader, len(paths)))
        parts["augmentation"].append(core_milliseconds(lambda k: augmentation(whole[k], (0, k)), len(paths)))
        model = core_milliseconds(lambda _: train_epoch(classifier, optimizer, [batch]), 3)
        parts["model"].append(model / len(images))
    torch.set_num_threads(threads)
    total = sum(np.median(parts[name]) for name in list(parts)[1:])
    return [
        values_row(
            f"{name} of an image, {subject} ({100 * np.median(values) / total:.1f} % of the work)",
            values,
            "{:.2f}",
            " ms of one core",
            "–",
        )
        for name, values in parts.items()
    ]


def whole_epoch(config: dict[str, Any]) -> Epoch:
    """Train three epochs with a frozen backbone, and return the cost of the second one with validation and pictures."""
    clock = Clock()

    def listen(event: Event) -> None:
        if isinstance(event, Stage) and event.title.startswith("epoch "):
            clock.mark()

    with tempfile.TemporaryDirectory() as name:
        config = {**config, "weights": "none", "epochs": 3, "freeze": "backbone", "out": f"{name}/run"}
        train_classifier(TrainClassifierConfig(**config), listen)
    return clock.last()


def measure_features(config: dict[str, Any], subject: str, rounds: int) -> list[Row]:
    """Compare epochs on features with epochs in which the frozen backbone runs."""
    cached, backbone = "features computed once", "the backbone in every epoch"
    # Flips are the cheapest augmentation, for which features cannot be kept.
    variants = {cached: PLAIN, backbone: {**PLAIN, "flip": True}}
    measured = alternate({name: partial(whole_epoch, {**config, **more}) for name, more in variants.items()}, rounds)
    report(durations(measured), backbone, len(read_source(config["data"]).splits["train"]))
    return [faster(durations(measured), cached, backbone, f"an epoch with a frozen backbone, {subject}")]


def make_folder(photographs: list[Path], folder: Path, count: int) -> str:
    """Link photographs into class folders, ``count`` for training and a few for validation; return the folder."""
    for number in range(count + max(CLASSES, count // 5)):
        target = folder / ("train" if number < count else "val") / f"class{number % CLASSES}"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number:05d}.jpg").symlink_to(photographs[number % len(photographs)].absolute())
    return str(folder)


def make_arrays(data: str, folder: Path, count: int) -> str:
    """Write the first images of IDX files of 28x28 pixels, or random ones, into IDX files of a folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    found = find_source(data).idx if Path(data).is_dir() else {}
    for split, prefix, number in (("train", "train", count), ("test", "t10k", max(CLASSES, count // 20))):
        images = rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = rng.permutation(np.arange(number, dtype=np.uint8) % CLASSES)
        if found:
            images, labels = (read_idx(found[split][part])[:number] for part in ("images", "labels"))
        image_header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)  # unsigned bytes, three dimensions
        label_header = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(image_header + images.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(label_header + labels.astype(np.uint8).tobytes())
    return str(folder)


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield the rows of the chosen parts."""
    common = {"device": "cpu", "precision": "fp32"}
    parts = options.only.split(",")
    if "steps" in parts:
        arrays = make_arrays(options.arrays, folder / "idx", options.small_images)
        small = {"data": arrays, "model": "basic-cnn", **common}
        yield from measure_steps(small, "basic-cnn on 28x28 arrays", options.rounds)
    photographs = find_photographs(options.data, folder / "made", options.images)
    data = make_folder(photographs, folder / "photographs", options.images)
    size = (options.size, options.size)
    large = {"data": data, "model": options.model, "input_size": size, **common}
    subject = f"{options.model} at {options.size}"
    if "steps" in parts:
        yield from measure_steps(large, f"{subject}, images in memory", options.rounds)
    if "folder" in parts:
        yield from measure_folder(large, subject, options.rounds)
        yield from measure_parts(large, subject, options.rounds)
    if "features" in parts:
        yield from measure_features(large, subject, options.rounds)


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/imagenet-samples", rounds=3)
    parser.add_argument("--arrays", default="../shared/data/fashion-mnist", help="folder of IDX files of 28x28 images")
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=160, help="training photographs")
    parser.add_argument("--small-images", type=int, default=3200, help="training images of 28x28 pixels")
    parser.add_argument("--only", default="steps,folder,features", help="parts to measure, separated by commas")
    options = parser.parse_args()
    keep_activations()  # otherwise only the loops before the first run of cvkit would have the default allocator
    with tempfile.TemporaryDirectory() as name:
        publish(list(measure(options, Path(name))), options.json)


if __name__ == "__main__":
    main()
