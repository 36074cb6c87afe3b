"""The data set, the maps to score, the baselines, and the fixations of other images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvkit.config import EvaluateConfig
from cvkit.data.images import image_size, read_image, read_map, resize_image, resize_map
from cvkit.device import choose_device
from cvkit.engine.streaming.stream import prefetch
from cvkit.errors import DataError, UsageError
from cvkit.messages import did_you_mean
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.data.source import read_every_split
from cvkit.tasks.registry import FoundModel, open_runner
from cvkit.tasks.saliency.data import baselines, layout
from cvkit.tasks.saliency.data.fixations import Fixations, read_fixations
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.data.map_folder import MapFolder
from cvkit.tasks.saliency.maps import check_map
from cvkit.tasks.saliency.predictor import SaliencyPredictor
from cvkit.tasks.saliency.scoring import EvaluationSample, MapSource

MIT_NEGATIVE_IMAGES = 10  # images whose fixations are the negatives of shuffled AUC in the MIT protocol


def read_fixation_data(config: EvaluateConfig) -> layout.Layout:
    """Find the images of the data set with their maps and fixations.

    Raises:
        DataError: If there are none. The message says so if the images are in class folders, for classifiers.
    """
    try:
        return layout.read_layout(Path(config.data), (config.split,))
    except DataError as error:
        if not _is_labelled(config):
            raise
        scored = "--maps names saliency maps" if config.model is None else f"{config.model} is a saliency network"
        raise DataError(
            f"{config.data} has images with classes, for a classifier, but {scored}: name a data set with maps or "
            "fixations, or a classifier with --model."
        ) from error


def _is_labelled(config: EvaluateConfig) -> bool:
    """Return whether a data set without usable maps or fixations has classes."""
    try:
        classes = read_every_split(config.data).classes
    except DataError:
        return False
    return not {*layout.IMAGE_FOLDERS, *layout.MAP_FOLDERS, *layout.FIXATION_FOLDERS} & set(classes)


def maps_of_model(config: EvaluateConfig, model: FoundModel, images: int, report: Reporter) -> MapSource:
    """Return the maps that a model predicts.

    Args:
        config: The settings.
        model: The model.
        images: Number of images to score.
        report: Receives notes about the model.

    Raises:
        WeightsError: If the model cannot be loaded.
    """
    predictor = open_runner(model.load(), config, choose_device(config.device), images, report)
    assert isinstance(predictor, SaliencyPredictor)

    def predict(sample: EvaluationSample) -> np.ndarray:
        image = resize_image(read_image(sample.example.image, config.max_pixels), predictor.size)
        values = predictor(image[None], [sample.size])[0].cpu().numpy()
        check_map(values)
        return values

    return predict


def maps_of_folder(config: EvaluateConfig, examples: Sequence[Example]) -> MapSource:
    """Return the maps of a folder, matched to the images by stem."""
    folder = MapFolder(Path(config.maps or ""), examples)
    return lambda sample: folder.read(sample.example, sample.size)


def make_mean_map(
    config: EvaluateConfig, data: layout.Layout, examples: Sequence[Example], report: Reporter
) -> MapSource | None:
    """Return the mean map of the training split, or of the other scored images if there is no training split.

    None if it is not needed, or if there is no other image.
    """
    if not (config.with_baselines or config.baseline == "mean"):
        return None
    training = [example for example in data.split("train") if example not in examples]
    mean = baselines.MeanMap()
    report(Stage("reading maps for the mean", len(training or examples)))

    def read(example: Example) -> np.ndarray | None:
        try:
            size = image_size(example.image, config.max_pixels)
            return read_truth(example, size, size, config.sigma_px).map
        except DataError:
            return None  # scoring lists it, or it is not scored

    for done, values in enumerate(prefetch(read, training or examples, threads=2), start=1):
        if values is not None:
            mean.add(values)
        report(Step(done))
    report(StageEnd())
    if mean.count < (1 if training else 2):
        return None
    if training:
        return lambda sample: mean.at(sample.size)
    return lambda sample: mean.at(sample.size, without=sample.truth.map)


def choose_baseline(config: EvaluateConfig, mean: MapSource | None) -> MapSource:
    """Return the map that information gain is measured against.

    Raises:
        DataError: If the mean map is requested but there is no image for it.
        UsageError: If the baseline is neither a word nor a file.
    """
    if config.baseline == "centre":
        return lambda sample: baselines.centre_prior(sample.size)
    if config.baseline == "mean":
        if mean is None:
            raise DataError(f"{config.data}: a mean map needs a training split, or more than one image.")
        return mean
    path = Path(config.baseline)
    if not path.is_file():
        words = ("centre", "mean")
        raise UsageError(f"--baseline {config.baseline!r} is no file.{did_you_mean(config.baseline, words)}")
    values = read_map(path)
    return lambda sample: resize_map(values, sample.size)


def collect_negatives(
    config: EvaluateConfig, examples: Sequence[Example], report: Reporter
) -> baselines.Negatives | None:
    """Collect the fixations of all images for shuffled AUC; None if no image has fixations."""
    points: list[Fixations] = []
    sizes: list[tuple[int, int]] = []
    for example in examples:
        try:
            if example.fixations is None:
                raise DataError("no fixations")
            points.append(read_fixations(example.fixations))
            sizes.append(image_size(example.image, config.max_pixels))
        except DataError:
            # The image keeps its position in the list, without fixations for the others.
            points[len(sizes) :] = [Fixations(np.zeros(0), np.zeros(0))]
            sizes.append((1, 1))
    if not any(len(each) for each in points):
        report(Note("no fixations in the data: only the scores against maps can be computed", "warning"))
        return None
    limit = config.shuffled_images or (MIT_NEGATIVE_IMAGES if config.protocol == "mit" else None)
    return baselines.Negatives(points, sizes, max_images=limit, seed=config.seed)
