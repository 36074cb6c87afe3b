"""Build the network of a training run with its initial weights."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from cvkit.catalog import CLASSIFIERS, Pretrained
from cvkit.config import TrainClassifierConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models.published import pretrained
from cvkit.models.recognition import recognise_network
from cvkit.models.weights import read_tensors
from cvkit.progress import Note, Reporter
from cvkit.tasks.classification.loading import LoadedClassifier, load, published_settings
from cvkit.tasks.classification.own import load_own
from cvkit.tasks.classification.specification import NetworkSpec, base_name
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
    spec = replace(initial.spec, classes=len(classes))
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


@dataclass(frozen=True, kw_only=True)
class _Initial:
    facts: Pretrained
    spec: NetworkSpec
    network: nn.Module | None = None
    file: str = ""
    note: str = ""


def _load(settings: TrainClassifierConfig, report: Reporter) -> _Initial:
    """Return the network with the initial weights and its own number of classes."""
    name, weights = settings.model, settings.weights or "none"
    if name not in CLASSIFIERS and weights == "none":
        published = published_settings(name, settings)
        facts = replace(published.facts, tag=None)
        return _Initial(facts=facts, spec=published.spec(facts.num_classes))
    if weights not in ("none", "imagenet") and not Path(weights).is_file():
        raise WeightsError(f"--weights {weights}: no such file. Write a file, imagenet or none.")
    try:
        loaded = _load_weights(name, weights, settings, report)
    except WeightsError as error:
        if weights == "imagenet":
            raise
        raise WeightsError(f"{error}{_suggest_model(name, Path(weights))}") from error
    network = loaded.network if loaded.file else None
    return _Initial(facts=loaded.facts, spec=loaded.spec, network=network, file=loaded.file, note=loaded.note)


def _load_weights(name: str, weights: str, settings: TrainClassifierConfig, report: Reporter) -> LoadedClassifier:
    if name in CLASSIFIERS:
        return load_own(name, weights, settings)
    pretrained.check_name(name)
    if weights == "imagenet" and not pretrained.facts(name).source:
        raise UsageError(f"--weights imagenet: {name} has no published weights; use none or a file.")
    return load(name, "pretrained" if weights == "imagenet" else weights, None, report, settings)


def _suggest_model(name: str, file: Path) -> str:
    """Return the end of a message about weights that do not fit, from the network that the file seems to be of."""
    try:
        other = recognise_network(file, read_tensors(file))
    except WeightsError:  # the message says that the file cannot be read
        return ""
    return "" if other in (None, base_name(name)) else f" Did you forget --model {other}?"
