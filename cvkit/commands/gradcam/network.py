"""Find the target layer of a classifier, and open its parts before and behind this layer."""

from dataclasses import replace

import torch

from cvkit.catalog import TargetLayer
from cvkit.config import GradcamConfig
from cvkit.errors import UsageError
from cvkit.models.exported.graph import UpTo
from cvkit.models.loaded import Exportable
from cvkit.models.runtimes import open_in_onnxruntime, takes_onnxruntime
from cvkit.progress import Reporter
from cvkit.tasks.attribution import METHODS, Explainer
from cvkit.tasks.attribution.shortcut import Shortcut
from cvkit.tasks.attribution.target_layer import default_target, named_target
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.registry import export_model


def find_target(config: GradcamConfig, loaded: LoadedClassifier) -> TargetLayer:
    """Return the layer whose activation is explained: the one that ``--layer`` names, or the model's default."""
    spec = loaded.spec
    if config.layer is not None:
        return named_target(spec.build, spec.shape, config.layer)
    return default_target(spec.build, spec.shape, spec.classes)


def layer_name(target: TargetLayer) -> str:
    """Return the name of the target layer for tables, with its ReLU if the target includes one."""
    return f"{target.name}+relu" if target.relu else target.name


def open_explainer(
    config: GradcamConfig,
    loaded: LoadedClassifier,
    classifier: Classifier,
    target: TargetLayer,
    *,
    images: int,
    report: Reporter,
) -> Explainer:
    """Return the explainer of a classifier. The layers up to the target layer run in the runtime of ``--runtime``.

    Args:
        config: The settings.
        loaded: The classifier as it was loaded.
        classifier: The same on its device.
        target: The target layer.
        images: Number of inputs of the command.
        report: Receives the choice of the runtime.

    Raises:
        UsageError: If onnxruntime is requested and cannot run these layers.
        WeightsError: If onnxruntime is requested, and the exported graph differs from the network.
        OutputError: If onnxruntime is requested, and the cache of graphs cannot be written.
    """
    return Explainer(
        classifier.network,
        target,
        method=config.method,
        smooth=config.smooth,
        autocast=classifier.autocast,
        shortcut=_find_shortcut(config, loaded, classifier, target, images, report),
    )


def _find_shortcut(
    config: GradcamConfig,
    loaded: LoadedClassifier,
    classifier: Classifier,
    target: TargetLayer,
    images: int,
    report: Reporter,
) -> Shortcut | None:
    """Open the layers up to the target layer in onnxruntime; None if they run in PyTorch."""
    if METHODS[config.method].needs not in ("gradients", "activation"):
        if config.runtime == "onnx":
            raise UsageError(f"--runtime onnx: --method {config.method} needs the whole network in PyTorch.")
        return None
    exportable = _up_to(export_model(loaded, "whole"), target)
    if not takes_onnxruntime(exportable, config, classifier.device, images):
        return None
    try:
        shortcut = Shortcut(classifier.network, target, loaded.facts.preprocessing.crop)
    except UsageError as error:
        if config.runtime == "onnx":
            raise UsageError(f"--runtime onnx cannot divide the network at {layer_name(target)}: {error}") from error
        return None
    head = open_in_onnxruntime(exportable, config, report)
    if head is None:
        return None
    shortcut.head = head
    if not config.faithfulness:  # whose networks run in PyTorch
        classifier.layout = torch.contiguous_format  # in which onnxruntime takes images
    return shortcut


def _up_to(exportable: Exportable, target: TargetLayer) -> Exportable:
    """Return the part of a network up to the target layer, with a name that says so in messages."""
    facts = exportable.facts
    spec, model = facts.spec | {"up_to": target.name}, f"{facts.model} up to {target.name}"
    facts = replace(facts, spec=spec, model=model, outputs=("activation",))
    return replace(exportable, network=UpTo(exportable.network, target.name).eval(), facts=facts)
