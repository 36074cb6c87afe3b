"""Find the published weights of torchvision and timm by model name, by pattern, or by a weights file."""

import difflib
import re
from fnmatch import fnmatchcase
from pathlib import Path

from cvkit.catalog import CLASSIFIERS, TIMM_PREFIX, Pretrained
from cvkit.errors import UsageError, WeightsError
from cvkit.files import sha256
from cvkit.messages import did_you_mean
from cvkit.models.fetch import file_name, hash_in
from cvkit.models.published.libraries import (
    addresses,
    timm_backbone_entry,
    timm_entries,
    timm_names,
    timm_renamed,
    torchvision_entries,
    torchvision_names,
)

_DEFAULT = "DEFAULT"  # torchvision's tag for its best weights
_FIRST_RELEASE = "IMAGENET1K_V1"  # torchvision's tag for the first weights of a model


def check_name(name: str, flag: str = "--model") -> None:
    """Check that a classifier is published under a name.

    Args:
        name: Name of a model, with or without the tag of its weights.
        flag: Option or argument that gave the name, for the message.

    Raises:
        UsageError: If there is no such classifier or no such tag; the message suggests the nearest name.
    """
    _choose(name, flag)


def facts(name: str) -> Pretrained:
    """Return the published weights that a name stands for.

    Args:
        name: "vgg16" or "timm:resnet18" for the library's default, "vgg16.IMAGENET1K_V1" for the weights of a tag.

    Raises:
        UsageError: If there is no such classifier or no such tag.
    """
    return _choose(name, "--model")


def entries(name: str) -> list[Pretrained]:
    """Return all published weights of a model, the default first; a tag in the name is ignored.

    Raises:
        UsageError: If there is no such classifier.
    """
    return _entries(name, "--model")


def backbone_entry(name: str) -> Pretrained:
    """Return the weights with which a pretrained backbone starts.

    Args:
        name: A torchvision model ("vgg16"), or a timm model with or without a tag ("timm:resnet18.tv_in1k"); it may
            have no classifier.

    Returns:
        IMAGENET1K_V1 of a torchvision model, or the default if there are no weights of that tag; the weights of the tag
        or the default of a timm model. ``source`` is empty if no weights are published.
    """
    if name.startswith(TIMM_PREFIX):
        return timm_backbone_entry(name.removeprefix(TIMM_PREFIX))
    weights = torchvision_entries(name)
    return next((entry for entry in weights if entry.tag == _FIRST_RELEASE), weights[0])


def names(pattern: str | None = None) -> list[tuple[str, str]]:
    """Return the classifiers whose names match a pattern, those of torchvision first.

    Args:
        pattern: Glob pattern, case-insensitive; without wildcards it may match any part of a name. None matches all.

    Returns:
        Pairs of a name and its library, "torchvision" or "timm".
    """
    ours = [name for name in torchvision_names() if matches(name, pattern) and torchvision_entries(name)]
    theirs = [TIMM_PREFIX + name for name in timm_names(classifiers=True)]
    return [(name, "torchvision") for name in ours] + [(name, "timm") for name in theirs if matches(name, pattern)]


def matches(name: str, pattern: str | None) -> bool:
    """Return whether the name of a model, with or without its prefix "timm:", matches a pattern as in ``names``."""
    glob = (pattern or "*").lower()
    if not re.search(r"[*?\[]", glob):
        glob = f"*{glob}*"
    return any(fnmatchcase(word.lower(), glob) for word in (name, name.removeprefix(TIMM_PREFIX)))


def identify(name: str, file: Path) -> tuple[Pretrained, bool]:
    """Find out which published weights of a model a file holds.

    A file is recognised by a hash that is part of an entry's own file name, by its name or folder, or by the tag in
    ``name``. For other files the entry is IMAGENET1K_V1, or the default if there are no weights of that tag.

    Args:
        name: Name of a model, with or without a tag.
        file: Weights file.

    Returns:
        The entry, and whether the file was recognised.

    Raises:
        UsageError: If the name is unknown, or the file holds the weights of another tag.
        WeightsError: If the file cannot be read.
    """
    chosen, published = facts(name), entries(name)
    if not file.is_file():
        raise WeightsError(f"There is no weights file {file}.")
    recognised = _by_hash(file, published)
    if _split(name)[1] is not None:
        if recognised is not None and recognised.tag != chosen.tag:
            raise UsageError(f"--model {name}: {file} holds the weights of another tag; use --model {recognised.name}.")
        return chosen, True
    recognised = recognised or next((entry for entry in published if _named_after(file, entry)), None)
    if recognised is not None:
        return recognised, True
    return next((entry for entry in published if entry.tag == _FIRST_RELEASE), chosen), False


def _split(name: str) -> tuple[str, str | None]:
    model, _, tag = name.partition(".")
    return model, tag or None


def _choose(name: str, flag: str) -> Pretrained:
    published = _entries(name, flag)
    model, tag = _split(name)
    tags = [entry.tag for entry in published if entry.tag]
    if tag is None or (tag == _DEFAULT and tags):
        return published[0]
    for entry in published:
        if entry.tag == tag:
            return entry
    if model in timm_names() and tag in (entry.tag for entry in timm_entries(model)):
        raise UsageError(f"{flag} {name}: torchvision's {model} has no weights '{tag}': write {TIMM_PREFIX}{name}.")
    if not tags:
        raise UsageError(f"{flag} {name}: there are no pretrained weights of {model}.")
    raise UsageError(f"{flag} {name}: {model} has no weights '{tag}' with a classifier.{did_you_mean(tag, tags)}")


def _entries(name: str, flag: str) -> list[Pretrained]:
    model, _ = _split(name)
    short = model.removeprefix(TIMM_PREFIX)
    if model in torchvision_names():
        published = torchvision_entries(model)
    elif model != short and short in timm_names():
        published = timm_entries(short)
    else:
        raise UsageError(f"{flag}: {_correction(model)}")
    if not published:
        raise UsageError(f"{flag} {model}: none of its weights has a classifier; they give features or embeddings.")
    return list(published)


def _correction(model: str) -> str:
    """Return a message that an unknown name does not exist, with the name to write instead."""
    short = model.removeprefix(TIMM_PREFIX)
    in_torchvision, in_timm = torchvision_names(), timm_names()
    if short in in_timm:
        return f"torchvision has no '{short}', but timm has {short}: write {TIMM_PREFIX}{short}."
    if short in in_torchvision:
        return f"timm has no '{short}', but torchvision has {short}: write {short}."
    renamed = timm_renamed(short)
    if renamed:
        return f"timm calls '{short}' {renamed} now: write {TIMM_PREFIX}{renamed}."
    full_names = {name: TIMM_PREFIX + name for name in in_timm}
    if model == short:
        full_names |= {name: name for name in (*in_torchvision, *CLASSIFIERS)}
    near = difflib.get_close_matches(short.lower(), full_names, n=1)
    hint = f"Did you mean '{full_names[near[0]]}'?" if near else "Known are, for example, vgg16 and timm:resnet18."
    return f"{'torchvision and timm have' if model == short else 'timm has'} no classifier '{short}'. {hint}"


def _by_hash(file: Path, published: list[Pretrained]) -> Pretrained | None:
    digests = {digest: entry for entry in published for url in addresses(entry) if (digest := hash_in(url))}
    try:
        actual = sha256(file) if digests else ""
    except OSError as error:
        raise WeightsError(f"The weights file {file} cannot be read ({error.strerror or error}).") from error
    return next((entry for digest, entry in digests.items() if actual.startswith(digest)), None)


def _named_after(file: Path, entry: Pretrained) -> bool:
    """Return whether a file has the entry's file name, or it or a folder of its path the entry's or repository's name.

    The cache of the Hugging Face hub names a folder after the repository.
    """
    if entry.tag is None:
        return False
    repository = entry.source.split("@")[0].split("/")[:2]
    names = {entry.name.removeprefix(TIMM_PREFIX), "--".join(["models", *repository])}
    return file.name in map(file_name, addresses(entry)) or bool(names & {file.stem, *file.absolute().parts})
