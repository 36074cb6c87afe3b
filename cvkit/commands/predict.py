"""Predict a saliency map for every image."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvkit import files, render
from cvkit.config import PredictConfig
from cvkit.data.images import read_image, resize_image, resize_map
from cvkit.device import choose_precision
from cvkit.engine.distributed import assign_process
from cvkit.engine.streaming.batch import BatchJob, BatchResult, command_inputs, run_batch
from cvkit.engine.streaming.stream import Stages, WriteResult
from cvkit.inputs import Input
from cvkit.models.loaded import Request
from cvkit.progress import Reporter, ignore
from cvkit.render.jpeg import encode_jpeg
from cvkit.tasks.registry import load_saliency, open_runner
from cvkit.tasks.saliency.maps import check_map
from cvkit.tasks.saliency.predictor import SaliencyPredictor

SUFFIX = {"png": ".png", "png16": ".png", "npy": ".npy"}


@dataclass(frozen=True)
class _LoadedImage:
    """An image at the network's size, with its own size, and the image itself if an overlay needs it."""

    pixels: Tensor
    size: tuple[int, int]
    original: np.ndarray | None


def predict(config: PredictConfig, report: Reporter = ignore, stdin: Iterable[str] | None = None) -> BatchResult:
    """Send every input through a saliency network, and write its map into the result folder.

    A bad image becomes a row of ``failures.csv``.

    Args:
        config: The settings.
        report: Receives progress events.
        stdin: Lines of the list that ``-`` stands for; None reads standard input.

    Raises:
        DataError: If an input is not found.
        WeightsError: If the model cannot be loaded.
        OutputError: If the result folder holds other files, or the disk is full.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    inputs = command_inputs(config, stdin)
    loaded = load_saliency(Request(name=config.model, weights=config.weights, report=report))
    if config.overlay:
        render.colour_map(config.colormap)  # refuses an unknown name before any work
    process = assign_process(config)
    precision = choose_precision(config.precision, process.device)
    predictor = open_runner(loaded, config, process.device, len(inputs), report)
    assert isinstance(predictor, SaliencyPredictor)
    batch = BatchJob(
        command="predict",
        folder=Path(config.out),
        identity=_identity(config, loaded.sha256 or "random", precision),
        columns=_columns(config),
        details={"model": loaded.spec, "checkpoint": loaded.file or "random"},
        torch_threads=predictor.torch_threads,
    )
    return run_batch(config, batch, inputs, _stages(config, predictor), process, report)


def _identity(config: PredictConfig, weights: str, precision: str) -> dict[str, Any]:
    """Return the settings that the files depend on; a result folder holds files of one set of them only."""
    settings: dict[str, Any] = {
        "checkpoint_sha256": weights,
        "format": config.format,
        "size": list(config.size) if config.size else "input",
        "blur_px": config.blur_px,
        "precision": precision,
        "overlay": config.overlay,
    }
    if config.overlay:
        settings |= {"colormap": config.colormap, "alpha": config.alpha}
    return settings


def _columns(config: PredictConfig) -> list[str]:
    return ["image", "map", "overlay", "width", "height"] if config.overlay else ["image", "map", "width", "height"]


def _stages(config: PredictConfig, predictor: SaliencyPredictor) -> Stages[_LoadedImage, np.ndarray]:
    folder = Path(config.out)

    def read(item: Input) -> _LoadedImage:
        image = read_image(item.path, config.max_pixels)
        original = image if config.overlay else None
        return _LoadedImage(resize_image(image, predictor.size), (image.shape[0], image.shape[1]), original)

    def infer(batch: list[_LoadedImage]) -> list[np.ndarray]:
        images = torch.stack([image.pixels for image in batch])
        sizes = [config.size or image.size for image in batch]
        return [values.cpu().numpy() for values in predictor(images, sizes, config.blur_px)]

    def write(item: Input, image: _LoadedImage, values: np.ndarray) -> WriteResult:
        check_map(values)
        target = folder / f"{item.stem}{SUFFIX[config.format]}"
        files.write_atomic(target, _encode(values, config.format))
        row: dict[str, Any] = {"image": item.name, "map": target.relative_to(folder).as_posix()}
        row |= {"width": image.size[1], "height": image.size[0]}
        written = [target]
        if image.original is not None:
            overlay = folder / f"{item.stem}.overlay.jpg"
            files.write_atomic(overlay, _overlay(config, image.original, values))
            row["overlay"] = overlay.relative_to(folder).as_posix()
            written.append(overlay)
        return WriteResult([row], written)

    return Stages(read=read, infer=infer, write=write)


def _encode(values: np.ndarray, kind: str) -> bytes:
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values)
        return buffer.getvalue()
    return render.encode_png(values, bits=16 if kind == "png16" else 8)


def _overlay(config: PredictConfig, image: np.ndarray, values: np.ndarray) -> bytes:
    resized = resize_map(values, (image.shape[0], image.shape[1]))
    return encode_jpeg(render.overlay(image, resized, colormap=config.colormap, alpha=config.alpha))
