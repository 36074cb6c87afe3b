"""Score saliency maps or a saliency network against eye fixations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvkit.commands.evaluate.failures import Failures, describe_failure, report_failures
from cvkit.commands.evaluate.sources import (
    choose_baseline,
    collect_negatives,
    make_mean_map,
    maps_of_folder,
    maps_of_model,
    read_fixation_data,
)
from cvkit.config import EvaluateConfig
from cvkit.config.evaluation import CLASSIFIER_FIELDS
from cvkit.data.images import image_size
from cvkit.data.splits import describe_splits
from cvkit.device import choose_device
from cvkit.engine.scores import ScoreTable, write_scores
from cvkit.engine.streaming.stream import prefetch
from cvkit.errors import DataError
from cvkit.intervals import MeanInterval
from cvkit.processes import thread_count, worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.registry import FoundModel
from cvkit.tasks.saliency.data import baselines, layout
from cvkit.tasks.saliency.data.fixations import read_fixations
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.data.selection import ScoredExamples, evaluation_examples
from cvkit.tasks.saliency.metrics.protocols import PROTOCOLS
from cvkit.tasks.saliency.scoring import EvaluationSample, MapSource, Scorer

MAPS, MODEL, OBSERVERS = "maps", "model", "inter-observer"  # names of tables


@dataclass(frozen=True)
class SaliencyResult:
    """Mean scores with 95 % intervals, and the images that could not be scored.

    Attributes:
        protocol: Conventions of the scores.
        split: Name of the scored split.
        images: Number of images in it.
        failed: Input, kind and message of each failure.
        scores: Intervals by source of the maps and by column.
        out: Folder of the scores; None if none was written.
    """

    protocol: str
    split: str
    images: int
    failed: list[dict[str, str]]
    scores: dict[str, dict[str, MeanInterval]]
    out: Path | None


Outcome = EvaluationSample | tuple[Example, DataError]
_Task = tuple[Outcome, np.ndarray | None]  # an image to score, and the map of the model
_Rows = dict[str, dict[str, Any]]  # the row of an image by source


def evaluate_saliency(
    config: EvaluateConfig, model: FoundModel | None, out: Path | None, report: Reporter
) -> SaliencyResult:
    """Score the maps of a folder or of a saliency network on one split of a data set.

    Args:
        config: The settings.
        model: The network; None scores the maps of ``config.maps``.
        out: Folder to write; None writes nothing.
        report: Receives progress and notes.

    Raises:
        DataError: If no image can be scored.
        UsageError: If the baseline is unknown, or an option is for classifiers.
        WeightsError: If the model cannot be loaded.
    """
    if model is not None:
        config.reject(CLASSIFIER_FIELDS, f"{config.model} is a saliency network")
    columns = [name for name in PROTOCOLS[config.protocol].columns if name != "emd" or config.emd]
    data = read_fixation_data(config)
    scored = evaluation_examples(data, config.split)
    examples = scored.examples
    _report_data(data, scored, report)
    maps = (
        {MAPS: maps_of_folder(config, examples)}
        if model is None
        else {MODEL: maps_of_model(config, model, len(examples), report)}
    )
    mean = make_mean_map(config, data, examples, report)
    scorer = _make_scorer(config, columns, examples, mean, report)
    tables, failed = _score_all(config, examples, {**maps, **_baselines(config, mean)}, scorer, report)
    scores = {name: table.means(columns) for name, table in tables.items()}
    result = SaliencyResult(config.protocol, scored.name, len(examples), failed, scores, out)
    if out is not None:
        head = {"protocol": result.protocol, "split": result.split, "images": result.images}
        settings = config.settings_without(CLASSIFIER_FIELDS)
        write_scores(out, "evaluate", tables, columns, failed, {**head, "settings": settings})
    return result


def _make_scorer(
    config: EvaluateConfig, columns: list[str], examples: Sequence[Example], mean: MapSource | None, report: Reporter
) -> Scorer:
    return Scorer(
        config,
        PROTOCOLS[config.protocol],
        columns,
        choose_baseline(config, mean),
        collect_negatives(config, examples, report),
        choose_device(config.device),
    )


def _report_data(data: layout.Layout, scored: ScoredExamples, report: Reporter) -> None:
    """Report the splits, unpaired files, and scores that include training images."""
    for kind, names in data.unpaired.items():
        report(Note(f"left out, {kind}: {len(names)} (such as {names[0]})", "warning"))
    report(Note(f"splits: {describe_splits(data.counts())}; scored: {scored.name}"))
    if scored.warning:
        report(Note(scored.warning, "warning"))


def _baselines(config: EvaluateConfig, mean: MapSource | None) -> dict[str, MapSource]:
    """Return the baselines that are scored beside the maps."""
    if not config.with_baselines:
        return {}
    centre: dict[str, MapSource] = {"centre prior": lambda sample: baselines.centre_prior(sample.size)}
    return centre | ({"mean map": mean} if mean is not None else {})


def _score_all(
    config: EvaluateConfig,
    examples: Sequence[Example],
    sources: dict[str, MapSource],
    scorer: Scorer,
    report: Reporter,
) -> tuple[dict[str, ScoreTable], Failures]:
    """Score the images, several at a time; return the tables that have rows, and the failures.

    Raises:
        DataError: If no image could be scored.
    """
    tables = {name: ScoreTable() for name in (*sources, *([OBSERVERS] if config.with_baselines else []))}
    failed: Failures = []
    report(Stage("scoring", len(examples)))

    def score(task: _Task) -> _Rows | tuple[Example, DataError]:
        return _score_image(task, sources, scorer, observers=config.with_baselines)

    tasks = _prepare(_read_samples(config, examples), sources)
    for done, scored in enumerate(prefetch(score, tasks, threads=thread_count(config.workers)), start=1):
        if isinstance(scored, tuple):
            failed.append(describe_failure(scored[0].image, scored[1]))
        else:
            for name, row in scored.items():
                tables[name].rows.append(row)
        report(Step(done, {"failed": len(failed)} if failed else {}))
    report(StageEnd())
    report_failures(failed, len(examples), report)
    return {name: table for name, table in tables.items() if table.rows}, failed


def _prepare(outcomes: Iterator[Outcome], sources: dict[str, MapSource]) -> Iterator[_Task]:
    """Yield each image with the map of the model, which the calling thread computes, or with the error."""
    model = sources.get(MODEL)
    for outcome in outcomes:
        if model is None or not isinstance(outcome, EvaluationSample):
            yield outcome, None
            continue
        try:
            yield outcome, model(outcome)
        except DataError as error:
            yield (outcome.example, error), None


def _score_image(
    task: _Task, sources: dict[str, MapSource], scorer: Scorer, *, observers: bool
) -> _Rows | tuple[Example, DataError]:
    """Return the row of every source, or the error of the first that fails: the image is then left out of all tables.

    Threads of a pool call this.
    """
    sample, predicted = task
    if not isinstance(sample, EvaluationSample):
        return sample
    rows = {}
    for name, source in sources.items():
        try:
            rows[name] = scorer.row(sample, source(sample) if name != MODEL or predicted is None else predicted)
        except DataError as error:
            return sample.example, error
    if observers and (row := scorer.observers(sample)) is not None:
        rows[OBSERVERS] = row
    return rows


def _read_samples(config: EvaluateConfig, examples: Sequence[Example]) -> Iterator[Outcome]:
    """Yield every image with its ground truth in order, or with the error of reading it; threads read ahead."""

    def read(numbered: tuple[int, Example]) -> Outcome:
        index, example = numbered
        try:
            size = image_size(example.image, config.max_pixels)
            truth = read_truth(example, size, size, config.sigma_px)
            points = read_fixations(example.fixations) if example.fixations else None
        except DataError as error:
            return example, error
        return EvaluationSample(index, example, size, truth, points)

    return prefetch(read, enumerate(examples), threads=max(2, worker_count(config.workers)))
