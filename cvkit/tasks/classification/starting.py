"""Build the network of a training run with its initial weights."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from cvkit.catalog import CLASSIFIERS, Pretrained
from cvkit.config import TrainClassifierConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models.published import pretrained
from cvkit.models.published.overrides import with_overrides
from cvkit.models.weights import read_tensors
from cvkit.progress import Note, Reporter
from cvkit.tasks.classification.loading import load
from cvkit.tasks.classification.specification import NetworkSpec, own_facts
from cvkit.tasks.classification.state_dicts import build_with_weights, infer_num_classes, last_layer


@dataclass(frozen=True, kw_only=True)
class StartedClassifier:
    """A network at the start of a training run.

    Attributes:
        network: The network; its last layer has random weights.
        spec: Description from which it is rebuilt.
        head: Names of the parameters of the last layer.
        facts: Its preprocessing, and the names of the classes.
        weights: File of the initial weights; empty for random weights.
    """

    network: nn.Module
    spec: NetworkSpec
    head: tuple[str, ...]
    facts: Pretrained
    weights: str


def start_classifier(settings: TrainClassifierConfig, classes: tuple[str, ...], report: Reporter) -> StartedClassifier:
    """Build a network for a number of classes.

    All layers but the last one start from the weights. The last one starts from random weights.

    Args:
        settings: Resolved settings of the command.
        classes: Names of the classes.
        report: Receives notes about a download.

    Raises:
        UsageError: If the name is unknown or the network cannot be built with the options.
        WeightsError: If the weights are not available or do not fit.
    """
    initial = _load(settings, report)
    facts = replace(initial.facts, num_classes=len(classes), labels=classes, class_ids=(), top1=None)
    spec = NetworkSpec(
        name=facts.name if settings.model not in CLASSIFIERS else settings.model,
        classes=len(classes),
        size=facts.preprocessing.crop,
        arguments=settings.model_arg,
    )
    torch.manual_seed(settings.seed)
    if initial.note:
        report(Note(initial.note, "important"))
    network = spec.build().train()
    head = last_layer(lambda count: replace(spec, classes=count).build())
    if initial.network is not None:
        values = {name: value for name, value in initial.network.state_dict().items() if name not in head}
        network.load_state_dict({name: value for name, value in network.state_dict().items() if name in head} | values)
    return StartedClassifier(network=network, spec=spec, head=head, facts=facts, weights=initial.file)


@dataclass(frozen=True)
class _Initial:
    facts: Pretrained
    network: nn.Module | None = None
    file: str = ""
    note: str = ""


def _load(settings: TrainClassifierConfig, report: Reporter) -> _Initial:
    """Return the network with the initial weights and its own number of classes."""
    name, weights = settings.model, settings.weights or "none"
    if name in CLASSIFIERS:
        facts = own_facts(name)
        facts = replace(facts, preprocessing=with_overrides(facts.preprocessing, settings))
        return _Initial(facts) if weights == "none" else _load_own(facts, weights)
    pretrained.check_name(name)
    if weights == "none":
        facts = pretrained.facts(name)
        return _Initial(replace(facts, tag=None, preprocessing=with_overrides(facts.preprocessing, settings)))
    if weights == "imagenet" and not pretrained.facts(name).source:
        raise UsageError(f"--weights imagenet: {name} has no published weights; use none or a file.")
    loaded = load(name, "pretrained" if weights == "imagenet" else weights, None, report, settings)
    return _Initial(loaded.facts, loaded.network, loaded.file, loaded.note)


def _load_own(facts: Pretrained, weights: str) -> _Initial:
    """Load a file of weights of a network of cvkit."""
    tensors = read_tensors(weights)
    size = facts.preprocessing.crop

    def build(count: int) -> nn.Module:
        return NetworkSpec(name=facts.model, classes=count, size=size).build()

    classes = infer_num_classes(build, tensors, weights, facts.num_classes)
    try:
        return _Initial(facts, build_with_weights(partial(build), classes, tensors, weights), weights)
    except WeightsError as error:
        raise WeightsError(f"{error} The network is built for images of {size[0]}x{size[1]} (--input-size).") from error
