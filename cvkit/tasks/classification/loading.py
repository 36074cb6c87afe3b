"""Load image classifiers: torchvision and timm models by name with their weights, and exported files."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvkit import files
from cvkit.catalog import Pretrained
from cvkit.config import PreprocessingConfig
from cvkit.device import autocast_dtype, choose_precision
from cvkit.errors import UsageError, WeightsError
from cvkit.models import fetch
from cvkit.models.exported.facts import UNREADABLE, Facts
from cvkit.models.exported.network import ExportedNetwork, check_kind, is_exported
from cvkit.models.folding import fold_batch_norms
from cvkit.models.loaded import LoadedModel
from cvkit.models.published import pretrained
from cvkit.models.published.embedded import read_embedded
from cvkit.models.weights import WeightsFile, read_weights
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.classification.arguments import check_arguments
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.labels import load_labels
from cvkit.tasks.classification.settings import Settings, assumption, combine, reject_options
from cvkit.tasks.classification.specification import NetworkSpec, base_name, spec_of
from cvkit.tasks.classification.state_dicts import (
    build_if_equal,
    build_with_weights,
    infer_num_classes,
    reject_extra_layers,
)

SEED = 0  # of random weights, so that two runs without weights agree


@dataclass(frozen=True, kw_only=True)
class LoadedClassifier(LoadedModel):
    """A classifier with its weights.

    Attributes:
        facts: Its preprocessing and the names of its classes.
        spec: Description from which its network is rebuilt.
        recognised: Whether the weights are published ones.
        settings: Sources of its preprocessing; None for an exported file.
    """

    kind: str = "classifier"
    facts: Pretrained
    spec: NetworkSpec
    recognised: bool = False
    settings: Settings | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """The facts that results depend on: the model, its weights, its preprocessing and the class names."""
        return {
            "model": self.facts.model,
            "weights_sha256": self.sha256 or "random",
            "preprocessing": self.facts.preprocessing.as_dict(),
            "labels_sha256": _digest(self.facts.labels, self.facts.class_ids) if self.facts.labels else "none",
        } | ({"model_args": list(self.spec.arguments)} if self.spec.arguments else {})

    @property
    def details(self) -> dict[str, Any]:
        """Further facts about the weights, for manifests."""
        tag = self.facts.tag if self.recognised else None  # only published weights have a tag
        found = {"weights": self.file or "random", "tag": tag, "classes": self.facts.num_classes}
        sources = {"preprocessing_from": dict(self.settings.sources)} if self.settings else {}
        return found | sources | ({"note": self.note} if self.note else {})

    def to(self, device: torch.device, precision: str, keep: Collection[str] = ()) -> Classifier:
        """Put the classifier on a device; the precision ``auto`` is fp32.

        bf16 changes 3 of 160 top-1 classes of mobilenet_v2, and heat maps are differences of large numbers. All
        commands therefore use half precision only on request, so that their ranks agree. In fp32, batch norms are
        folded into convolutions, except into those that ``keep`` names.
        """
        chosen = "fp32" if precision == "auto" else choose_precision(precision, device)
        if isinstance(self.network, ExportedNetwork):
            self.network.open(device)
        dtype = autocast_dtype(chosen) or torch.float32
        network = self.network
        if dtype == torch.float32 and not self.is_exported:
            network = fold_batch_norms(network, (1, 3, *self.facts.preprocessing.crop), keep)
        return Classifier(network, self.facts, spec=self.spec, device=device, dtype=dtype)


def load(
    name: str,
    weights: str = "pretrained",
    labels: str | None = None,
    report: Reporter = ignore,
    options: PreprocessingConfig | None = None,
) -> LoadedClassifier:
    """Load a classifier of torchvision or timm, or an exported one.

    Args:
        name: "vgg16", "mobilenet_v2.IMAGENET1K_V2", "timm:resnet18", or an exported file (.onnx, .pt2, .xml).
        weights: "pretrained" for the published weights, from the cache of torchvision or timm or else downloaded;
            "none" for random weights, the same every time; or a file, whose last layer determines the number of
            classes. An exported file given here replaces the network as well.
        labels: File with the names of the classes.
        report: Receives notes about a download.
        options: Preprocessing and arguments of the network; None and () leave them to the weights.

    Raises:
        UsageError: If the name is unknown, the labels do not match the number of classes, or the network cannot be
            built with the options.
        WeightsError: If the weights are not available or do not fit.
        DataError: If the labels cannot be read.
    """
    options = options or PreprocessingConfig()
    file = next((word for word in (weights, name) if is_exported(word)), None)
    if file is not None:
        reject_options(options, file, "an exported file, which has its own preprocessing")
        network = ExportedNetwork(Path(file))
        loaded = from_exported(network, network.facts, Path(file), files.sha256(Path(file)))
    else:
        pretrained.check_name(name)
        loaded = _random(name, options) if weights == "none" else _load(name, weights, report, options)
    return with_labels(loaded, labels, name)


def with_labels(loaded: LoadedClassifier, labels: str | None, name: str) -> LoadedClassifier:
    """Return the classifier with the class names of a file; None leaves it unchanged.

    Raises:
        UsageError: If the file names another number of classes than the weights have.
        DataError: If the file cannot be read.
    """
    if labels is None:
        return loaded
    words, class_ids = load_labels(labels)
    count = loaded.facts.num_classes
    if len(words) != count:
        raise UsageError(f"--labels {labels} names {len(words)} classes, but the weights of {name} have {count}.")
    return replace(loaded, facts=replace(loaded.facts, labels=words, class_ids=class_ids))


def from_exported(network: nn.Module, facts: Facts, path: Path, sha256: str) -> LoadedClassifier:
    """Load an exported classifier, or a network that was rebuilt from one.

    Raises:
        WeightsError: If the file is no classifier, or does not describe its preprocessing.
    """
    check_kind(facts, {"classifier": "logits"}, str(path))
    if facts.classifier_preprocessing is None:
        raise WeightsError(f"{path}: an exported classifier that does not describe its preprocessing.")
    if base_name(facts.model) != base_name(str(facts.spec.get("name"))):
        raise WeightsError(f"{path}: {UNREADABLE}")
    model, _, tag = facts.model.partition(".")
    entry = Pretrained(
        model=model,
        tag=tag or None,
        preprocessing=facts.classifier_preprocessing,
        num_classes=facts.spec["classes"],
        labels=facts.labels,
        class_ids=facts.class_ids,
        licence=facts.licence,
    )
    return LoadedClassifier(
        network=network,
        facts=entry,
        file=str(path),
        sha256=sha256,
        spec=spec_of(facts),
        recognised=True,
    )


def _digest(labels: Sequence[str], class_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([labels, class_ids]).encode()).hexdigest()


def _load(name: str, weights: str, report: Reporter, options: PreprocessingConfig) -> LoadedClassifier:
    recognised = weights == "pretrained"
    if recognised:
        facts = pretrained.facts(name)
        file = fetch.download(facts, report)
    else:
        file = Path(weights)
        if not file.is_file():
            what = "is a folder, not a file." if file.is_dir() else "no such file."
            raise WeightsError(f"--weights {weights}: {what}{_meant_a_tag(name, weights)}")
        facts, recognised = pretrained.identify(name, file)
    content = read_weights(file)
    embedded = None if recognised else read_embedded(file, content.extras)
    settings = combine(facts, options, embedded, recognised=recognised)
    if embedded is not None:
        unused = f" It also sets {', '.join(embedded.ignored)}, which cvkit cannot use." if embedded.ignored else ""
        report(Note(f"{file}: images are prepared as {embedded.source} says.{unused}"))
    _check(settings, options)
    module, classes = _build(settings, content, str(file), strict=weights != "pretrained")
    facts = settings.facts  # the file may be of another entry than the default
    if classes != facts.num_classes:
        facts = replace(facts, num_classes=classes, labels=(), class_ids=(), top1=None)
    return LoadedClassifier(
        network=module,
        facts=facts,
        file=str(file),
        sha256=files.sha256(file),
        note=assumption(settings, str(file), name),
        spec=settings.spec(classes),
        recognised=recognised,
        settings=settings,
    )


def _build(settings: Settings, content: WeightsFile, label: str, *, strict: bool) -> tuple[nn.Module, int]:
    """Return the network with the tensors of a file, and its number of classes."""
    build, classes = lambda count: settings.spec(count).build(), settings.facts.num_classes
    module = build_if_equal(build, classes, content.tensors, label)
    if module is None:
        classes = infer_num_classes(build, content.tensors, label, classes)
        module = build_with_weights(build, classes, content.tensors, label)
    if strict:
        reject_extra_layers(module, content.tensors, label)
    return module, classes


def _check(settings: Settings, options: PreprocessingConfig) -> None:
    """Check the arguments and the input size, if they are not those of the library."""
    if settings.arguments or options.input_size is not None:
        check_arguments(settings.spec(settings.facts.num_classes))


def published_settings(name: str, options: PreprocessingConfig) -> Settings:
    """Return the settings of a network of torchvision or timm without weights: options first, then published ones.

    Raises:
        UsageError: If the name is unknown, or the network cannot be built with the options.
    """
    pretrained.check_name(name)
    settings = combine(pretrained.facts(name), options, None, recognised=True)
    _check(settings, options)
    return settings


def _random(name: str, options: PreprocessingConfig) -> LoadedClassifier:
    """Build a classifier with random weights, the same every time."""
    settings = published_settings(name, options)
    spec = settings.spec(settings.facts.num_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = spec.build()
    return LoadedClassifier(
        network=network,
        facts=settings.facts,
        file="",
        sha256="",
        spec=spec,
        settings=settings,
    )


def _meant_a_tag(name: str, weights: str) -> str:
    tags = [entry.tag for entry in pretrained.entries(name) if entry.tag]
    if weights in tags:
        return f" An entry is named with the model: --model {base_name(name)}.{weights}."
    return " Write a file, pretrained or none."
