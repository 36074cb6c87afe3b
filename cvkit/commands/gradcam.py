"""Show where in an image a classifier finds a class."""

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit import device as machine
from cvkit import files, render
from cvkit.catalog import TargetLayer
from cvkit.config import GradcamConfig
from cvkit.data.fit import Window, fit_crop, fit_squash, place_map
from cvkit.data.images import read_image
from cvkit.engine.streaming.batch import Batch, BatchResult, find_inputs, inputs_of_shard, run_batch
from cvkit.engine.streaming.ledger import Rows
from cvkit.engine.streaming.notes import read_rows
from cvkit.engine.streaming.stream import Stages, Written
from cvkit.errors import UsageError
from cvkit.intervals import MeanInterval, mean_interval
from cvkit.models.exported.exported import is_exported
from cvkit.models.scaling import min_max
from cvkit.progress import Note, Reporter, ignore
from cvkit.render.jpeg import encode_jpeg
from cvkit.tasks.attribution import METHODS, Explainer
from cvkit.tasks.attribution.faithfulness import Faithfulness, faithfulness
from cvkit.tasks.attribution.target_layer import default_target, named_target
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.columns import CLASS_COLUMNS
from cvkit.tasks.classification.loading import Loaded
from cvkit.tasks.classification.ranking import ranks_of, top_classes
from cvkit.tasks.classification.resolver import find_class

SUFFIXES = {"map": ".map.png", "overlay": ".overlay.jpg", "panel": ".panel.jpg", "npy": ".npy"}
KEPT_BYTES = 12_000_000  # of a photograph that is kept between reading and writing: 4 megapixels
SCORES = tuple(field.name for field in fields(Faithfulness))
TOP = "top"  # what else the ledger keeps of an image: its three most likely classes and those explained


@dataclass(frozen=True)
class GradcamResult:
    """The batch's counts, the target ``layer``, and the mean of each faithfulness score with its interval.

    ``faithfulness`` is None where it was not asked for.
    """

    batch: BatchResult
    layer: str
    faithfulness: dict[str, MeanInterval] | None
    columns: Sequence[str] = field(repr=False)
    inputs: Sequence[files.Input] = field(repr=False)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv`` of this command's inputs, in their order; read from the folder."""
        for row in read_rows(self.batch.folder, self.inputs):
            yield {name: row[name] for name in self.columns}

    def predictions(self) -> Iterator[tuple[str, list[tuple[int, str, float]]]]:
        """Yield each image with its three most likely classes and those explained.

        Of a class it tells the rank, the label (the index where there is none) and the probability.
        """
        for row in read_rows(self.batch.folder, self.inputs):
            if TOP in row:
                yield row["image"], [(rank, label, share) for rank, label, share in row[TOP]]


@dataclass(frozen=True)
class _Photo:
    """An image as the network sees it, where that lies in the photograph, and the photograph; None is read again."""

    pixels: Tensor
    window: Window
    whole: np.ndarray | None


@dataclass(frozen=True)
class _Seen:
    """One class explained: its place among the predictions, and its map at the grid of the method."""

    rank: int
    class_index: int
    probability: float
    values: np.ndarray
    scores: Faithfulness | None


@dataclass(frozen=True)
class _Answer:
    top: list[tuple[int, str, float]]
    seen: list[_Seen]


def gradcam(config: GradcamConfig, listen: Reporter = ignore, stdin: Iterable[str] | None = None) -> GradcamResult:
    """Explain every input for the classes asked for, and write maps, overlays and panels into the result folder.

    Raises DataError when no input is found, UsageError for an unknown model, layer, class or method, WeightsError for
    weights that cannot be had or do not fit, OutputError for a folder that holds something else or a full disk, and
    StoppedBySignal after a drain. A bad image is a row of ``failures.csv``.
    """
    inputs = find_inputs(config, stdin)
    render.colour_map(config.colormap)  # an unknown name is refused before any work
    if is_exported(config.model) or is_exported(config.weights):
        raise UsageError("gradcam needs gradients, which an exported file does not give: name the network itself.")
    loaded = loading.load(config.model, config.weights, config.labels, lambda text: listen(Note(text)))
    pick = _pick(config, loaded)
    target = find_target(config, loaded)
    share = machine.share_out(config)
    classifier, precision = loading.open_on(loaded, config.precision, share.device)
    explainer = Explainer(
        classifier.module, target, method=config.method, smooth=config.smooth, autocast=classifier.autocast
    )
    if loaded.note:
        listen(Note(loaded.note))
    batch = Batch(
        command="gradcam",
        folder=Path(config.folder),
        identity=_identity(config, loaded, target, precision),
        columns=[*CLASS_COLUMNS, *config.save, *(SCORES if config.faithfulness else ())],
        details=loaded.details,
        report=lambda rows: _report(config, rows),
        # What takes long for one image goes image by image: a signal is heeded in between.
        usual_size=1 if config.faithfulness or METHODS[config.method].needs == "scores" else None,
    )
    at = "" if config.method == "guided-backprop" else f" at {_layer_name(target)}, {target.grid[0]}x{target.grid[1]}"
    listen(Note(f"{loaded.facts.name}, {config.method}{at}"))
    result = run_batch(config, batch, inputs, _stages(config, classifier, explainer, pick), share, listen)
    means = None
    if config.faithfulness and machine.is_main_process():
        means = _means(read_rows(result.folder, inputs))
    return GradcamResult(result, _layer_name(target), means, batch.columns, inputs_of_shard(config, inputs))


def find_target(config: GradcamConfig, loaded: Loaded) -> TargetLayer:
    """Return the layer whose activation is explained: the one named, or the model's own."""
    height, width = loaded.facts.preprocessing.crop
    build = loading.blueprint(loaded.facts.name, loaded.facts.num_classes)
    shape = (1, 3, height, width)
    if config.layer is not None:
        return named_target(build, shape, config.layer)
    return default_target(build, shape, loaded.facts.num_classes)


def _pick(config: GradcamConfig, loaded: Loaded) -> Callable[[Tensor], Tensor]:
    """Return what chooses the classes to explain from (N, classes) logits: (N, K) int64."""
    facts = loaded.facts
    if config.classes:
        wanted = [
            find_class(word, facts.labels, facts.class_ids, num_classes=facts.num_classes, source="--class")
            for word in config.classes
        ]
        fixed = torch.tensor(list(dict.fromkeys(wanted)))
        return lambda logits: fixed.to(logits.device).expand(len(logits), -1)
    if config.rank[-1] > facts.num_classes:
        raise UsageError(f"--rank {config.rank[-1]}: {facts.model} has {facts.num_classes} classes.")
    places = torch.tensor(config.rank) - 1
    return lambda logits: top_classes(logits, config.rank[-1])[:, places.to(logits.device)]


def _identity(config: GradcamConfig, loaded: Loaded, target: TargetLayer, precision: str) -> dict[str, Any]:
    names = ("rank", "classes", "fit", "method", "smooth", "save", "format", "colormap", "alpha", "faithfulness")
    asked = {name: getattr(config, name) for name in names}
    if config.classes:
        asked.pop("rank")
    return loaded.identity | {"precision": precision, "layer": _layer_name(target)} | asked


def _layer_name(target: TargetLayer) -> str:
    return f"{target.name}+relu" if target.relu else target.name


def _stages(
    config: GradcamConfig, classifier: Classifier, explainer: Explainer, pick: Callable[[Tensor], Tensor]
) -> Stages[_Photo, _Answer]:
    fit = fit_crop if config.fit == "crop" else fit_squash

    def read(item: files.Input) -> _Photo:
        whole = read_image(item.path, config.max_pixels)
        # Dozens of photographs wait at a time: large ones are rather decoded twice than kept.
        return _Photo(*fit(whole, classifier.preprocessing), whole if whole.size <= KEPT_BYTES else None)

    def infer(batch: list[_Photo]) -> list[_Answer]:
        images = classifier.normalise(torch.stack([photo.pixels for photo in batch]))
        found = explainer(images, pick)
        shares = found.logits.softmax(1)
        order = top_classes(found.logits, 3).tolist()
        maps = found.maps.cpu().numpy()
        answers = []
        for place, image in enumerate(images):
            seen = []
            for k, index in enumerate(found.classes[place].tolist()):
                rank = int(ranks_of(found.logits[place : place + 1], found.classes[place, k : k + 1]))
                scores = _judge(classifier, image, found.maps[place, k], index) if config.faithfulness else None
                seen.append(_Seen(rank, index, float(shares[place, index]), maps[place, k], scores))
            named = dict(enumerate(order[place], start=1)) | {one.rank: one.class_index for one in seen}
            top = [
                (rank, classifier.label(index) or str(index), float(shares[place, index]))
                for rank, index in sorted(named.items())
            ]
            answers.append(_Answer(top, seen))
        return answers

    def write(item: files.Input, photo: _Photo, answer: _Answer) -> Written:
        if photo.whole is None:
            photo = replace(photo, whole=read_image(item.path, config.max_pixels))
        written: list[Path] = []
        rows = []
        for seen in answer.seen:
            row = {"image": item.name, "rank": seen.rank, **classifier.name_class(seen.class_index)}
            row["probability"] = seen.probability
            saved = _save(config, item, photo, seen, classifier.label(seen.class_index))
            row |= {kind: path.relative_to(config.folder).as_posix() for kind, path in saved.items()}
            row |= asdict(seen.scores) if seen.scores else {}
            rows.append(row)
            written += saved.values()
        rows[0][TOP] = answer.top
        return Written(rows, written)

    return Stages(read=read, infer=infer, write=write)


def _save(config: GradcamConfig, item: files.Input, photo: _Photo, seen: _Seen, label: str) -> dict[str, Path]:
    """Write the files asked for of one class, and return them by kind."""
    assert photo.whole is not None
    values = place_map(seen.values, photo.window, (photo.whole.shape[0], photo.whole.shape[1]))
    which = f"class{seen.class_index}" if config.classes else f"rank{seen.rank}"
    saved = {}
    for kind in config.save:
        path = Path(config.folder) / f"{item.stem}.{which}{SUFFIXES[kind]}"
        files.write_atomic(path, _encode(config, kind, photo, values, _caption(seen, label, values)))
        saved[kind] = path
    return saved


def _encode(config: GradcamConfig, kind: str, photo: _Photo, values: np.ndarray, caption: str) -> bytes:
    assert photo.whole is not None
    box, look = photo.window.box, (config.colormap, config.alpha)
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values)
        return buffer.getvalue()
    if kind == "panel":
        return encode_jpeg(render.heat_panel(photo.whole, values, box, words=(config.method, caption), look=look))
    if kind == "overlay":
        return encode_jpeg(render.heat_overlay(photo.whole, values, box, colormap=look[0], alpha=look[1]))
    if config.format == "colour":
        return render.encode_png(render.colourise(values, config.colormap))
    return render.encode_png(values, bits=16 if config.format == "png16" else 8)


def _caption(seen: _Seen, label: str, values: np.ndarray) -> str:
    """Return the words below a panel; what matters comes first, since a long label is cut."""
    name = label or f"class {seen.class_index}"
    empty = "(the map is empty) " if not values.any() else ""
    share = f"{seen.probability:.1%}" if seen.probability >= 0.0005 else "below 0.1%"
    return f"rank {seen.rank}, {share}: {empty}{name}"


def _judge(classifier: Classifier, image: Tensor, values: Tensor, index: int) -> Faithfulness:
    heat = min_max(F.interpolate(values[None, None], size=image.shape[1:], mode="bilinear", align_corners=False))

    def score(images: Tensor) -> Tensor:
        with torch.inference_mode(), classifier.autocast():
            return classifier.module(images.contiguous(memory_format=classifier.layout)).float().softmax(1)[:, index]

    return faithfulness(image, heat[0, 0], score)


def _means(rows: Iterable[dict[str, Any]]) -> dict[str, MeanInterval]:
    scores = torch.tensor([[row[name] for name in SCORES] for row in rows], dtype=torch.float64).view(-1, len(SCORES))
    return {name: mean_interval(scores[:, place]) for place, name in enumerate(SCORES)}


def _report(config: GradcamConfig, rows: Rows) -> None:
    """Write the means of the faithfulness scores of all images in the folder."""
    if config.faithfulness:
        plain = {
            name: {part: None if math.isnan(value) else value for part, value in asdict(mean).items()}
            for name, mean in _means(rows()).items()
        }
        files.write_json(Path(config.folder) / "faithfulness.json", plain)
