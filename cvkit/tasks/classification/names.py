"""List the names that the shell completes: classifiers, backbones, layers and class labels, without importing torch.

The names come from ``names.json.gz`` beside this module, which ``docs/make_names.py`` writes. The functions return an
empty list for unknown models and for files that cannot be read, because a shell completion has no place for an error.
"""

import ast
import gzip
import importlib.util
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cvkit.errors import DataError
from cvkit.models.published.imagenet import imagenet_ids
from cvkit.tasks.classification.labels import load_labels

DATA = Path(__file__).with_name("names.json.gz")

_CATEGORIES = Path("models", "_meta.py")  # inside torchvision's package
_IMAGENET_LIST = "_IMAGENET_CATEGORIES"
_DEFAULT = "DEFAULT"  # torchvision's alias for its best weights


def classifiers() -> list[str]:
    """Return the names that ``--model`` takes for classifiers of torchvision and timm.

    Each name ("mobilenet_v2", "timm:resnet18") is followed by its names with a tag of weights
    ("mobilenet_v2.IMAGENET1K_V2"), the default tag first.
    """
    models = _table().get("models", {})
    return [word for name, facts in models.items() for word in (name, *(f"{name}.{tag}" for tag in facts["tags"]))]


def backbones() -> list[str]:
    """Return the names, without tags, of the networks that ``train-saliency --backbone`` takes."""
    return list(_table().get("backbones", []))


def layers(model: str) -> list[str]:
    """Return the names that ``gradcam --layer`` takes for a classifier, in the order the layers run.

    Args:
        model: Name of a classifier, with or without a tag; or the run folder of one.

    Returns:
        Names such as "layer4" and "features.norm5+relu"; [] for an unknown classifier, and for one whose layers
        ``docs/make_names.py`` could not determine.
    """
    facts = _facts(_read_run(model).get("model", model))
    return _table()["layers"][facts["layers"]].split(" ") if facts and facts["layers"] >= 0 else []


def class_labels(model: str, labels_file: str | None = None) -> list[str]:
    """Return one word per class that ``--class`` takes and that means this class alone, in the order of the classes.

    Args:
        model: Name of a classifier, with or without a tag; or the run folder of one. A name without a tag means the
            default weights.
        labels_file: File of ``--labels``, which replaces the labels of the model.

    Returns:
        The first name of each label ("tabby" for "tabby, tabby cat"). If several classes share it, the whole label, or
        the class id if they share that too. [] if the labels are unknown or the file cannot be read. The labels of the
        larger ImageNets (12,000 or 22,000 classes) are left out.
    """
    if labels_file is not None:
        try:
            return _distinct(*load_labels(labels_file))
        except DataError:
            return []
    if run := _read_run(model):
        return _distinct(run["classes"], ())
    return _distinct(_imagenet_labels(), imagenet_ids()) if _has_imagenet_classes(model) else []


def _read_run(folder: str) -> dict[str, Any]:
    """Return the model and the classes of a run of train-classifier; {} if the folder holds none."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model, classes = config["model"], config["resolved"]["classes"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    is_run = isinstance(model, str) and isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return {"model": model, "classes": classes} if is_run else {}


def _facts(model: str) -> dict[str, Any] | None:
    facts: dict[str, Any] | None = _table().get("models", {}).get(model.partition(".")[0])
    return facts


def _table() -> dict[str, Any]:
    return _read(DATA)


@cache
def _read(path: Path) -> dict[str, Any]:
    """Return the content of the data file; {} if it is missing or damaged."""
    try:
        table: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    return table


def _has_imagenet_classes(model: str) -> bool:
    facts, tag = _facts(model), model.partition(".")[2]
    if not facts or not facts["tags"]:
        return False
    tags: dict[str, bool] = facts["tags"]
    return next(iter(tags.values())) if tag in ("", _DEFAULT) else tags.get(tag, False)


def _imagenet_labels() -> Sequence[str]:
    """Return torchvision's labels of the 1000 ImageNet classes, parsed from its source so that nothing is imported."""
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        try:
            source = ast.parse((Path(folder) / _CATEGORIES).read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in source.body:
            if isinstance(node, ast.Assign) and _IMAGENET_LIST in [ast.unparse(target) for target in node.targets]:
                labels: list[str] = ast.literal_eval(node.value)
                return labels
    return ()


def _distinct(labels: Sequence[str], class_ids: Sequence[str]) -> list[str]:
    """Return for each class the shortest word that ``find_class`` takes for this class alone, if there is one."""
    whole = Counter(labels)
    # find_class compares the comma-separated names of a label without regard to case and underscores.
    parts = [[_folded(part) for part in label.split(",")] for label in labels]
    times = Counter(part for names in parts for part in set(names))
    words = []
    for index, label in enumerate(labels):
        if times[parts[index][0]] == 1:
            words.append(label.split(",")[0].strip())
        elif whole[label] == 1:
            words.append(label)
        elif class_ids:
            words.append(class_ids[index])
    return words


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
