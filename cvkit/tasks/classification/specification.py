"""Describe a classification network by plain values from which it is built."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from cvkit.catalog import CLASSIFIERS, TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.config.preprocessing import parse_arguments
from cvkit.errors import WeightsError
from cvkit.models.exported.facts import Facts
from cvkit.models.plain import have_types, is_input_size
from cvkit.models.published import pretrained
from cvkit.tasks.classification.networks.build import build


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """The description of a network.

    Attributes:
        name: A name of ``CLASSIFIERS``, or of torchvision or timm with or without the tag of weights.
        classes: Number of classes.
        size: (height, width) of its input in pixels.
        arguments: Arguments of the builder of torchvision or timm, as KEY=VALUE.
    """

    name: str
    classes: int
    size: tuple[int, int]
    arguments: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of one image for the network, (1, 3, height, width)."""
        return 1, 3, *self.size

    def build(self) -> nn.Module:
        """Build the network with random weights.

        Raises:
            UsageError: If there is no such network, or it cannot process images of the size.
        """
        if self.name in CLASSIFIERS:
            return build(self.name, self.classes, self.size, CLASSIFIERS[self.name].channels)
        return make(self.name, self.classes, self.arguments)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON and checkpoints."""
        return {**asdict(self), "size": list(self.size), "arguments": list(self.arguments)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkSpec":
        """Rebuild a description from ``as_dict()``.

        Raises:
            WeightsError: If a field is missing or unknown, or has a value of another type.
        """
        names = {field.name for field in fields(cls)}
        complete = isinstance(values, Mapping) and names - {"arguments"} <= set(values) <= names
        if not complete or not have_types(values, cls) or not is_input_size(values["size"]) or values["classes"] < 1:
            raise WeightsError("The checkpoint does not describe a classifier; was it made by a newer cvkit?")
        height, width = values["size"]
        return cls(
            name=values["name"],
            classes=values["classes"],
            size=(height, width),
            arguments=tuple(values.get("arguments", ())),
        )


def spec_of(facts: Facts) -> NetworkSpec:
    """Return the description of the network of an exported classifier."""
    return NetworkSpec(
        name=facts.spec["name"],
        classes=facts.spec["classes"],
        size=facts.size,
        arguments=tuple(facts.spec.get("arguments", ())),
    )


def base_name(name: str) -> str:
    """Return a model's name without the tag of its weights: "vgg16.IMAGENET1K_V1" is "vgg16"."""
    prefix = TIMM_PREFIX if name.startswith(TIMM_PREFIX) else ""
    return prefix + name.removeprefix(prefix).split(".")[0]


def make(name: str, num_classes: int | None = None, arguments: Sequence[str] = ()) -> nn.Module:
    """Build a network of torchvision or timm with random weights.

    Args:
        name: Name of the model, with or without a tag.
        num_classes: Number of classes; None keeps the model's own.
        arguments: Arguments for the library as KEY=VALUE, see ``parse_arguments``.
    """
    bare = base_name(name)
    values: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    given = parse_arguments(tuple(arguments))
    if name.startswith(TIMM_PREFIX):
        import timm

        return timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, **values, **given)
    from torchvision import models

    if bare in ("inception_v3", "googlenet"):
        # Their trained weights want the input brought from ImageNet's normalisation to their own; the auxiliary
        # classifiers are for training only.
        values |= {"init_weights": False, "aux_logits": False, "transform_input": True}
    elif bare.startswith("vit_"):
        # The one family that is built for an image size, which differs between the entries of its weights.
        values["image_size"] = pretrained.facts(name).preprocessing.crop[0]
    return models.get_model(bare, weights=None, **(values | given))


def own_facts(name: str, size: tuple[int, int] | None = None) -> Pretrained:
    """Return the preprocessing of a network of ``CLASSIFIERS``, which has no published weights.

    Images are squashed to the input size, so that no part of a small image is lost.
    """
    facts = CLASSIFIERS[name]
    crop = size or facts.size
    mean, std = (tuple(values) * (3 // len(values)) for values in (facts.mean, facts.std))
    steps = Preprocessing(resize=crop, crop=crop, mean=mean, std=std)  # type: ignore[arg-type]
    return Pretrained(model=name, tag=None, preprocessing=steps, num_classes=10)
