"""Image classifiers of torchvision and timm: built by name, filled with their weights, ready for uint8 images."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvkit import device as machine
from cvkit import files
from cvkit.catalog import TIMM_PREFIX, Pretrained
from cvkit.errors import UsageError, WeightsError
from cvkit.models import fetch
from cvkit.models.exported.exported import ExportedNetwork, check_kind, is_exported
from cvkit.models.fetch import Say
from cvkit.models.published import pretrained
from cvkit.models.weights import read_tensors
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.labels import load_labels
from cvkit.tasks.classification.state_dicts import build_with_weights, infer_num_classes, reject_extra_layers

SEED = 0  # of random weights, so that two runs without weights agree


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network with its weights, and where they came from: a file and its sha256, both empty for random weights.

    ``note`` says what was taken for granted, for the person who watches; it is empty where nothing was.
    """

    module: nn.Module
    facts: Pretrained
    file: str
    sha256: str
    note: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on: the model, its weights, how they want their images, and the names of the classes."""
        return {
            "model": self.facts.model,
            "weights_sha256": self.sha256 or "random",
            "preprocessing": asdict(self.facts.preprocessing),
            "labels_sha256": _digest(self.facts.labels, self.facts.class_ids) if self.facts.labels else "none",
        }

    @property
    def details(self) -> dict[str, Any]:
        """What else a manifest tells of the weights."""
        tag = self.facts.tag if self.file and not self.note else None  # of weights that are known
        found = {"weights": self.file or "random", "tag": tag, "classes": self.facts.num_classes}
        return found | ({"note": self.note} if self.note else {})


def load(name: str, weights: str = "pretrained", labels: str | None = None, say: Say = lambda _: None) -> Loaded:
    """Build the classifier ``name`` ("vgg16", "mobilenet_v2.IMAGENET1K_V2", "timm:resnet18") and fill in its weights.

    ``weights`` is "pretrained" (from the cache of torchvision or timm, else downloaded), "none" (random, the same every
    time) or a file, whose last layer tells the number of classes. Either may be an exported model (.onnx, .pt2), which
    brings its own network. ``labels`` is a file with the classes' names. Raises UsageError for an unknown name or
    labels of another number, WeightsError where the weights cannot be had or do not fit, and DataError for labels that
    cannot be read.
    """
    file = next((word for word in (weights, name) if is_exported(word)), None)
    if file is None:
        pretrained.check_name(name)
    if file is not None:
        loaded = _exported(Path(file))
    elif weights == "none":
        facts = pretrained.facts(name)
        loaded = Loaded(module=_random(name, facts.num_classes), facts=facts, file="", sha256="")
    else:
        loaded = _load(name, weights, say)
    if labels is None:
        return loaded
    words, class_ids = load_labels(labels)
    count = loaded.facts.num_classes
    if len(words) != count:
        raise UsageError(f"--labels {labels} names {len(words)} classes, but the weights of {name} have {count}.")
    return replace(loaded, facts=replace(loaded.facts, labels=words, class_ids=class_ids))


def open_on(loaded: Loaded, precision: str, device: torch.device) -> tuple[Classifier, str]:
    """Return the classifier on a device, and the precision that is meant: auto is fp32.

    bf16 changes 3 of 160 answers of mobilenet_v2, and heat maps are differences of large numbers: half precision is for
    those who ask for it, in all commands alike, so that their ranks agree.
    """
    chosen = "fp32" if precision == "auto" else machine.choose_precision(precision, device)
    if isinstance(loaded.module, ExportedNetwork):
        loaded.module.place(device)
    dtype = machine.autocast_dtype(chosen) or torch.float32
    return Classifier(loaded.module, loaded.facts, device=device, dtype=dtype), chosen


def _exported(path: Path) -> Loaded:
    network = ExportedNetwork(path)
    check_kind(network.facts, {"classifier": "logits"}, str(path))
    facts = network.facts
    if facts.way is None:
        raise WeightsError(f"{path}: an exported classifier that does not say how it wants its images.")
    model, _, tag = facts.model.partition(".")
    known = Pretrained(
        model=model,
        tag=tag or None,
        preprocessing=facts.way,
        num_classes=facts.spec["classes"],
        labels=facts.labels,
        class_ids=facts.class_ids,
        licence=facts.licence,
    )
    return Loaded(module=network, facts=known, file=str(path), sha256=files.sha256(path))


def _digest(labels: Sequence[str], class_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([labels, class_ids]).encode()).hexdigest()


def _load(name: str, weights: str, say: Say) -> Loaded:
    note = ""
    if weights == "pretrained":
        facts = pretrained.facts(name)
        file = fetch.download(facts, say)  # checks what is in the cache, and fetches what is not
    else:
        file = Path(weights)
        if not file.is_file():
            what = "is a folder, not a file." if file.is_dir() else "no such file."
            raise WeightsError(f"--weights {weights}: {what}{_meant_a_tag(name, weights)}")
        facts, known = pretrained.identify(name, file)
        if not known:
            note = f"{file} is none of the published files of {name}: images are prepared as for {facts.name}."
    given = read_tensors(file)
    name = facts.name  # the file may be of another entry than the default
    build = partial(make, name)
    classes = infer_num_classes(build, given, str(file), facts.num_classes)
    module = build_with_weights(build, classes, given, str(file))
    if weights != "pretrained":
        reject_extra_layers(module, given, str(file))
    if classes != facts.num_classes:
        facts = replace(facts, num_classes=classes, labels=(), class_ids=(), top1=None)
    return Loaded(module=module, facts=facts, file=str(file), sha256=files.sha256(file), note=note)


def make(name: str, num_classes: int | None = None) -> nn.Module:
    """Build a classifier of torchvision or timm with random weights; None keeps its own number of classes."""
    bare = base_name(name)
    extra: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name.startswith(TIMM_PREFIX):
        import timm

        return timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, **extra)
    from torchvision import models

    if bare in ("inception_v3", "googlenet"):
        # Their trained weights want the input brought from ImageNet's normalisation to their own; the auxiliary
        # classifiers are for training only.
        extra |= {"init_weights": False, "aux_logits": False, "transform_input": True}
    elif bare.startswith("vit_"):
        # The one family that is built for an image size, which differs between the entries of its weights.
        extra["image_size"] = pretrained.facts(name).preprocessing.crop[0]
    return models.get_model(bare, weights=None, **extra)


def blueprint(name: str, num_classes: int | None = None) -> Callable[[], nn.Module]:
    """Return what builds the network anew, for dry runs on the meta device."""
    return partial(make, name, num_classes)


def base_name(name: str) -> str:
    """Return a model's name without the tag of its weights: "vgg16.IMAGENET1K_V1" is "vgg16"."""
    prefix = TIMM_PREFIX if name.startswith(TIMM_PREFIX) else ""
    return prefix + name.removeprefix(prefix).split(".")[0]


def _random(name: str, num_classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return make(name, num_classes)


def _meant_a_tag(name: str, weights: str) -> str:
    tags = [entry.tag for entry in pretrained.entries(name) if entry.tag]
    if weights in tags:
        return f" An entry is named with the model: --model {base_name(name)}.{weights}."
    return " Write a file, pretrained or none."
