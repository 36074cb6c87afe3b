"""What torchvision and timm tell of their classifiers, each in its own way: no network, nothing is built."""

import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from cvkit.catalog import TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.models.published.imagenet import imagenet_ids

Labels = tuple[tuple[str, ...], tuple[str, ...]]  # the labels and the WordNet ids of the classes

_MIB = 2**20
_IMAGENET = re.compile(r"in\w?\d+k")  # an ImageNet in a tag of timm: "in1k", "in22k", "inw21k"
_IMAGENET_1K = re.compile(r"in1k(_\d+)?$")  # the last one; the number is an image size
_EMBEDDING_STEP = 128


def torchvision_names() -> list[str]:
    """Return the names of torchvision's image classifiers, sorted."""
    from torchvision import models

    return sorted(models.list_models(module=models))


@cache
def torchvision_entries(name: str) -> tuple[Pretrained, ...]:
    """Return the entries of a torchvision model, the default first.

    Weights without names of classes have no classifier and are left out. Of a model without any weights there is one
    entry, with the preprocessing that most of torchvision's have.
    """
    from torchvision import models

    weights = models.get_model_weights(name)
    if not len(weights):
        return (
            Pretrained(
                model=name, tag=None, preprocessing=Preprocessing(resize=256, crop=(224, 224)), num_classes=1000
            ),
        )
    ordered = sorted(weights, key=lambda entry: entry is not weights.DEFAULT)
    return tuple(_from_torchvision(name, entry) for entry in ordered if entry.meta.get("categories"))


def _from_torchvision(model: str, entry: Any) -> Pretrained:
    way, labels = entry.transforms(), tuple(entry.meta["categories"])
    size = entry.meta.get("_file_size")  # MiB
    return Pretrained(
        model=model,
        tag=entry.name,
        preprocessing=Preprocessing(
            resize=way.resize_size[0],
            crop=(way.crop_size[0], way.crop_size[-1]),
            interpolation=way.interpolation.value,
            mean=_rgb(way.mean),
            std=_rgb(way.std),
        ),
        num_classes=len(labels),
        labels=labels,
        class_ids=imagenet_ids() if len(labels) == len(imagenet_ids()) else (),
        licence=entry.meta.get("license"),
        file_bytes=round(size * _MIB) if size else None,
        top1=entry.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1"),
        source=entry.url,
    )


def timm_names(*, classifiers: bool = False) -> list[str]:
    """Return the names of timm's models without prefix and tag, sorted; on demand only those with a classifier."""
    table = _timm_table()
    return sorted(name for name in table if not classifiers or any(_is_classifier(setting) for setting in table[name]))


@cache
def timm_entries(short: str) -> tuple[Pretrained, ...]:
    """Return the entries of a timm model (its name without the prefix), the default first.

    Weights without a classifier are left out. Of a model without any weights there is one entry, without a tag.
    """
    return tuple(_from_timm(short, setting) for setting in _timm_table()[short] if _is_classifier(setting))


def timm_renamed(short: str) -> str | None:
    """Return what a model that an older timm called ``short`` is called now."""
    import timm

    renamed: dict[str, str | None] = getattr(timm.models, "get_deprecated_models", dict)()
    return renamed.get(short)


def addresses(entry: Pretrained) -> list[str]:
    """Return the URLs of an entry's file: of one on the hub timm may know an older one beside it."""
    if not entry.model.startswith(TIMM_PREFIX):
        return [entry.source] if entry.source else []
    settings = _timm_table()[entry.model.removeprefix(TIMM_PREFIX)]
    return [setting.url for setting in settings if setting.tag == entry.tag and setting.url]


@cache
def _timm_table() -> dict[str, list[Any]]:
    """Return {architecture: its settings with weights, the default first}; without weights, the default alone."""
    import timm

    weighed: dict[str, list[Any]] = {}
    for full in timm.list_pretrained():
        weighed.setdefault(full.partition(".")[0], []).append(timm.get_pretrained_cfg(full))
    table = {}
    for name in timm.list_models():
        default = timm.get_pretrained_cfg(name)
        if default is not None:
            settings = weighed.get(name, [default])
            table[name] = [s for s in settings if s.tag == default.tag] + [s for s in settings if s.tag != default.tag]
    return table


def _is_classifier(setting: Any) -> bool:
    """Tell whether timm's settings are those of a classifier of colour images whose crop Preprocessing can say.

    Of an image tower of a text-image model (CLIP) timm gives the width of its embedding as the number of classes: a
    multiple of 128, which is no number of classes in timm.
    """
    channels, height, width = setting.input_size
    classes = setting.num_classes
    embedding = classes % _EMBEDDING_STEP == 0 and not _IMAGENET.search(setting.tag or "")
    cut = setting.crop_mode == "squash" or (setting.crop_mode == "center" and height == width)
    return bool(classes) and not embedding and channels == 3 and cut


def _from_timm(short: str, setting: Any) -> Pretrained:
    from timm.data import resolve_data_config

    config = resolve_data_config({}, pretrained_cfg=setting.to_dict())
    _, height, width = config["input_size"]
    # As timm's own evaluation transform: what the image is brought to before the crop is rounded down.
    tall, wide = (math.floor(side / config["crop_pct"]) for side in (height, width))
    way = Preprocessing(
        resize=(tall, wide) if config["crop_mode"] == "squash" else tall,
        crop=(height, width),
        interpolation=config["interpolation"],
        mean=_rgb(config["mean"]),
        std=_rgb(config["std"]),
    )
    model = TIMM_PREFIX + short
    if not setting.has_weights:
        return Pretrained(model=model, tag=None, preprocessing=way, num_classes=setting.num_classes)
    labels, class_ids = _timm_labels(setting.num_classes, setting.tag or "")
    file = f"/{setting.hf_hub_filename}" if setting.hf_hub_filename else ""
    return Pretrained(
        model=model,
        tag=setting.tag or None,
        preprocessing=way,
        num_classes=setting.num_classes,
        labels=labels,
        class_ids=class_ids,
        licence=setting.license if setting.license != "unknown" else None,
        source=setting.hf_hub_id + file if setting.hf_hub_id else setting.url or "",
    )


def _timm_labels(num_classes: int, tag: str) -> Labels:
    """Return labels and WordNet ids where a tag tells that the classes are ImageNet's or those of a larger ImageNet."""
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
