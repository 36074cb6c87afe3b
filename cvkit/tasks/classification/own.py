"""Load the classification networks of cvkit, which have no published weights."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from cvkit import files
from cvkit.catalog import CLASSIFIERS
from cvkit.config import PreprocessingConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models.published.overrides import with_overrides
from cvkit.models.weights import read_tensors
from cvkit.tasks.classification.loading import SEED, LoadedClassifier
from cvkit.tasks.classification.specification import NetworkSpec, own_facts
from cvkit.tasks.classification.state_dicts import build_with_weights, infer_num_classes


def load_own(name: str, weights: str, options: PreprocessingConfig) -> LoadedClassifier:
    """Load a network of ``CLASSIFIERS`` with the weights of a file, or with random ones.

    Args:
        name: Name of the network.
        weights: "none" for random weights, the same every time; or a file, whose last layer determines the number of
            classes.
        options: Preprocessing; ``input_size`` is the size for which the network is built.

    Raises:
        UsageError: If no weights are given.
        WeightsError: If the file does not fit the network.
    """
    if weights in ("pretrained", "imagenet"):
        raise UsageError(
            f"{name} has no published weights: name the run that trained it, or add --weights FILE or --weights none "
            "(random weights)."
        )
    if options.model_arg:
        raise UsageError(f"--model-arg: {name} takes no arguments; they are for networks of torchvision and timm.")
    facts = own_facts(name)
    facts = replace(facts, preprocessing=with_overrides(facts.preprocessing, options))
    spec = NetworkSpec(name=name, classes=facts.num_classes, size=facts.preprocessing.crop)
    if weights == "none":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return LoadedClassifier(network=spec.build(), facts=facts, file="", sha256="", spec=spec)
    network, classes = _with_weights(spec, weights)
    return LoadedClassifier(
        network=network,
        facts=replace(facts, num_classes=classes),
        file=weights,
        sha256=files.sha256(Path(weights)),
        spec=replace(spec, classes=classes),
    )


def _with_weights(spec: NetworkSpec, weights: str) -> tuple[nn.Module, int]:
    """Return the network with the weights of a file, and its number of classes."""
    tensors = read_tensors(weights)

    def build(classes: int) -> nn.Module:
        return replace(spec, classes=classes).build()

    try:
        classes = infer_num_classes(build, tensors, weights, spec.classes)
        return build_with_weights(build, classes, tensors, weights), classes
    except WeightsError as error:
        size = "x".join(map(str, spec.size))
        is_fixed = CLASSIFIERS[spec.name].fixed_size
        hint = f" The network is built for images of {size} (--input-size)." if is_fixed else ""
        raise WeightsError(f"{error}{hint}") from error
