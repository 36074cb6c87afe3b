"""Combine the settings of a named classifier: options, those in its weights file, and those that are published."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cvkit.catalog import TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.config import PreprocessingConfig
from cvkit.config.option import fields_of
from cvkit.config.preprocessing import format_rgb, parse_arguments
from cvkit.config.values import format_size
from cvkit.errors import UsageError
from cvkit.models.published.embedded import EmbeddedConfig
from cvkit.models.published.libraries import fixed_input_size, published_crop_pct
from cvkit.models.published.overrides import with_overrides
from cvkit.tasks.classification.specification import NetworkSpec

OPTION, FILE, PUBLISHED, ASSUMED = "option", "file", "published", "assumed"
PARTS = ("mean", "std", "input_size", "interpolation", "crop_pct", "crop_mode")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How images are prepared for a classifier, and how its network is built.

    Attributes:
        facts: The published entry with this preprocessing, and with the class names of the file if it has any.
        arguments: Arguments of the network as KEY=VALUE.
        sources: Source of each part of the preprocessing: option, file, published or assumed.
        crop_pct: Size of the crop as a fraction of the resized image, from which the sizes follow.
    """

    facts: Pretrained
    crop_pct: float
    arguments: tuple[str, ...]
    sources: Mapping[str, str]

    def spec(self, num_classes: int) -> NetworkSpec:
        """Return the description of the network with a number of classes."""
        return NetworkSpec(
            name=self.facts.name, classes=num_classes, size=self.facts.preprocessing.crop, arguments=self.arguments
        )


def combine(
    entry: Pretrained, options: PreprocessingConfig, embedded: EmbeddedConfig | None, *, recognised: bool
) -> Settings:
    """Return the settings: options first, then those of the weights file, then those of a published entry.

    Args:
        entry: The published weights, or those that are most similar to the file.
        options: Options of the command.
        embedded: Settings in or beside the weights file, None if there are none.
        recognised: Whether the weights are those of the entry.

    Raises:
        UsageError: If the resized image would be too large.
    """
    in_file = embedded.options if embedded else PreprocessingConfig()
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for part in PARTS:
        levels = ((OPTION, getattr(options, part)), (FILE, getattr(in_file, part)))
        source, value = next(((name, value) for name, value in levels if value is not None), (None, None))
        values[part], sources[part] = value, source or (PUBLISHED if recognised else ASSUMED)
    merged = PreprocessingConfig(**values)
    crop_pct = published_crop_pct(entry)
    preprocessing = with_overrides(entry.preprocessing, merged, crop_pct)
    arguments = _merge(options.model_arg, in_file.model_arg)
    arguments += _size_argument(entry, preprocessing, arguments)
    facts = replace(entry, preprocessing=preprocessing)
    if embedded and embedded.labels:
        facts = replace(facts, labels=embedded.labels, class_ids=embedded.class_ids, num_classes=len(embedded.labels))
    return Settings(facts=facts, crop_pct=float(merged.crop_pct or crop_pct), arguments=arguments, sources=sources)


def describe(settings: Settings, parts: Iterable[str] = PARTS) -> str:
    """Return the preprocessing, or some parts of it, in words."""
    steps = settings.facts.preprocessing
    texts = {
        "input_size": f"input {format_size(steps.crop)}",
        "crop_pct": f"crop {settings.crop_pct:.3g}",
        "crop_mode": f"crop mode {steps.mode}",
        "interpolation": steps.interpolation,
        "mean": f"mean {format_rgb(steps.mean)}",
        "std": f"std {format_rgb(steps.std)}",
    }
    return ", ".join(text for part, text in texts.items() if part in set(parts))


def assumption(settings: Settings, file: str, name: str) -> str:
    """Return the note about the parts of the preprocessing that nothing says; empty if there are none."""
    assumed = [part for part in PARTS if settings.sources[part] == ASSUMED]
    if not assumed:
        return ""
    flags = ", ".join(fields_of(PreprocessingConfig)[part].flag for part in assumed)
    return (
        f"{file} is none of the published files of {name}, so this is assumed as for {settings.facts.name}: "
        f"{describe(settings, assumed)}. Set it with {flags}; `cvkit models check` measures which settings fit."
    )


def given_options(options: PreprocessingConfig) -> list[str]:
    """Return the names of the options that are set, as the command line has them."""
    fields = fields_of(PreprocessingConfig).items()
    return [field.flag for name, field in fields if getattr(options, name) not in (None, ())]


def reject_options(options: PreprocessingConfig, reference: str, reason: str) -> None:
    """Raise UsageError if any option is set for a model that does not take them.

    Args:
        options: The options.
        reference: The model as it was named.
        reason: Why it does not take them.
    """
    given = given_options(options)
    if given:
        verb = "have" if len(given) > 1 else "has"
        raise UsageError(f"{', '.join(given)} {verb} no effect on {reference}, {reason}: leave out {', '.join(given)}.")


def _merge(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of both, those of ``first`` in place of equal names in ``second``."""
    names = parse_arguments(first)
    return first + tuple(word for word in second if word.partition("=")[0].strip() not in names)


def _size_argument(entry: Pretrained, preprocessing: Preprocessing, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argument that builds a network of fixed input size for another size, if it is needed."""
    size = preprocessing.crop
    is_timm = entry.model.startswith(TIMM_PREFIX)
    name = "img_size" if is_timm else "image_size"
    fixed = fixed_input_size(entry.model) if is_timm else entry.model.startswith("vit_")
    if size == entry.preprocessing.crop or not fixed or name in parse_arguments(arguments):
        return ()
    if is_timm:
        return (f"{name}={size}",)
    if size[0] != size[1]:
        raise UsageError(f"--input-size {format_size(size)}: {entry.model} takes square images only.")
    return (f"{name}={size[0]}",)
