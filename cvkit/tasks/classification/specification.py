"""Describe a classification network by plain values from which it is built."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from cvkit.catalog import CLASSIFIERS, Preprocessing, Pretrained
from cvkit.errors import WeightsError
from cvkit.models.plain import have_types, is_input_size
from cvkit.tasks.classification.networks.build import build
from cvkit.tasks.classification.networks.library import build_library_network


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

    def build(self) -> nn.Module:
        """Build the network with random weights.

        Raises:
            UsageError: If there is no such network, or it cannot process images of the size.
        """
        if self.name in CLASSIFIERS:
            return build(self.name, self.classes, self.size, CLASSIFIERS[self.name].channels)
        return build_library_network(self.name, self.classes, self.arguments)

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


def own_facts(name: str, size: tuple[int, int] | None = None) -> Pretrained:
    """Return the preprocessing of a network of ``CLASSIFIERS``, which has no published weights.

    Images are squashed to the input size, so that no part of a small image is lost.
    """
    facts = CLASSIFIERS[name]
    crop = size or facts.size
    mean, std = (tuple(values) * (3 // len(values)) for values in (facts.mean, facts.std))
    steps = Preprocessing(resize=crop, crop=crop, mean=mean, std=std)  # type: ignore[arg-type]
    return Pretrained(model=name, tag=None, preprocessing=steps, num_classes=10)
