"""The pretrained classifiers of torchvision and timm by name: found, listed, and told from a weights file."""

import difflib
import re
from fnmatch import fnmatchcase
from pathlib import Path

from cvkit.catalog import TIMM_PREFIX, Pretrained
from cvkit.errors import UsageError, WeightsError, did_you_mean
from cvkit.files import sha256
from cvkit.models.fetch import file_name, hash_in
from cvkit.models.published.libraries import (
    addresses,
    timm_entries,
    timm_names,
    timm_renamed,
    torchvision_entries,
    torchvision_names,
)

__all__ = ["Pretrained", "check_name", "entries", "facts", "file_name", "hash_in", "identify", "names"]

_DEFAULT = "DEFAULT"  # what torchvision calls its best weights


def check_name(name: str, flag: str = "--model") -> None:
    """Raise UsageError, with the nearest name, where ``name`` is no classifier or its tag names no weights."""
    _choose(name, flag)


def facts(name: str) -> Pretrained:
    """Return the entry that ``name`` means: that of its tag, or the library's default. Raises UsageError."""
    return _choose(name, "--model")


def entries(name: str) -> list[Pretrained]:
    """Return all entries of a model (a tag in ``name`` is left aside), the default first. Raises UsageError."""
    return _entries(name, "--model")


def names(pattern: str | None = None) -> list[tuple[str, str]]:
    """Return (name, "torchvision" or "timm") of the classifiers that match a glob pattern, torchvision's first.

    Case does not matter, and a pattern without wildcards may stand anywhere in the name.
    """
    glob = (pattern or "*").lower()
    if not re.search(r"[*?\[]", glob):
        glob = f"*{glob}*"
    ours = [name for name in torchvision_names() if fnmatchcase(name.lower(), glob) and torchvision_entries(name)]
    theirs = [
        TIMM_PREFIX + name
        for name in timm_names(classifiers=True)
        if fnmatchcase(name.lower(), glob) or fnmatchcase(TIMM_PREFIX + name.lower(), glob)
    ]
    return [(name, "torchvision") for name in ours] + [(name, "timm") for name in theirs]


def identify(name: str, file: Path) -> tuple[Pretrained, bool]:
    """Return the entry of a model that a weights file is, and whether that is known.

    It is known by a hash that stands in the entry's own file name, by the file's name or folder, or because ``name``
    has a tag. Otherwise the entry is IMAGENET1K_V1, or the default where there is none. Raises UsageError for an
    unknown name and for a file of another entry than the tag's, WeightsError for a file that cannot be read.
    """
    chosen, found = facts(name), entries(name)
    if not file.is_file():
        raise WeightsError(f"There is no weights file {file}.")
    known = _by_hash(file, found)
    if _split(name)[1] is not None:
        if known is not None and known.tag != chosen.tag:
            raise UsageError(f"--model {name}: {file} holds other weights: say --model {known.name}.")
        return chosen, True
    known = known or next((entry for entry in found if _named_after(file, entry)), None)
    if known is not None:
        return known, True
    return next((entry for entry in found if entry.tag == "IMAGENET1K_V1"), chosen), False


def _split(name: str) -> tuple[str, str | None]:
    model, _, tag = name.partition(".")
    return model, tag or None


def _choose(name: str, flag: str) -> Pretrained:
    found = _entries(name, flag)
    model, tag = _split(name)
    tags = [entry.tag for entry in found if entry.tag]
    if tag is None or (tag == _DEFAULT and tags):
        return found[0]
    for entry in found:
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
        found = torchvision_entries(model)
    elif model != short and short in timm_names():
        found = timm_entries(short)
    else:
        raise UsageError(f"{flag}: {_instead_of(model)}")
    if not found:
        raise UsageError(f"{flag} {model}: none of its weights has a classifier; they give features or embeddings.")
    return list(found)


def _instead_of(model: str) -> str:
    """Return what to write instead of a name that the library meant does not have."""
    short = model.removeprefix(TIMM_PREFIX)
    here, there = torchvision_names(), timm_names()
    if short in there:
        return f"torchvision has no '{short}', but timm has {short}: write {TIMM_PREFIX}{short}."
    if short in here:
        return f"timm has no '{short}', but torchvision has {short}: write {short}."
    renamed = timm_renamed(short)
    if renamed:
        return f"timm calls '{short}' {renamed} now: write {TIMM_PREFIX}{renamed}."
    written = {name: TIMM_PREFIX + name for name in there}
    if model == short:
        written |= {name: name for name in here}
    near = difflib.get_close_matches(short.lower(), written, n=1)
    hint = f"Did you mean '{written[near[0]]}'?" if near else "Known are, for example, vgg16 and timm:resnet18."
    return f"{'torchvision and timm have' if model == short else 'timm has'} no classifier '{short}'. {hint}"


def _by_hash(file: Path, found: list[Pretrained]) -> Pretrained | None:
    digests = {digest: entry for entry in found for url in addresses(entry) if (digest := hash_in(url))}
    try:
        actual = sha256(file) if digests else ""
    except OSError as error:
        raise WeightsError(f"The weights file {file} cannot be read ({error.strerror or error}).") from error
    return next((entry for digest, entry in digests.items() if actual.startswith(digest)), None)


def _named_after(file: Path, entry: Pretrained) -> bool:
    """Tell whether a file has the entry's file name, or it or its folder the name of the entry or its repository."""
    if entry.tag is None:
        return False
    repository = entry.source.split("@")[0].split("/")[:2]
    wanted = {entry.name.removeprefix(TIMM_PREFIX), "--".join(["models", *repository])}  # as the hub's cache has it
    return file.name in map(file_name, addresses(entry)) or bool(wanted & {file.stem, *file.absolute().parts})
