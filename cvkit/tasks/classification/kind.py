"""Load and export classifiers: their row of the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cvkit.catalog import CLASSIFIERS, Pretrained
from cvkit.errors import UsageError, WeightsError
from cvkit.models.dry_run import build_on_meta
from cvkit.models.exported.comparison import top_classes
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import TopClasses
from cvkit.models.loaded import Exportable, ModelKind, Outputs, Request
from cvkit.models.plain import is_of_type, read_preprocessing
from cvkit.models.published import pretrained
from cvkit.tasks.classification.loading import LoadedClassifier, from_exported, load
from cvkit.tasks.classification.own import load_own
from cvkit.tasks.classification.specification import NetworkSpec, base_name, spec_of


def _is_model_name(name: str) -> bool:
    if name in CLASSIFIERS:
        return True
    try:
        pretrained.check_name(name)
    except UsageError:
        return False
    return True


def _from_name(request: Request) -> LoadedClassifier:
    weights = request.weights or "pretrained"
    if request.name in CLASSIFIERS:
        return load_own(request.name, weights, request.options)
    return load(request.name, weights, request.labels, request.report, request.options)


def from_checkpoint(content: Mapping[str, Any], path: Path, sha256: str) -> LoadedClassifier:
    """Load the content of a checkpoint of a trained classifier.

    Raises:
        WeightsError: If the checkpoint does not describe a classifier, or the weights do not fit it.
    """
    spec = NetworkSpec.from_dict(content["spec"])
    preprocessing, labels, ids = read_preprocessing(content["preprocessing"]), content["labels"], content["class_ids"]
    if preprocessing is None or preprocessing.crop != spec.size:
        raise WeightsError("its preprocessing is damaged.")
    if not all(is_of_type(names, tuple[str, ...]) and len(names) in (0, spec.classes) for names in (labels, ids)):
        raise WeightsError("its class names are damaged.")
    network = _rebuild(spec, content["weights"])
    facts = Pretrained(
        model=base_name(spec.name),
        tag=None,
        preprocessing=preprocessing,
        num_classes=spec.classes,
        labels=tuple(labels),
        class_ids=tuple(ids),
    )
    return LoadedClassifier(network=network, facts=facts, file=str(path), sha256=sha256, spec=spec)


def _rebuild(spec: NetworkSpec, weights: Any) -> nn.Module:
    """Return the network of a description with its weights.

    Their shapes are compared before the network is built, because a damaged description may ask for terabytes.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError("its weights are damaged.")
    shapes = {name: value.shape for name, value in weights.items()}
    if not any(spec.classes in shape for shape in shapes.values()):
        raise WeightsError(f"its weights are not those of a network with {spec.classes} classes.")
    if shapes != {name: value.shape for name, value in build_on_meta(spec.build).state_dict().items()}:
        raise WeightsError(f"its weights do not fit {spec.name} with {spec.classes} classes.")
    network = spec.build()
    network.load_state_dict(weights)
    return network


def _export(loaded: LoadedClassifier, part: str) -> Exportable:
    del part
    entry = loaded.facts
    steps = entry.preprocessing
    facts = Facts(
        kind="classifier",
        # The tag names published weights; random weights and unknown files are not those.
        model=entry.name if loaded.recognised else entry.model,
        spec={"name": loaded.spec.name, "classes": entry.num_classes}
        | ({"arguments": list(loaded.spec.arguments)} if loaded.spec.arguments else {}),
        channels=3,
        size=steps.crop,
        mean=steps.mean,
        std=steps.std,
        outputs=("logits",),
        preprocessing=steps.as_dict(),
        labels=tuple(entry.labels),
        class_ids=tuple(entry.class_ids),
        licence=entry.licence,
        weights_sha256=loaded.sha256,
    )
    return Exportable(network=loaded.network.eval().requires_grad_(False), facts=facts)


def _compare_outputs(expected: Outputs, found: Outputs, true: Tensor | None) -> dict[str, float]:
    """Return the fractions of images whose top class is that of PyTorch, and the true one (-1 is unknown)."""
    top = top_classes(found)
    scores = {"agreement": float((top == top_classes(expected)).double().mean())}
    if true is not None:
        scores["accuracy"] = float((top == true)[true >= 0].double().mean())
    return scores


def _postprocessing(facts: Facts, top: int) -> tuple[nn.Module, list[str]]:
    return TopClasses(min(top, facts.spec["classes"])), ["probabilities", "classes"]


KIND = ModelKind(
    name="classifier",
    title="a classifier",
    output="logits",
    checkpoint="classifier",
    from_checkpoint=from_checkpoint,
    rebuild=lambda facts: spec_of(facts).build(),
    from_exported=from_exported,
    is_model_name=_is_model_name,
    from_name=_from_name,
    export=_export,
    postprocessing=_postprocessing,
    compare_outputs=_compare_outputs,
)
