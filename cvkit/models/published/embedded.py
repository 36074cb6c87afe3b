"""Read the preprocessing and the class names that stand in or beside a weights file.

timm writes them in two places: ``config.json`` beside ``model.safetensors`` or ``pytorch_model.bin`` (Hugging Face
folders, ``timm.models.save_for_hf``), and ``args`` in the checkpoints of its training script. A ``pretrained_cfg``
inside a file, as an entry of the checkpoint or in the metadata of safetensors, has the form of the one in
``config.json``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvkit.config import PreprocessingConfig
from cvkit.config.preprocessing import parse_arguments
from cvkit.errors import UsageError
from cvkit.models.plain import is_of_type

CONFIGURED = ("model.safetensors", "pytorch_model.bin")  # files to which a config.json beside them belongs
KEYS = ("pretrained_cfg", "default_cfg")
MAX_BYTES = 2**26
_WORDNET = re.compile(r"n\d{8}")


@dataclass(frozen=True, kw_only=True)
class EmbeddedConfig:
    """The settings with which the weights of a file were trained, as far as the file says.

    Attributes:
        source: Where they stand, for messages.
        options: Preprocessing and arguments of the network; None and () for what is not said.
        labels: Labels of the classes; empty if they are not said.
        class_ids: WordNet ids of the classes; empty if they are not said.
        ignored: Settings that cvkit cannot use, as KEY=VALUE.
    """

    source: str
    options: PreprocessingConfig
    labels: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_embedded(file: Path, extras: Mapping[str, Any]) -> EmbeddedConfig | None:
    """Read the settings in or beside a weights file.

    Args:
        file: The weights file.
        extras: What the file holds beside tensors, see ``models.weights.WeightsFile``.

    Returns:
        The settings; None if there are none.
    """
    for key in KEYS:
        config = _decoded(extras.get(key))
        if config is not None:
            return _from_timm(f"its {key}", config, {})
    beside = file.with_name("config.json")
    config = _read_json(beside) if file.name in CONFIGURED else None
    if config is not None and "architecture" in config:
        nested = config.get("pretrained_cfg")
        inner = nested if isinstance(nested, Mapping) else config  # earlier versions of timm wrote one dictionary
        return _from_timm(f"{beside.name} beside it", {**inner, **_labels_of(config)}, config.get("model_args"))
    arguments = extras.get("args")
    if isinstance(arguments, Mapping):
        return _from_timm("the settings of its training run", arguments, arguments.get("model_kwargs"))
    return None


def _labels_of(config: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: config[key] for key in ("label_names", "label_descriptions") if key in config}
    return names if "label_names" in names or "labels" not in config else {**names, "label_names": config["labels"]}


def _decoded(value: Any) -> Mapping[str, Any] | None:
    """Return a dictionary that a checkpoint holds, or that the metadata of safetensors hold as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return _decoded(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _from_timm(source: str, config: Mapping[str, Any], arguments: Any) -> EmbeddedConfig:
    values: dict[str, Any] = {}
    ignored = []
    for name, value in _preprocessing(config).items():
        try:
            PreprocessingConfig(**{name: value})
            values[name] = value
        except (UsageError, TypeError, ValueError, OverflowError):
            ignored.append(f"{name}={str(value)[:40]}")
    words = []
    for key, value in arguments.items() if isinstance(arguments, Mapping) else ():
        word = f"{key}={value!r}"
        try:
            parse_arguments((word,))
            words.append(word)
        except UsageError:  # such as the number of classes, which the tensors say
            if key not in ("num_classes", "in_chans"):
                ignored.append(word[:60])
    labels, class_ids = _labels(config.get("label_names"), config.get("label_descriptions"))
    return EmbeddedConfig(
        source=source,
        options=PreprocessingConfig(**values, model_arg=tuple(words)),
        labels=labels,
        class_ids=class_ids,
        ignored=tuple(ignored),
    )


def _preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of PreprocessingConfig that a configuration of timm sets, with values of any type."""
    found: dict[str, Any] = {}
    for name in ("mean", "std"):
        value: Any = config.get(name)
        if is_of_type(value, tuple[float, ...]) and len(value) in (1, 3):
            found[name] = tuple(map(float, list(value) * (3 // len(value))))
        elif value:
            found[name] = value
    size: Any = config.get("input_size")
    if is_of_type(size, tuple[int, ...]) and len(size) == 3:
        found["input_size"] = (size[1], size[2])
    elif is_of_type(config.get("img_size"), int):
        found["input_size"] = (config["img_size"], config["img_size"])
    for name in ("interpolation", "crop_pct", "crop_mode"):
        value = config.get(name)
        if value and value != "random":  # interpolation of training only
            found[name] = float(value) if is_of_type(value, float) else value
    return found


def _labels(names: Any, descriptions: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels and WordNet ids; timm's names of ImageNet's classes are their ids, with descriptions."""
    if not is_of_type(names, tuple[str, ...]) or not names:
        return (), ()
    described = descriptions if isinstance(descriptions, Mapping) else {}
    labels = tuple(str(described.get(name, name)).split(",")[0].strip() or name for name in names)
    ids = tuple(names) if all(_WORDNET.fullmatch(name) for name in names) else ()
    return labels, ids
