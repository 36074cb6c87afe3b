"""Explain the decision of a classifier for every image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvkit import render
from cvkit.catalog import TargetLayer
from cvkit.commands.gradcam.explaining import TOP, ImageExplainer, choose_classes
from cvkit.commands.gradcam.network import find_target, layer_name, open_explainer
from cvkit.config import GradcamConfig
from cvkit.engine.distributed import assign_process
from cvkit.engine.streaming.batch import BatchJob, BatchResult, command_inputs, inputs_of_shard, run_batch
from cvkit.engine.streaming.stream import Stages
from cvkit.errors import UsageError
from cvkit.inputs import Input
from cvkit.intervals import MeanInterval
from cvkit.models.loaded import Request
from cvkit.processes import is_main_process
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.attribution import METHODS, Explainer
from cvkit.tasks.attribution.reports import SCORES, mean_scores, write_mean_scores
from cvkit.tasks.classification.columns import CLASS_COLUMNS
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.registry import load_classifier

Prediction = tuple[int, str, float]  # rank, label or index of a class, probability

NO_GRADIENTS = "gradcam needs gradients: use the network or a .safetensors file, not an exported graph."


@dataclass(frozen=True)
class GradcamResult:
    """The counts of the batch, the target layer, and the mean faithfulness scores.

    Attributes:
        batch: Counts, folder and speed.
        layer: Name of the target layer.
        faithfulness: Mean of each score with its interval; None without ``--faithfulness``.
        columns: Columns of ``results.csv``.
        inputs: The inputs of this job.
    """

    batch: BatchResult
    layer: str
    faithfulness: dict[str, MeanInterval] | None
    columns: Sequence[str] = field(repr=False)
    inputs: Sequence[Input] = field(repr=False)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv`` for the inputs of this job, in their order, read from the folder."""
        for row, _ in self.rows_with_predictions():
            yield row

    def rows_with_predictions(self) -> Iterator[tuple[dict[str, Any], list[Prediction]]]:
        """Yield each row of ``rows`` with the predictions of its image, or an empty list if an earlier row had them.

        The predictions are the three most likely classes of the image and the explained ones.
        """
        for row in self.batch.rows(self.inputs):
            top = [(rank, label, probability) for rank, label, probability in row.get(TOP, ())]
            yield {name: row[name] for name in self.columns}, top


def gradcam(config: GradcamConfig, report: Reporter = ignore, stdin: Iterable[str] | None = None) -> GradcamResult:
    """Explain every input for the requested classes, and write maps, overlays and panels into the result folder.

    A bad image becomes a row of ``failures.csv``.

    Args:
        config: The settings.
        report: Receives progress events.
        stdin: Lines of the list that ``-`` stands for; None reads standard input.

    Raises:
        DataError: If an input is not found.
        UsageError: If the model, layer, class or method is unknown, or the model is an exported file.
        WeightsError: If the weights are not available or do not fit.
        OutputError: If the result folder holds other files, or the disk is full.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    inputs = command_inputs(config, stdin)
    render.colour_map(config.colormap)  # refuses an unknown name before any work
    loaded = load_classifier(Request.for_classifier(config, report))
    if loaded.is_exported:
        raise UsageError(NO_GRADIENTS)
    choose = choose_classes(config, loaded.facts)
    target = find_target(config, loaded)
    process = assign_process(config)
    classifier = loaded.to(process.device, config.precision, keep=(target.name,))
    loaded.report_note(report)
    explainer = open_explainer(config, loaded, classifier, target, images=len(inputs), report=report)
    batch = _batch(config, loaded, classifier.precision, explainer)
    position = f" at {layer_name(target)}, {target.grid[0]}x{target.grid[1]}"
    report(Note(f"{loaded.facts.name}, {config.method}{'' if config.method == 'guided-backprop' else position}"))
    steps = ImageExplainer(config, classifier, explainer, choose)
    stages = Stages(read=steps.read, infer=steps.infer, write=steps.write)
    result = run_batch(config, batch, inputs, stages, process, report)
    means = None
    if config.faithfulness and is_main_process():
        means = mean_scores(result.rows(inputs))
    return GradcamResult(result, layer_name(target), means, batch.columns, inputs_of_shard(config, inputs))


def _batch(config: GradcamConfig, loaded: LoadedClassifier, precision: str, explainer: Explainer) -> BatchJob:
    slow = config.faithfulness or METHODS[config.method].needs == "scores"
    folder = Path(config.folder)
    return BatchJob(
        command="gradcam",
        folder=folder,
        identity=_identity(config, loaded, explainer.target, precision),
        columns=[*CLASS_COLUMNS, *config.save, *(SCORES if config.faithfulness else ())],
        details=loaded.details | {"reports": {"faithfulness": config.faithfulness}},
        write_reports=lambda rows: write_mean_scores(folder, rows) if config.faithfulness else None,
        default_batch_size=1 if slow else None,  # so that a signal stops the command between two images
        # Faithfulness runs the whole network in torch.
        torch_threads=1 if explainer.shortcut and not config.faithfulness else None,
    )


def _identity(config: GradcamConfig, loaded: LoadedClassifier, target: TargetLayer, precision: str) -> dict[str, Any]:
    """Return the settings that the files depend on."""
    names = ("rank", "classes", "fit", "method", "smooth", "save", "format", "colormap", "alpha", "faithfulness")
    settings = {name: getattr(config, name) for name in names}
    if config.classes:
        settings.pop("rank")
    return loaded.identity | {"precision": precision, "layer": layer_name(target)} | settings
