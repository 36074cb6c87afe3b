"""Score saliency maps, a saliency network or a classifier on one split of a data set."""

from cvkit.commands.evaluate.classification import ClassifierResult, evaluate_classifier
from cvkit.commands.evaluate.saliency import SaliencyResult, evaluate_saliency
from cvkit.config import EvaluateConfig
from cvkit.engine.scores import open_scores
from cvkit.errors import UsageError
from cvkit.models.loaded import Request
from cvkit.processes import launched_processes
from cvkit.progress import Reporter, ignore
from cvkit.tasks.registry import CLASSIFIER, SALIENCY, find_model, with_exported_weights

COMMAND = "evaluate"


def evaluate(config: EvaluateConfig, report: Reporter = ignore) -> SaliencyResult | ClassifierResult:
    """Score the maps of a folder or of a saliency network, or a classifier. The kind of the model decides.

    Raises:
        DataError: If the data are not of the kind that is scored, or no image can be scored.
        UsageError: If an option has no effect on what is scored, the baseline or the model is unknown, or several
            processes were started.
        WeightsError: If the model cannot be loaded.
        OutputError: If the folder holds other files, or scores without ``overwrite``, or if another process writes it.
    """
    if launched_processes() is not None:
        raise UsageError("evaluate runs in one process: start it without torchrun or several Slurm tasks.")
    with open_scores(config.out, COMMAND, overwrite=config.overwrite) as out:
        if config.model is None:
            return evaluate_saliency(config, None, out, report)
        request = with_exported_weights(
            Request(name=config.model, weights=config.weights, labels=config.labels, options=config, report=report)
        )
        model = find_model(request, (SALIENCY.name, CLASSIFIER.name))
        if model.kind == CLASSIFIER.name:
            return evaluate_classifier(config, request, model, out, report)
        return evaluate_saliency(config, model, out, report)
