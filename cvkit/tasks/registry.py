"""Resolve model references: one row per kind of model, and the functions that load any of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvkit import files
from cvkit.config import ClassifyConfig, EvaluateConfig, PredictConfig
from cvkit.engine import checkpoint
from cvkit.errors import UsageError, WeightsError
from cvkit.messages import last_line, nearest
from cvkit.models.exported.network import ExportedNetwork, is_exported
from cvkit.models.exported.reading import read_facts
from cvkit.models.exported.runtimes import Run
from cvkit.models.loaded import Exportable, LoadedModel, ModelKind, Request
from cvkit.models.runner import Runner
from cvkit.models.runtimes import open_in_onnxruntime, takes_onnxruntime
from cvkit.models.weights import check_tensors, check_uncompressed, read_tensors
from cvkit.progress import Reporter
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification.kind import KIND as CLASSIFIER_ALONE
from cvkit.tasks.classification.loading import LoadedClassifier, with_labels
from cvkit.tasks.classification.settings import reject_options
from cvkit.tasks.classification.specification import spec_of
from cvkit.tasks.embedding.kind import ENCODER_KIND as ENCODER
from cvkit.tasks.embedding.kind import KIND as AUTOENCODER
from cvkit.tasks.saliency.kind import KIND as SALIENCY
from cvkit.tasks.saliency.kind import LoadedSaliency


def _export_classifier(loaded: Any, part: str) -> Exportable:
    """Prepare a classifier for export, with the target layer of its class activation map."""
    exportable = CLASSIFIER_ALONE.export(loaded, part)
    spec = spec_of(exportable.facts)
    return replace(exportable, cam_target=lambda: default_target(spec.build, spec.shape, spec.classes))


CLASSIFIER = replace(CLASSIFIER_ALONE, export=_export_classifier)
KINDS: dict[str, ModelKind] = {kind.name: kind for kind in (SALIENCY, CLASSIFIER, AUTOENCODER, ENCODER)}
WEIGHTS_SUFFIX = ".safetensors"  # an exported file that holds weights and metadata, but no graph


def open_model(reference: str, device: torch.device, precision: str = "auto", kinds: Sequence[str] = ()) -> Runner:
    """Load a model and put it on a device.

    Args:
        reference: A run folder, a checkpoint, an exported file, or a name.
        device: Device to compute on.
        precision: auto, fp32, bf16 or fp16.
        kinds: Names of the kinds that are accepted; empty for all.

    Raises:
        UsageError: If the reference is neither a file nor a known name, or is of another kind.
        WeightsError: If the file cannot be used.
    """
    return load_model(Request(name=reference), kinds).to(device, precision)


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A model that a reference names, before its weights are downloaded or its network is built.

    Attributes:
        kind: Name of its row in the registry.
        load: Returns the model. It raises WeightsError if the file cannot be used or weights are not available.
    """

    kind: str
    load: Callable[[], LoadedModel]


def load_model(request: Request, kinds: Sequence[str] = ()) -> LoadedModel:
    """Load the model that a reference names.

    Args:
        request: The reference, with weights and labels for a named model.
        kinds: Names of the kinds that are accepted; empty for all.

    Raises:
        UsageError: If the reference is neither a file nor a known name, or is of another kind.
        WeightsError: If the file cannot be used, or weights are not available.
        DataError: If the labels cannot be read.
    """
    return find_model(request, kinds).load()


def find_model(request: Request, kinds: Sequence[str] = ()) -> FoundModel:
    """Find the model that a reference names, and its kind; see ``load_model``.

    Raises:
        UsageError: If the reference is neither a file nor a known name, or is of another kind.
        WeightsError: If the file cannot be used.
    """
    accepted = tuple(kinds) or tuple(KINDS)
    path = find_file(request.name)
    if path is None:
        return _find_named(request, accepted)
    reject_options(request.options, request.name, "which has its own preprocessing")
    if request.weights not in (None, "pretrained"):
        raise UsageError(f"--weights {request.weights} has no effect on {request.name}, which has its own weights.")
    if is_exported(str(path)) or path.suffix.lower() == WEIGHTS_SUFFIX:
        return _find_exported(path, accepted)
    rows = {kind.checkpoint: kind for kind in KINDS.values() if kind.checkpoint and kind.name in accepted}
    if not rows:
        raise UsageError(f"{request.name} is a run folder or a checkpoint; this command needs {_titles(accepted)}.")
    check_uncompressed(path)
    content = checkpoint.load(path, *rows)
    check_tensors(content.get("weights"), path)
    kind = rows[content["kind"]]
    if not isinstance(content.get("config", {}), dict):
        raise WeightsError(f"{path}: its settings are damaged.")
    return FoundModel(kind=kind.name, load=partial(_load_checkpoint, kind, content, path))


def _load_checkpoint(kind: ModelKind, content: dict[str, Any], path: Path) -> LoadedModel:
    assert kind.from_checkpoint is not None
    try:
        return kind.from_checkpoint(content, path, files.sha256(path))
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        cause = f"no {error}" if isinstance(error, KeyError) else last_line(error)
        raise WeightsError(f"{path}: it does not describe a model that can be built ({cause}).") from error
    except (UsageError, WeightsError) as error:
        raise WeightsError(f"{path}: {error}") from error


def find_file(reference: str) -> Path | None:
    """Return the file of a reference, ``best.pt`` of a run folder; None if the reference is a name.

    Raises:
        WeightsError: If the reference can only be a path, and nothing is there.
    """
    built_in = (kind for kind in KINDS.values() if kind is not CLASSIFIER)
    if any(kind.is_model_name(reference) for kind in built_in):  # wins over a file of that name
        return None
    looks_like_path = "/" in reference or Path(reference).suffix.lower() in (".pt", ".onnx", ".pt2", ".xml")
    if files.is_file(reference) or files.is_folder(reference) or looks_like_path:
        return checkpoint.find(reference)
    return None


def export_model(loaded: LoadedModel, part: str) -> Exportable:
    """Prepare a loaded model for export; ``part`` is "encoder" or "whole", for an autoencoder.

    Raises:
        UsageError: If the model is an exported file already.
    """
    if loaded.is_exported:
        raise UsageError(f"{loaded.file} is an exported file already: name the run or the model it was made of.")
    return KINDS[loaded.kind].export(loaded, part)


def open_runner(
    loaded: LoadedModel,
    config: ClassifyConfig | EvaluateConfig | PredictConfig,
    device: torch.device,
    images: int,
    report: Reporter,
) -> Runner:
    """Put a model on a device, in the runtime that ``--runtime`` selects, and compile it with ``--compile``.

    Args:
        loaded: The model.
        config: The settings.
        device: Device to compute on.
        images: Number of inputs of the command.
        report: Receives the choice.

    Raises:
        UsageError: If onnxruntime is requested and cannot run the network with these settings.
        WeightsError: If onnxruntime is requested, and the exported graph differs from the network.
        OutputError: If onnxruntime is requested, and the cache of graphs cannot be written.
    """
    if config.compile:
        if config.runtime == "onnx" or loaded.is_exported:
            raise UsageError("--compile is for networks in PyTorch: leave it out, or add --runtime torch.")
        runner = loaded.to(device, config.precision)
        runner.network = torch.compile(runner.network)  # type: ignore[assignment]
        return runner
    if not loaded.is_exported:
        exportable = export_model(loaded, "whole")
        if takes_onnxruntime(exportable, config, device, images):
            network = open_in_onnxruntime(exportable, config, report)
            loaded = loaded if network is None else replace(loaded, network=network)
    return loaded.to(device, config.precision)


def rebuild(path: Path) -> nn.Module:
    """Return the network of an exported safetensors file, in float32 and evaluation mode.

    Raises:
        WeightsError: If the weights do not fit the network that the metadata describe.
    """
    facts = read_facts(path)
    tensors = read_tensors(path)
    try:
        network = KINDS[facts.kind].rebuild(facts)
        network.load_state_dict(tensors)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{path}: its weights do not fit the network it describes: {last_line(error)}") from error
    return network.float().eval().requires_grad_(False)


def open_exported(path: Path) -> Run:
    """Return a function that runs an exported file and returns all of its outputs."""
    if path.suffix == WEIGHTS_SUFFIX:
        network = rebuild(path)
        return lambda images: (network(images.float()).float(),)
    return ExportedNetwork(path).run


def _find_exported(path: Path, accepted: Sequence[str]) -> FoundModel:
    facts = read_facts(path)
    if facts.kind not in KINDS:
        raise WeightsError(f"{path}: a model of kind {facts.kind!r}, which this version of cvkit does not know.")
    if facts.kind not in accepted:
        raise WeightsError(f"{path} is an exported {facts.kind}; this command needs {_titles(accepted)}.")

    def load() -> LoadedModel:
        network = rebuild(path) if path.suffix.lower() == WEIGHTS_SUFFIX else ExportedNetwork(path)
        return KINDS[facts.kind].from_exported(network, facts, path, files.sha256(path))

    return FoundModel(kind=facts.kind, load=load)


def _find_named(request: Request, accepted: Sequence[str]) -> FoundModel:
    for name in accepted:
        kind = KINDS[name]
        if kind.from_name is not None and kind.is_model_name(request.name):
            if kind is not CLASSIFIER:
                reject_options(request.options, request.name, f"which is {kind.title}")
            return FoundModel(kind=name, load=partial(kind.from_name, request))
    other = next((kind for kind in KINDS.values() if kind.is_model_name(request.name)), None)
    if other is not None:
        raise UsageError(f"{request.name} is {other.title}; this command needs {_titles(accepted)}.")
    if CLASSIFIER.name in accepted and CLASSIFIER.from_name is not None:
        CLASSIFIER.from_name(request)  # raises the error with the nearest name
    near = nearest(request.name, [path.name for path in Path.cwd().iterdir()])
    raise WeightsError(f"{request.name}: no such run folder, file or model.{near}")


def _titles(kinds: Sequence[str]) -> str:
    return " or ".join(KINDS[kind].title for kind in kinds)


def load_saliency(request: Request) -> LoadedSaliency:
    """Load the saliency network that a reference names; see ``load_model``."""
    loaded = load_model(request, (SALIENCY.name,))
    assert isinstance(loaded, LoadedSaliency)
    return loaded


def load_classifier(request: Request) -> LoadedClassifier:
    """Load the classifier that a reference names, with the class names of ``request.labels``; see ``load_model``.

    An exported file given as weights replaces the network as well.
    """
    return label_classes(load_model(with_exported_weights(request), (CLASSIFIER.name,)), request)


def label_classes(loaded: LoadedModel, request: Request) -> LoadedClassifier:
    """Return a loaded classifier with the class names of ``request.labels``."""
    assert isinstance(loaded, LoadedClassifier)
    return with_labels(loaded, request.labels, request.name)


def with_exported_weights(request: Request) -> Request:
    """Return a request whose reference is the exported file that is given as weights, if one is."""
    if request.weights is not None and is_exported(request.weights):
        return replace(request, name=request.weights, weights=None)
    return request
