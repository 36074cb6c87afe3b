"""Measure the inference commands over many JPEG files against the bare network, and Grad-CAM against its peers."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gradcam_variants import FORWARD, grad_cam_peers
from torch import Tensor, nn

from cvkit.commands.classify import classify
from cvkit.commands.gradcam import gradcam
from cvkit.commands.predict import predict
from cvkit.config import ClassifyConfig, GradcamConfig, PredictConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image, resize_image
from cvkit.device import autocast_dtype
from cvkit.engine.streaming.batch import BatchResult
from cvkit.models.loaded import Request
from cvkit.processes import cpu_count
from cvkit.progress import Event, Step
from cvkit.tasks.classification import loading
from cvkit.tasks.registry import load_saliency
from gpu_checks.lab import Lab, median_rate
from gpu_checks.report import Row

HEAVY = ("vgg16", "resnet50")  # networks for which the goal holds
GOAL = "at least 90 %"
LIGHT_GOAL = "decoding is the limit"
SECONDS_PER_DECODING = 24  # files whose reading is timed in one thread
PRECISIONS = ("fp32", "bf16")
PROFILED = 1_000  # files of the run under the profiler
LAYOUTS = ("contiguous", "channels_last")


@dataclass(frozen=True)
class Job:
    """One command on one network.

    Attributes:
        command: Name of the command.
        network: Name of the network.
        run: Runs the command on (files, precision, progress reporter), and returns its result.
        read: Reads and prepares one file as the command does.
        build: Returns the bare network with its weights.
        size: Input size of the network.
    """

    command: str
    network: str
    run: Callable[[tuple[str, ...], str, Callable[[Event], None]], BatchResult]
    read: Callable[[Path], object]
    build: Callable[[], nn.Module]
    size: tuple[int, int]


def classify_job(lab: Lab, name: str) -> Job:
    """Return the job of ``classify``."""
    weights = lab.weights(name)
    loaded = loading.load(name, weights)

    def run(files: tuple[str, ...], precision: str, report: Callable[[Event], None]) -> BatchResult:
        config = ClassifyConfig(inputs=files, model=name, weights=weights, **_compute(lab, precision))
        return classify(config, report).batch

    preprocessing = loaded.facts.preprocessing
    return Job(
        "classify", name, run, lambda path: fit_crop(read_image(path), preprocessing), lambda: loaded.network,
        preprocessing.crop,
    )  # fmt: skip


def gradcam_job(lab: Lab, name: str, classes: int) -> Job:
    """Return the job of ``gradcam`` with map and overlay of the first classes."""
    base = classify_job(lab, name)
    weights = lab.weights(name)

    def run(files: tuple[str, ...], precision: str, report: Callable[[Event], None]) -> BatchResult:
        ranks = tuple(range(1, classes + 1))
        common = {"model": name, "weights": weights, "rank": ranks, "save": ("map", "overlay")}
        return gradcam(GradcamConfig(inputs=files, **common, **_compute(lab, precision)), report).batch  # type: ignore[arg-type]

    label = f"gradcam, {classes} class{'es' if classes > 1 else ''}"
    return Job(label, name, run, base.read, base.build, base.size)


def predict_job(lab: Lab, backbone: str) -> Job:
    """Return the job of ``predict`` with ``mlnet``."""
    checkpoint = lab.checkpoint(backbone)
    loaded = load_saliency(Request(name=checkpoint))
    size = loaded.to(torch.device("cpu"), "fp32").size

    def run(files: tuple[str, ...], precision: str, report: Callable[[Event], None]) -> BatchResult:
        return predict(PredictConfig(inputs=files, model=checkpoint, **_compute(lab, precision)), report)

    return Job("predict", backbone, run, lambda p: resize_image(read_image(p), size), lambda: loaded.network, size)


def _compute(lab: Lab, precision: str) -> dict[str, Any]:
    return {"device": str(lab.device), "precision": precision, "out": str(lab.new_folder())}


def bare_rate(lab: Lab, job: Job, precision: str, *, channels_last: bool = True, compiled: bool = False) -> float:
    """Return images per second of the network alone, on batches on the device; the best of some batch sizes."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = job.build().eval().to(lab.device).to(memory_format=layout)
    runnable: Any = torch.compile(network) if compiled else network
    dtype = autocast_dtype(precision)
    best = 0.0
    # A compiled network is compiled again, with dynamic shapes, for a second batch size.
    for batch in lab.amounts.batches[-1:] if compiled else lab.amounts.batches:
        images = torch.randn(batch, 3, *job.size, device=lab.device).contiguous(memory_format=layout)

        def forward(images: Tensor = images) -> None:
            with torch.inference_mode(), torch.autocast(lab.device.type, dtype=dtype, enabled=dtype is not None):
                runnable(images)

        try:
            best = max(best, median_rate(forward, batch, lab))
        except torch.OutOfMemoryError:
            break
    network.to("cpu")
    return best


def measure_command(lab: Lab, job: Job) -> list[Row]:
    """Return one row per precision: the command over many files against the bare network."""
    rows = []
    decoding = reading_seconds(lab, job)
    for precision in PRECISIONS:
        bare = bare_rate(lab, job, precision)
        first = job.run(paths(lab, lab.amounts.probed), precision, lambda _: None)
        wanted = int(first.images_per_second * lab.amounts.run_seconds)
        count = max(lab.amounts.probed, min(lab.amounts.files, wanted))
        slowest = ""

        def listen(event: Event) -> None:
            nonlocal slowest
            if isinstance(event, Step):
                slowest = str(event.figures.get("slowest", slowest))

        result = job.run(paths(lab, count), precision, listen)
        rate = result.images_per_second
        rows.append(
            {
                "command": job.command,
                "network": job.network,
                "precision": precision,
                "files": count,
                "images/s": rate,
                "bare network, images/s": bare,
                "of the bare network": f"{rate / bare:.0%}",
                "goal": GOAL if job.network in HEAVY else LIGHT_GOAL,
                "GPU computes": percent(busy_fraction(lab, job, precision)),
                "decoding, of all core time": percent(rate * decoding / cpu_count()),
                "images/s per core": rate / cpu_count(),
                "decoding alone, images/s per core": 1 / decoding,
                "waits most for": slowest,
            }
        )
    return rows


def paths(lab: Lab, count: int) -> tuple[str, ...]:
    """Return the first files of the speed measurements."""
    return tuple(map(str, lab.many[:count]))


def percent(fraction: float | None) -> str | None:
    """Return a fraction as a percentage."""
    return None if fraction is None else f"{fraction:.0%}"


def reading_seconds(lab: Lab, job: Job) -> float:
    """Return the seconds in which one thread reads, decodes and resizes one photograph as the command does."""
    chosen = list(itertools.islice(itertools.cycle(lab.photographs), SECONDS_PER_DECODING))
    job.read(chosen[0])
    began = time.perf_counter()
    for path in chosen:
        job.read(path)
    return (time.perf_counter() - began) / len(chosen)


def busy_fraction(lab: Lab, job: Job, precision: str) -> float | None:
    """Return the fraction of the duration of a command in which at least one kernel runs on the GPU.

    The profiler of PyTorch records the start and the end of every kernel. Copies between memories do not count. The run
    is a separate one, because the profiler slows it down; None if the device is no GPU, or records nothing.
    """
    if not lab.is_cuda:
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    count = min(PROFILED, lab.amounts.files)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        result = job.run(paths(lab, count), precision, lambda _: None)
        lab.synchronise()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
        and not event.name.startswith(("Memcpy", "Memset"))
        and not getattr(event, "is_user_annotation", False)
    ]
    return union(spans) / 1e6 / result.seconds if spans else None


def union(spans: list[tuple[float, float]]) -> float:
    """Return the total length of intervals, counting where they overlap once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def measure_bare(lab: Lab) -> list[Row]:
    """Return images per second of each network alone, by precision and memory layout."""
    rows = []
    for name in lab.amounts.classifiers:
        job = classify_job(lab, name)
        for precision in PRECISIONS:
            rates = {
                layout: bare_rate(lab, job, precision, channels_last=layout == "channels_last") for layout in LAYOUTS
            }
            gain = rates["channels_last"] / rates["contiguous"]
            rows.append({"network": name, "precision": precision, **rates, "gain of channels_last": gain})
    return rows


def measure_compiled(lab: Lab) -> list[Row]:
    """Return images per second of each network alone, eager and compiled."""
    lab.need_cuda()
    rows = []
    for name, precision in itertools.product(lab.amounts.classifiers, PRECISIONS):
        job = classify_job(lab, name)
        eager, compiled = (bare_rate(lab, job, precision, compiled=value) for value in (False, True))
        rows.append(
            {"network": name, "precision": precision, "eager": eager, "compiled": compiled, "gain": compiled / eager}
        )
    return rows


def measure_grad_cam(lab: Lab) -> list[Row]:
    """Return images per second of Grad-CAM on a batch on the device: cvkit, its peers, and the bare forward pass."""
    rows = []
    batch = lab.amounts.batches[0]
    for name in lab.amounts.classifiers:
        variants = grad_cam_peers(name, lab.weights(name), batch, lab.device)
        for classes in (1, 3):
            rates = {label: median_rate(partial(f, classes), batch, lab) for label, f in variants.items()}
            rows.append(
                {"network": name, "classes": classes, **{f"{label}, images/s": r for label, r in rates.items()}}
            )
            rows[-1]["cvkit, of the forward pass"] = percent(rates["cvkit"] / rates[FORWARD])
        lab.free_memory()
    return rows
