"""Score saliency maps against where people looked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvkit.config import EvaluateConfig
from cvkit.data.images import image_size, read_image, read_map, resize_image, resize_map
from cvkit.device import choose_device
from cvkit.engine.scores import ScoreTable, open_scores, write_scores
from cvkit.engine.streaming.stream import prefetch
from cvkit.errors import DataError, UsageError, did_you_mean
from cvkit.intervals import MeanInterval
from cvkit.models.loaded import Request
from cvkit.processes import launched_processes, worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.registry import load_saliency
from cvkit.tasks.saliency.data import baselines, layout
from cvkit.tasks.saliency.data.fixations import Fixations, read_fixations
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.data.map_folder import MapFolder
from cvkit.tasks.saliency.metrics.protocols import PROTOCOLS
from cvkit.tasks.saliency.scoring import EvaluationSample, MapSource, Scorer

MIT_OTHERS = 10  # images that shuffled AUC's negatives come from under mit


@dataclass(frozen=True)
class EvaluateResult:
    """Mean scores with 95 % intervals: {what was scored: {column: interval}}; and what could not be scored."""

    protocol: str
    split: str
    images: int
    failed: list[dict[str, str]]
    scores: dict[str, dict[str, MeanInterval]]
    out: Path | None


_Outcome = EvaluationSample | tuple[Example, DataError]
Failures = list[dict[str, str]]


def evaluate(config: EvaluateConfig, listen: Reporter = ignore) -> EvaluateResult:
    """Score the maps of a folder, or of a checkpoint, on one split of a data set.

    Raises DataError when nothing can be scored, UsageError for a baseline that is none, WeightsError for a checkpoint
    of another kind, OutputError for a folder that holds something else. An image that cannot be scored is listed.
    """
    if launched_processes() is not None:
        raise UsageError("evaluate runs in one process: start it without torchrun or several Slurm tasks.")
    protocol = PROTOCOLS[config.protocol]
    columns = [name for name in protocol.columns if name != "emd" or config.emd]
    out = open_scores(config.out, overwrite=config.overwrite)
    data = layout.read_layout(Path(config.data))
    examples = layout.evaluation_examples(data, config.split)
    _say_what_is_scored(data, examples, config.split, listen)
    source = _from_folder(config, examples) if config.maps else _from_model(config, listen)
    sources: dict[str, MapSource] = {"maps" if config.maps else "model": source}
    mean = _mean_map(config, data, examples, listen)
    baseline = _baseline(config, mean)
    if config.with_baselines:
        sources["centre prior"] = lambda scene: baselines.centre_prior(scene.size)
        if mean is not None:
            sources["mean map"] = mean
    negatives = _negatives(config, examples, listen)
    scorer = Scorer(config, protocol, columns, baseline, negatives, choose_device(config.device))
    tables: dict[str, ScoreTable] = {name: ScoreTable() for name in sources}
    if config.with_baselines:
        tables["inter-observer"] = ScoreTable()
    failed = _score_all(
        examples, _scenes(config, examples), lambda scene: _score_scene(scene, sources, tables, scorer), listen
    )
    tables = {name: table for name, table in tables.items() if table.rows}
    result = EvaluateResult(
        protocol=protocol.name,
        split="all" if config.split == "all" else examples[0].split or "all",
        images=len(examples),
        failed=failed,
        scores={name: table.means(columns) for name, table in tables.items()},
        out=out,
    )
    if out is not None:
        head = {"protocol": result.protocol, "split": result.split, "images": result.images}
        write_scores(out, tables, columns, failed, {**head, "settings": config.as_dict()})
    return result


def _score_all(
    examples: Sequence[Example],
    outcomes: Iterator[_Outcome],
    score: Callable[[EvaluationSample], Failures],
    listen: Reporter,
) -> Failures:
    """Score the images one after the other, and return what could not be scored; DataError when nothing could."""
    failed: Failures = []
    listen(Stage("scoring", len(examples)))
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, EvaluationSample):
            failed += score(outcome)
        else:
            example, error = outcome
            failed.append({"input": str(example.image), "kind": error.kind, "message": str(error)})
        listen(Step(done, {"failed": len(failed)} if failed else {}))
    listen(StageEnd())
    if len(failed) == len(examples):
        raise DataError(f"none of the {len(examples)} images could be scored: {failed[0]['message']}")
    for failure in failed[:5]:
        listen(Note(failure["message"], "warning"))
    if len(failed) > 5:
        listen(Note(f"and {len(failed) - 5} more that could not be scored", "warning"))
    return failed


def _say_what_is_scored(data: layout.Layout, examples: Sequence[Example], split: str | None, listen: Reporter) -> None:
    for kind, names in data.unpaired.items():
        listen(Note(f"left out, {kind}: {len(names)} (such as {names[0]})", "warning"))
    if split is None and examples[0].split not in ("val", "test"):
        listen(Note("no val or test split: all images are scored, those that a model was trained on too", "warning"))


def _score_scene(
    scene: EvaluationSample, sources: dict[str, MapSource], tables: dict[str, ScoreTable], scorer: "Scorer"
) -> Failures:
    """Score one image by every source; when the main source fails, the image is left out of all tables."""
    rows = {}
    for name, source in sources.items():
        try:
            rows[name] = scorer.row(scene, source(scene))
        except DataError as error:
            return [{"input": str(scene.example.image), "kind": error.kind, "message": str(error)}]
    if "inter-observer" in tables and (row := scorer.observers(scene)) is not None:
        rows["inter-observer"] = row
    for name, row in rows.items():
        tables[name].rows.append(row)
    return []


def _scenes(config: EvaluateConfig, examples: Sequence[Example]) -> Iterator[_Outcome]:
    """Yield every image with its truth, read ahead in threads, in order; what cannot be read comes with its error."""

    def read(numbered: tuple[int, Example]) -> _Outcome:
        index, example = numbered
        try:
            size = image_size(example.image, config.max_pixels)
            truth = read_truth(example, size, size, config.sigma_px)
            points = read_fixations(example.fixations) if example.fixations else None
        except DataError as error:
            return example, error
        return EvaluationSample(index, example, size, truth, points)

    return prefetch(read, enumerate(examples), threads=max(2, worker_count(config.workers)))


def _from_model(config: EvaluateConfig, report: Reporter) -> MapSource:
    loaded = load_saliency(Request(name=config.model or "", weights=config.weights, report=report))
    predictor = loaded.to(choose_device(config.device), config.precision)

    def predicted(scene: EvaluationSample) -> np.ndarray:
        image = resize_image(read_image(scene.example.image, config.max_pixels), predictor.size)
        return predictor(image[None], [scene.size])[0].cpu().numpy()

    return predicted


def _from_folder(config: EvaluateConfig, examples: Sequence[Example]) -> MapSource:
    folder = MapFolder(Path(config.maps or ""), examples)
    return lambda scene: folder.read(scene.example, scene.size)


def _mean_map(
    config: EvaluateConfig, data: layout.Layout, examples: Sequence[Example], listen: Reporter
) -> MapSource | None:
    """Return the mean map of the training split; without one, that of the other images scored.

    None when it is not asked for, or when there is no other image to make it of.
    """
    if not (config.with_baselines or config.baseline == "mean"):
        return None
    training = [example for example in data.split("train") if example not in examples]
    mean = baselines.MeanMap()
    listen(Stage("reading maps for the mean", len(training or examples)))

    def read(example: Example) -> np.ndarray | None:
        try:
            size = image_size(example.image, config.max_pixels)
            return read_truth(example, size, size, config.sigma_px).map
        except DataError:
            return None  # the scoring lists it, or it is no part of what is scored

    for done, values in enumerate(prefetch(read, training or examples, threads=2), start=1):
        if values is not None:
            mean.add(values)
        listen(Step(done))
    listen(StageEnd())
    if mean.count < (1 if training else 2):
        return None
    if training:
        return lambda scene: mean.at(scene.size)
    return lambda scene: mean.at(scene.size, without=scene.truth.map)


def _baseline(config: EvaluateConfig, mean: MapSource | None) -> MapSource:
    """Return the map that information gain is measured against: centre, mean, or one map file for all images."""
    if config.baseline == "centre":
        return lambda scene: baselines.centre_prior(scene.size)
    if config.baseline == "mean":
        if mean is None:
            raise DataError(f"{config.data}: a mean map needs a training split, or more than one image.")
        return mean
    path = Path(config.baseline)
    if not path.is_file():
        known = ("centre", "mean")
        raise UsageError(f"--baseline {config.baseline!r} is no file.{did_you_mean(config.baseline, known)}")
    values = read_map(path)
    return lambda scene: resize_map(values, scene.size)


def _negatives(config: EvaluateConfig, examples: Sequence[Example], listen: Reporter) -> baselines.Negatives | None:
    """Gather the fixations of all images, for shuffled AUC; None when an image has none to give."""
    points: list[Fixations] = []
    sizes: list[tuple[int, int]] = []
    for example in examples:
        try:
            if example.fixations is None:
                raise DataError("no fixations")
            points.append(read_fixations(example.fixations))
            sizes.append(image_size(example.image, config.max_pixels))
        except DataError:
            # It keeps its place in the list, and has nothing to give to the others.
            points[len(sizes) :] = [Fixations(np.zeros(0), np.zeros(0))]
            sizes.append((1, 1))
    if not any(len(each) for each in points):
        listen(Note("no fixations here: only the scores against maps can be computed", "warning"))
        return None
    some = config.shuffled_images or (MIT_OTHERS if config.protocol == "mit" else None)
    return baselines.Negatives(points, sizes, max_images=some, seed=config.seed)
