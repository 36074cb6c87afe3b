"""Export classifiers: their row of the registry."""

from torch import Tensor, nn

from cvkit.errors import UsageError
from cvkit.models.exported.comparison import top_classes
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import TopClasses
from cvkit.models.loaded import Exportable, ModelKind, Outputs, Request
from cvkit.models.published import pretrained
from cvkit.tasks.classification.loading import LoadedClassifier, from_exported, load, make


def _is_model_name(name: str) -> bool:
    try:
        pretrained.check_name(name)
    except UsageError:
        return False
    return True


def _from_name(request: Request) -> LoadedClassifier:
    return load(request.name, request.weights or "pretrained", request.labels, request.report, request.options)


def _export(loaded: LoadedClassifier, part: str) -> Exportable:
    del part
    entry = loaded.facts
    steps = entry.preprocessing
    facts = Facts(
        kind="classifier",
        # The tag names published weights; random weights and unknown files are not those.
        model=entry.name if loaded.recognised else entry.model,
        spec={"name": entry.name, "classes": entry.num_classes}
        | ({"arguments": list(loaded.arguments)} if loaded.arguments else {}),
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
    rebuild=lambda facts: make(facts.spec["name"], facts.spec["classes"], facts.spec.get("arguments", ())),
    from_exported=from_exported,
    is_model_name=_is_model_name,
    from_name=_from_name,
    export=_export,
    postprocessing=_postprocessing,
    compare_outputs=_compare_outputs,
)
