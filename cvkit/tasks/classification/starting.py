"""Build the network of a training run with its initial weights."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from cvkit.catalog import CLASSIFIERS, Pretrained
from cvkit.config import TrainClassifierConfig
from cvkit.errors import UsageError
from cvkit.models.published import pretrained
from cvkit.models.published.overrides import with_overrides
from cvkit.progress import Note, Reporter
from cvkit.tasks.classification.loading import load
from cvkit.tasks.classification.own import load_own
from cvkit.tasks.classification.specification import NetworkSpec
from cvkit.tasks.classification.state_dicts import last_layer


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
        _reset(network, head)
    return StartedClassifier(network=network, spec=spec, head=head, facts=facts, weights=initial.file)


def _reset(network: nn.Module, head: tuple[str, ...]) -> None:
    """Initialise the last layer by PyTorch's default, whose outputs are small.

    timm's EfficientNets draw the weights of the last layer from +-1/sqrt(classes), so that five classes start with a
    loss of 5 and AdamW needs hundreds of steps to forget them.
    """
    for name in dict.fromkeys(each.rpartition(".")[0] for each in head):
        module = network.get_submodule(name)
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()


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
        loaded = load_own(name, weights, settings)
        return _Initial(loaded.facts, loaded.network if loaded.file else None, loaded.file)
    pretrained.check_name(name)
    if weights == "none":
        facts = pretrained.facts(name)
        return _Initial(replace(facts, tag=None, preprocessing=with_overrides(facts.preprocessing, settings)))
    if weights == "imagenet" and not pretrained.facts(name).source:
        raise UsageError(f"--weights imagenet: {name} has no published weights; use none or a file.")
    loaded = load(name, "pretrained" if weights == "imagenet" else weights, None, report, settings)
    return _Initial(loaded.facts, loaded.network, loaded.file, loaded.note)
