"""Measure the accuracy of a classifier under the preprocessings with which its weights may have been trained."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.config import CheckModelConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.device import choose_device
from cvkit.errors import DataError, UsageError
from cvkit.inputs import Input, find_inputs
from cvkit.intervals import Proportion, proportion
from cvkit.messages import counted
from cvkit.models.loaded import Request
from cvkit.models.published.overrides import crop_fraction
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.classification.selection import Score, select_best
from cvkit.tasks.classification.truth import FOLDERS, read_truth
from cvkit.tasks.classification.variants import Variant, base_variant, distinct, options_of, stages
from cvkit.tasks.registry import find_file, load_classifier

BATCH_SIZE = 32
READERS = 4  # threads that read images, if --workers gives no number


@dataclass(frozen=True, kw_only=True)
class CheckedVariant:
    """The accuracy of a classifier under one preprocessing.

    Attributes:
        mean: Mean of the normalisation per channel.
        std: Standard deviation of the normalisation per channel.
        input_size: (height, width) of the network's input in pixels.
        interpolation: Interpolation of the resizing.
        crop_pct: Size of the crop as a fraction of the resized image.
        crop_mode: Crop mode of timm.
        model_args: Arguments of the network that options set.
        top1: Fraction of the images whose most likely class is the true one, with its Wilson interval.
        loss: Mean cross entropy in nats; the smaller of equal accuracies ranks first. NaN if it is not finite.
        default: Whether this is what a command uses without further options.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: tuple[int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    model_args: tuple[str, ...]
    top1: Proportion
    loss: float
    default: bool


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The preprocessings that were tried, the most accurate first.

    Attributes:
        model: Name of the model as it was given.
        weights: Path of the weights file.
        images: Number of images that were classified.
        available: Number of images in the folder.
        failed: Images that could not be read.
        variants: The preprocessings.
        best: Index of the one to use: that of the smallest loss among those whose accuracy does not differ
            significantly (McNemar's exact test, 5 %) from the highest one.
        options: Options that select it; empty if none is needed.
        seconds: Duration.
    """

    model: str
    weights: str
    images: int
    available: int
    failed: tuple[str, ...]
    variants: tuple[CheckedVariant, ...]
    best: int
    options: tuple[str, ...]
    seconds: float


def check_model(config: CheckModelConfig, report: Reporter = ignore) -> CheckResult:
    """Measure top-1 accuracies, one group of settings after the other, each with the best of the groups before.

    Raises:
        UsageError: If the model is unknown, or is a file that has its own preprocessing.
        WeightsError: If the weights are not available or do not fit.
        DataError: If there are no images, or their true classes are not known.
    """
    started = time.monotonic()
    if find_file(config.model) is not None:
        raise UsageError(
            f"{config.model} has its own preprocessing: `cvkit models check` is for classifiers of torchvision and "
            "timm by name, with --weights FILE."
        )
    checker = _Checker(config, report)
    base = base_variant(checker.loaded, config)
    scores: dict[Variant, Score] = {}
    best = base
    for name, changes in stages(checker.loaded, config):
        new = distinct((best.changed(**change) if change else best for change in changes), scores)
        scores |= checker.measure(name, new)
        best = select_best(scores)
    ranked = sorted(scores, key=lambda variant: scores[variant].order, reverse=True)
    return CheckResult(
        model=config.model,
        weights=checker.loaded.file,
        images=len(scores[best].correct),
        available=checker.available,
        failed=tuple(sorted(checker.failed)),
        variants=tuple(_describe(variant, scores[variant], variant == base) for variant in ranked),
        best=ranked.index(best),
        options=tuple(options_of(best.options, base.options, config)),
        seconds=time.monotonic() - started,
    )


def _describe(variant: Variant, score: Score, default: bool) -> CheckedVariant:
    steps, options = variant.preprocessing, variant.options
    return CheckedVariant(
        mean=steps.mean,
        std=steps.std,
        input_size=steps.crop,
        interpolation=steps.interpolation,
        crop_pct=options.crop_pct or float(crop_fraction(steps)),
        crop_mode=steps.mode,
        model_args=options.model_arg,
        top1=proportion(sum(score.correct), len(score.correct)),
        loss=score.loss if math.isfinite(score.loss) else math.nan,
        default=default,
    )


class _Checker:
    """The classifier, its variants and the labelled images.

    Attributes:
        loaded: The classifier as a command would use it.
        available: Number of images in the folder.
        failed: Names of the images that could not be read.
    """

    def __init__(self, config: CheckModelConfig, report: Reporter) -> None:
        self.failed: set[str] = set()
        self._config, self._report = config, report
        self._device = choose_device(config.device)
        inputs = find_inputs([config.data])
        self.available = len(inputs)
        self.loaded = self._load(config.model_arg)
        self._networks = {config.model_arg: self.loaded.to(self._device, config.precision)}
        self._images = self._label(inputs)

    def measure(self, name: str, variants: Sequence[Variant]) -> dict[Variant, Score]:
        """Classify all images with each variant; variants of equal pixels share the decoded images."""
        groups: dict[Any, list[Variant]] = {}
        for variant in variants:
            steps = replace(variant.preprocessing, mean=(0.0,) * 3, std=(1.0,) * 3)
            groups.setdefault((steps, variant.preprocessing.fill), []).append(variant)
        scores: dict[Variant, Score] = {}
        done = 0
        if variants:
            self._report(Stage(f"trying {name}", len(self._images) * len(variants)))
        for group in groups.values():
            classifiers = [self._classifier(variant) for variant in group]
            correct: list[list[bool]] = [[] for _ in group]
            losses = [0.0] * len(group)
            for pixels, true in self._batches(group[0]):
                for number, classifier in enumerate(classifiers):
                    logits = classifier.logits(pixels).cpu()
                    correct[number] += (logits.argmax(1) == true).tolist()
                    losses[number] += float(F.cross_entropy(logits.double(), true, reduction="sum"))
                done += len(true) * len(group)
                self._report(Step(done))
            scores |= {
                variant: Score(correct=tuple(hits), loss=loss / len(hits) if math.isfinite(loss) else math.inf)
                for variant, hits, loss in zip(group, correct, losses, strict=True)
                if hits
            }
        if variants:
            self._report(StageEnd())
            if not scores:
                raise DataError(f"{self._config.data}: none of its images can be read.")
        return scores

    def _load(self, arguments: tuple[str, ...]) -> LoadedClassifier:
        config = self._config
        return load_classifier(
            Request(
                name=config.model,
                weights=config.weights,
                labels=config.labels,
                options=replace(config, model_arg=arguments),
                report=self._report,
            )
        )

    def _classifier(self, variant: Variant) -> Classifier:
        arguments = variant.options.model_arg
        if arguments not in self._networks:
            self._networks[arguments] = self._load(arguments).to(self._device, self._config.precision)
        ready = self._networks[arguments]
        facts = replace(ready.facts, preprocessing=variant.preprocessing)
        return Classifier(ready.network, facts, device=ready.device, dtype=ready.dtype)

    def _label(self, inputs: list[Input]) -> list[tuple[Input, int]]:
        """Return the images that are used, with their true classes."""
        config, facts = self._config, self.loaded.facts
        labels = facts.labels
        if config.truth == FOLDERS and not labels:
            folders = sorted({item.path.parent.name for item in inputs})
            if len(folders) == facts.num_classes:  # the order in which torchvision and timm number class folders
                labels = tuple(folders)
                self._report(Note("the class names are unknown: classes are numbered in the order of their folders"))
        truth = read_truth(config.truth, labels, facts.class_ids, facts.num_classes)
        step = max(1.0, len(inputs) / config.limit)
        used = [inputs[int(number * step)] for number in range(min(config.limit, len(inputs)))]
        known = [(item, true) for item in used if (true := truth.class_of(item)) is not None]
        if not known:
            raise DataError(f"--truth {config.truth} names none of the images in {config.data}.")
        self._report(Note(f"{counted(len(known), 'image')} of {len(inputs)} in {config.data} are used (--limit)"))
        return known

    def _batches(self, variant: Variant) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield uint8 images and their true classes; threads read the next batch meanwhile."""
        size = self._config.batch_size or BATCH_SIZE

        def read(item: Input) -> Tensor:
            return fit_crop(read_image(item.path, self._config.max_pixels), variant.preprocessing)[0]

        parts = [self._images[start : start + size] for start in range(0, len(self._images), size)]
        workers = READERS if self._config.workers is None else max(1, self._config.workers)
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(read, item) for item, _ in parts[0]]
            for number in range(len(parts)):
                following = parts[number + 1] if number + 1 < len(parts) else []
                ready, waiting = waiting, [pool.submit(read, item) for item, _ in following]
                rows = [
                    (pixels, true)
                    for job, (item, true) in zip(ready, parts[number], strict=True)
                    if (pixels := self._result(job, item)) is not None
                ]
                if rows:
                    yield torch.stack([pixels for pixels, _ in rows]), torch.tensor([true for _, true in rows])

    def _result(self, job: "Future[Tensor]", item: Input) -> Tensor | None:
        """Return the pixels of an image; None if it cannot be read."""
        try:
            return job.result()
        except DataError as error:
            if item.name not in self.failed:
                self.failed.add(item.name)
                self._report(Note(f"{item.name} is left out: {error}", level="warning"))
            return None
