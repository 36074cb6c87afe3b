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
from cvkit.device import autocast_dtype, choose_precision
from cvkit.engine import checkpoint
from cvkit.engine.distributed import assign_process
from cvkit.engine.streaming.batch import BatchJob, BatchResult, command_inputs, run_batch
from cvkit.engine.streaming.stream import Stages, WriteResult
from cvkit.inputs import Input
from cvkit.models.exported.exported import is_exported, read_facts
from cvkit.progress import Reporter, ignore
from cvkit.render.jpeg import encode_jpeg
from cvkit.tasks.saliency.predictor import SaliencyPredictor

SUFFIX = {"png": ".png", "png16": ".png", "npy": ".npy"}


@dataclass(frozen=True)
class _Photo:
    """An image as read: at the network's size, with its own size, and whole when an overlay needs it."""

    small: Tensor
    size: tuple[int, int]
    whole: np.ndarray | None


def predict(config: PredictConfig, listen: Reporter = ignore, stdin: Iterable[str] | None = None) -> BatchResult:
    """Send every input through a trained saliency network and write its map into the result folder.

    Raises DataError when no input is found, WeightsError for a checkpoint of another kind, OutputError for a folder
    that holds something else or a full disk, and StoppedBySignal after a drain. A bad image is a row of
    ``failures.csv``.
    """
    inputs = command_inputs(config, stdin)
    path = checkpoint.find(config.model)
    if config.overlay:
        render.colour_map(config.colormap)  # an unknown name is refused before any work
    share = assign_process(config)
    precision = choose_precision(config.precision, share.device)
    predictor, model = _open(path, share.device, autocast_dtype(precision) or torch.float32)
    batch = BatchJob(
        command="predict",
        folder=Path(config.out),
        identity=_identity(config, files.sha256(path), precision),
        columns=_columns(config),
        details={"model": model, "checkpoint": str(path)},
    )
    return run_batch(config, batch, inputs, _stages(config, predictor), share, listen)


def _open(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[SaliencyPredictor, dict[str, Any]]:
    """Return the predictor of a checkpoint or of an exported file, and what describes its network."""
    if is_exported(str(path)):
        predictor = SaliencyPredictor.from_exported(path, device=device)
        return predictor, read_facts(path).spec
    card = checkpoint.load(path, "saliency")
    return SaliencyPredictor.from_metadata(card, device=device, dtype=dtype), card["spec"]


def _identity(config: PredictConfig, weights: str, precision: str) -> dict[str, Any]:
    """Return what the files depend on: a folder keeps to one set of it."""
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


def _stages(config: PredictConfig, predictor: SaliencyPredictor) -> Stages[_Photo, np.ndarray]:
    folder = Path(config.out)

    def read(item: Input) -> _Photo:
        image = read_image(item.path, config.max_pixels)
        whole = image if config.overlay else None
        return _Photo(resize_image(image, predictor.size), (image.shape[0], image.shape[1]), whole)

    def infer(batch: list[_Photo]) -> list[np.ndarray]:
        images = torch.stack([photo.small for photo in batch])
        sizes = [config.size or photo.size for photo in batch]
        return [values.cpu().numpy() for values in predictor(images, sizes, config.blur_px)]

    def write(item: Input, photo: _Photo, values: np.ndarray) -> WriteResult:
        target = folder / f"{item.stem}{SUFFIX[config.format]}"
        files.write_atomic(target, _encode(values, config.format))
        row: dict[str, Any] = {"image": item.name, "map": target.relative_to(folder).as_posix()}
        row |= {"width": photo.size[1], "height": photo.size[0]}
        written = [target]
        if photo.whole is not None:
            laid = folder / f"{item.stem}.overlay.jpg"
            files.write_atomic(laid, _overlay(config, photo.whole, values))
            row["overlay"] = laid.relative_to(folder).as_posix()
            written.append(laid)
        return WriteResult([row], written)

    return Stages(read=read, infer=infer, write=write)


def _encode(values: np.ndarray, kind: str) -> bytes:
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values)
        return buffer.getvalue()
    return render.encode_png(values, bits=16 if kind == "png16" else 8)


def _overlay(config: PredictConfig, image: np.ndarray, values: np.ndarray) -> bytes:
    laid = render.overlay(
        image, resize_map(values, (image.shape[0], image.shape[1])), colormap=config.colormap, alpha=config.alpha
    )
    return encode_jpeg(laid)
