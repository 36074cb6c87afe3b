"""Read the metadata of the weights that torchvision and timm publish; no network is built and nothing is downloaded."""

import re
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Any

from cvkit.catalog import TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.imports import without_collector
from cvkit.models.published.imagenet import imagenet_ids
from cvkit.models.published.overrides import crop_fraction, resize_for

Labels = tuple[tuple[str, ...], tuple[str, ...]]  # the labels and the WordNet ids of the classes

_MIB = 2**20
_IMAGENET = re.compile(r"in\w?\d+k")  # an ImageNet in a tag of timm: "in1k", "in22k", "inw21k"
_IMAGENET_1K = re.compile(r"in1k(_\d+)?$")  # the data set of the last training; the number is an image size
_EMBEDDING_STEP = 128


def torchvision_names() -> list[str]:
    """Return the sorted names of torchvision's image classifiers."""
    models = _torchvision_models()
    return sorted(models.list_models(module=models))


@cache
def torchvision_entries(name: str) -> tuple[Pretrained, ...]:
    """Return the published weights of a torchvision model, the default first.

    Weights without class labels have no classifier and are left out. A model without any weights has one entry, with
    the preprocessing of most torchvision models.

    Args:
        name: One of ``torchvision_names()``.
    """
    models = _torchvision_models()
    weights = models.get_model_weights(name)
    if not len(weights):
        return (_unpublished(name),)
    ordered = sorted(weights, key=lambda entry: entry is not weights.DEFAULT)
    return tuple(_from_torchvision(name, entry) for entry in ordered if entry.meta.get("categories"))


def _unpublished(model: str) -> Pretrained:
    """Return the entry of a model of which the library tells nothing."""
    return Pretrained(model=model, tag=None, preprocessing=Preprocessing(resize=256, crop=(224, 224)), num_classes=1000)


def _from_torchvision(model: str, entry: Any) -> Pretrained:
    transforms, labels = entry.transforms(), tuple(entry.meta["categories"])
    size_mib = entry.meta.get("_file_size")
    return Pretrained(
        model=model,
        tag=entry.name,
        preprocessing=Preprocessing(
            resize=transforms.resize_size[0],
            crop=(transforms.crop_size[0], transforms.crop_size[-1]),
            interpolation=transforms.interpolation.value,
            mean=_rgb(transforms.mean),
            std=_rgb(transforms.std),
        ),
        num_classes=len(labels),
        labels=labels,
        class_ids=imagenet_ids() if len(labels) == len(imagenet_ids()) else (),
        licence=entry.meta.get("license"),
        file_bytes=round(size_mib * _MIB) if size_mib else None,
        top1=entry.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1"),
        source=entry.url,
    )


def timm_names(*, classifiers: bool = False) -> list[str]:
    """Return the sorted names of timm's models, without prefix and tag.

    Args:
        classifiers: Whether to leave out models whose weights have no classifier.
    """
    table = _timm_configs()
    return sorted(name for name in table if not classifiers or any(_is_classifier(config) for config in table[name]))


@cache
def timm_entries(short: str) -> tuple[Pretrained, ...]:
    """Return the published weights of a timm model that have a classifier, the default first.

    A model without any weights has one entry, without a tag.

    Args:
        short: Name without the prefix "timm:" and without a tag, one of ``timm_names()``.
    """
    return tuple(_from_timm(short, config) for config in _timm_configs()[short] if _is_classifier(config))


@cache
def timm_backbone_entry(short: str) -> Pretrained:
    """Return the weights that timm loads into a pretrained model, with or without a classifier.

    Args:
        short: Name without the prefix "timm:", with or without a tag ("resnet18", "resnet18.tv_in1k"); it may be a
            former name.
    """
    import timm

    name = timm_renamed(short) or short
    config = timm.get_pretrained_cfg(name)
    architecture = name.partition(".")[0]
    return _unpublished(TIMM_PREFIX + architecture) if config is None else _from_timm(architecture, config)


def timm_renamed(short: str) -> str | None:
    """Return the present name, often with a tag, of a model that an older timm called ``short``; None for others."""
    import timm

    renamed: dict[str, str | None] = getattr(timm.models, "get_deprecated_models", dict)()
    return renamed.get(short)


def published_crop_pct(entry: Pretrained) -> float | Fraction:
    """Return the size of the crop as a fraction of the resized image, as timm publishes it for an entry.

    Torchvision publishes the sizes; the fraction is their exact ratio.
    """
    if entry.model.startswith(TIMM_PREFIX):
        configs = _timm_configs()[entry.model.removeprefix(TIMM_PREFIX)]
        return next((config.crop_pct for config in configs if (config.tag or None) == entry.tag), configs[0].crop_pct)
    return crop_fraction(entry.preprocessing)


def fixed_input_size(model: str) -> bool:
    """Return whether timm builds a model for one input size, which the argument ``img_size`` changes."""
    configs = _timm_configs().get(model.removeprefix(TIMM_PREFIX).partition(".")[0], [])
    return model.startswith(TIMM_PREFIX) and any(config.fixed_input_size for config in configs)


def addresses(entry: Pretrained) -> list[str]:
    """Return the URLs from which an entry's file can be downloaded.

    For weights on the Hugging Face hub timm may know an older URL as well.
    """
    if not entry.model.startswith(TIMM_PREFIX):
        return [entry.source] if entry.source else []
    configs = _timm_configs()[entry.model.removeprefix(TIMM_PREFIX)]
    return [config.url for config in configs if config.tag == entry.tag and config.url]


@cache
def _torchvision_models() -> ModuleType:
    with without_collector():
        from torchvision import models
    return models


@cache
def _timm_configs() -> dict[str, list[Any]]:
    """Return {architecture: configurations of its weights, the default first}; without weights, the default alone."""
    with without_collector():
        import timm

    with_weights: dict[str, list[Any]] = {}
    for name in timm.list_pretrained():
        with_weights.setdefault(name.partition(".")[0], []).append(timm.get_pretrained_cfg(name))
    table = {}
    for name in timm.list_models():
        default = timm.get_pretrained_cfg(name)
        if default is not None:
            configs = with_weights.get(name, [default])
            table[name] = sorted(configs, key=lambda config: config.tag != default.tag)
    return table


def _is_classifier(config: Any) -> bool:
    """Return whether weights of timm are those of a classifier of colour images.

    For an image encoder of a text-image model (CLIP) timm gives the width of its embedding as the number of classes: a
    multiple of 128, which no data set in timm has as its number of classes.
    """
    classes = config.num_classes
    embedding = classes % _EMBEDDING_STEP == 0 and not _IMAGENET.search(config.tag or "")
    return bool(classes) and not embedding and config.input_size[0] == 3


def _from_timm(short: str, config: Any) -> Pretrained:
    preprocessing, model = _timm_preprocessing(config), TIMM_PREFIX + short
    if not config.has_weights:
        return Pretrained(model=model, tag=None, preprocessing=preprocessing, num_classes=config.num_classes)
    labels, class_ids = _timm_labels(config.num_classes, config.tag or "")
    file = f"/{config.hf_hub_filename}" if config.hf_hub_filename else ""
    return Pretrained(
        model=model,
        tag=config.tag or None,
        preprocessing=preprocessing,
        num_classes=config.num_classes,
        labels=labels,
        class_ids=class_ids,
        licence=config.license if config.license != "unknown" else None,
        source=config.hf_hub_id + file if config.hf_hub_id else config.url or "",
    )


def _timm_preprocessing(config: Any) -> Preprocessing:
    from timm.data import resolve_data_config

    resolved = resolve_data_config({}, pretrained_cfg=config.to_dict())
    _, height, width = resolved["input_size"]
    return replace(
        resize_for((height, width), resolved["crop_pct"], resolved["crop_mode"]),
        interpolation=resolved["interpolation"],
        mean=_rgb(resolved["mean"]),
        std=_rgb(resolved["std"]),
    )


def _timm_labels(num_classes: int, tag: str) -> Labels:
    """Return labels and WordNet ids if the tag shows that the classes are those of ImageNet or of a larger ImageNet."""
    from timm.data import infer_imagenet_subset

    if num_classes == 1000:
        return (_imagenet_labels(), imagenet_ids()) if _IMAGENET_1K.search(tag) else ((), ())
    subset = infer_imagenet_subset({"num_classes": num_classes}) if _IMAGENET.search(tag) else None
    return _large_imagenet(subset) if subset else ((), ())


@cache
def _imagenet_labels() -> tuple[str, ...]:
    return torchvision_entries("resnet50")[0].labels


@cache
def _large_imagenet(subset: str) -> Labels:
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    return tuple(text.split(",")[0] for text in info.label_descriptions()), tuple(info.label_names())


def _rgb(values: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
