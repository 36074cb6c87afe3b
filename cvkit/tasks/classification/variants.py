"""Enumerate the preprocessings with which foreign weights may have been trained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD, TIMM_PREFIX, Preprocessing
from cvkit.config import PreprocessingConfig
from cvkit.config.option import fields_of
from cvkit.config.preprocessing import parse_arguments
from cvkit.config.values import to_text
from cvkit.models.published import pretrained
from cvkit.models.published.libraries import fixed_input_size
from cvkit.models.published.overrides import with_overrides
from cvkit.tasks.classification.arguments import build_on_meta
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.classification.settings import PARTS

NORMALISATIONS = (
    (IMAGENET_MEAN, IMAGENET_STD),
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # values from -1 to 1, as in TensorFlow
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # values from 0 to 1
    ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),  # values from 0 to 255
)
CROPS = (0.875, 0.9, 0.95, 1.0)
INTERPOLATIONS = ("bilinear", "bicubic")
# Arguments of timm's networks: the padding and the epsilon of batch norms of PyTorch, and those of TensorFlow.
ALTERNATIVES = {"pad_type": ("pad_type=", "pad_type=same"), "bn_eps": ("bn_eps=1e-05", "bn_eps=0.001")}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One preprocessing and padding to try.

    Attributes:
        options: All parts of the preprocessing, and the arguments that options set. ``crop_pct`` is None if the
            published one is above 1, which no option sets.
        preprocessing: The preprocessing.
    """

    options: PreprocessingConfig
    preprocessing: Preprocessing

    def changed(self, **values: Any) -> "Variant":
        """Return the variant with some of its options changed; ``argument`` sets one argument of the network."""
        if "argument" in values:
            word = values.pop("argument")
            key = word.partition("=")[0]
            others = (each for each in self.options.model_arg if each.partition("=")[0].strip() != key)
            values["model_arg"] = (*others, word)
        steps = PreprocessingConfig(**{name: value for name, value in values.items() if name in PARTS})
        preprocessing = with_overrides(self.preprocessing, steps, self.options.crop_pct)
        return Variant(options=replace(self.options, **values), preprocessing=preprocessing)


def base_variant(loaded: LoadedClassifier, given: PreprocessingConfig) -> Variant:
    """Return the preprocessing and the arguments with which a command would use a classifier."""
    assert loaded.settings is not None
    steps = loaded.facts.preprocessing
    options = PreprocessingConfig(
        mean=steps.mean,
        std=steps.std,
        input_size=steps.crop,
        interpolation=steps.interpolation,
        crop_pct=loaded.settings.crop_pct if loaded.settings.crop_pct <= 1 else None,
        crop_mode=steps.mode,
        model_arg=given.model_arg,
    )
    return Variant(options=options, preprocessing=steps)


def stages(loaded: LoadedClassifier, given: PreprocessingConfig) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the options to try one stage after the other, those that matter most first.

    Args:
        loaded: The classifier.
        given: Options of the command, which are not varied.

    Returns:
        Names of the stages, each with the changes of its variants.
    """
    normalisations = [
        {"mean": mean, "std": std}
        for mean, std in NORMALISATIONS
        if given.mean in (None, mean) and given.std in (None, std)
    ]
    paddings = [{"argument": word} for word in _alternatives(loaded, given, "pad_type")]
    first: list[dict[str, Any]] = [{}, *normalisations, *paddings]
    first += [one | other for one in normalisations for other in paddings]
    sizes = [] if given.input_size or fixed_input_size(loaded.facts.model) else _sizes(loaded.facts.model)
    crops = CROPS if given.crop_pct is None else ()
    interpolations = INTERPOLATIONS if given.interpolation is None else ()
    return [
        ("normalisation and padding", first),
        ("batch norms", [{"argument": word} for word in _alternatives(loaded, given, "bn_eps")]),
        ("input sizes", [{"input_size": size} for size in sizes]),
        ("crops", [{"crop_pct": crop} for crop in crops]),
        ("interpolations", [{"interpolation": word} for word in interpolations]),
    ]


def _sizes(model: str) -> list[tuple[int, int]]:
    """Return the distinct input sizes of the published weights of a model."""
    if not model.startswith(TIMM_PREFIX) and model.startswith("vit_"):
        return []  # built for one size
    return list(dict.fromkeys(entry.preprocessing.crop for entry in pretrained.entries(model)))


def _alternatives(loaded: LoadedClassifier, given: PreprocessingConfig, key: str) -> list[str]:
    """Return the arguments that give a network of timm another padding, or another epsilon; none if it has only one."""
    if not loaded.facts.model.startswith(TIMM_PREFIX) or key in parse_arguments(given.model_arg):
        return []

    spec = loaded.spec

    def structure(arguments: Sequence[str]) -> str:
        return repr(build_on_meta(lambda words: replace(spec, arguments=tuple(words)).build(), arguments))

    own = structure(spec.arguments)
    others = tuple(word for word in spec.arguments if word.partition("=")[0].strip() != key)
    try:
        return [word for word in ALTERNATIVES[key] if structure((*others, word)) != own]
    except TypeError:  # the network has no such argument
        return []


def options_of(best: PreprocessingConfig, base: PreprocessingConfig, given: PreprocessingConfig) -> list[str]:
    """Return the options that select a variant: those that differ from the default, and those that were given."""
    words: list[str] = []
    for name, field in fields_of(PreprocessingConfig).items():
        value = getattr(best, name)
        if name in PARTS and (value != getattr(base, name) or getattr(given, name) is not None):
            words += [field.flag, to_text(field, value)]
    return words + [word for argument in best.model_arg for word in ("--model-arg", argument)]


def distinct(variants: Iterable[Variant], known: Iterable[Variant]) -> list[Variant]:
    """Return the variants that differ from each other and from those that are known."""
    seen = [_key(variant) for variant in known]
    new = []
    for variant in variants:
        if _key(variant) not in seen:
            seen.append(_key(variant))
            new.append(variant)
    return new


def _key(variant: Variant) -> tuple[Preprocessing, tuple[str, ...]]:
    return variant.preprocessing, variant.options.model_arg
