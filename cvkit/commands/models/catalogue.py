"""Look up the models that can be used by name, and their pretrained weights."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS, TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.errors import UsageError
from cvkit.models import fetch
from cvkit.models.published import pretrained
from cvkit.models.published.table import LIBRARIES, ListedEntry, listed

LIBRARY = "cvkit"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One entry of a classifier's pretrained weights; None stands for what is not known.

    Attributes:
        name: Name of the model with the tag of this entry.
        tag: Tag of the entry.
        classes: Number of classes.
        labels: Whether the names of the classes are known.
        top1: Accuracy on ImageNet in per cent.
        licence: Licence of the weights.
        bytes: Size of the file.
        source: URL, or repository of the Hugging Face hub.
        cached: Path of the file on this machine.
        preprocessing: The preprocessing that the weights require.
    """

    name: str
    tag: str | None
    classes: int
    labels: bool
    top1: float | None
    licence: str | None
    bytes: int | None
    source: str
    cached: str | None
    preprocessing: Preprocessing


def describe_weights(entries: Iterable[ListedEntry]) -> tuple[Weights, ...]:
    """Return the entries that have a file, with its path if it is on this machine."""
    return tuple(_describe(item.entry, item.labelled) for item in entries if item.entry.source)


def _describe(entry: Pretrained, labelled: bool) -> Weights:
    path = fetch.cached(entry)
    return Weights(
        name=entry.name,
        tag=entry.tag,
        classes=entry.num_classes,
        labels=labelled,
        top1=entry.top1,
        licence=entry.licence,
        bytes=path.stat().st_size if path else entry.file_bytes,
        source=entry.source,
        cached=str(path) if path else None,
        preprocessing=entry.preprocessing,
    )


def check_classifier(name: str, argument: str) -> None:
    """Raise UsageError for an unknown name, with the nearest of all known names.

    Args:
        name: Name of a classifier.
        argument: Name of the command's argument, for the message.
    """
    if name in CLASSIFIERS:
        return
    try:
        pretrained.check_name(name, argument)
    except UsageError as error:
        near = nearest_model(name)
        if near in SALIENCY_MODELS or near in CLASSIFIERS:
            raise UsageError(f"{argument}: there is no model '{name}'. Did you mean '{near}'?") from error
        raise


def nearest_model(word: str) -> str | None:
    """Return the model whose name is most similar to a word or pattern, or None."""
    bare = re.sub(r"[*?\[\]]", "", word).lower().removeprefix(TIMM_PREFIX)
    published = [name for library in LIBRARIES for name in listed(library)]
    names = {name.removeprefix(TIMM_PREFIX): name for name in reversed(published)}
    names |= {name: name for name in (*SALIENCY_MODELS, *CLASSIFIERS)}
    near = difflib.get_close_matches(bare, names, n=1)
    return names[near[0]] if near else None
