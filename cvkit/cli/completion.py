"""Shell completion of option values, from tables that need no torch."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer

from cvkit.config.option import Field

MAX_PATHS = 200  # entries of a folder that are offered
PATH_METAVARS = ("REF", "MODEL", "FILE", "DIR", "DIR|FILE", "INPUTS")

Completer = Callable[[typer.Context, str], list[str]]


@contextmanager
def words_joined_at_colons(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Rejoin words such as ``timm:resnet18`` while a request for completions from bash is answered.

    Bash divides words at colons and replaces only what follows the last one, so that the part before it is removed from
    the completions on stdout.

    Args:
        environment: Variables of the process; ``COMP_WORDS`` and ``COMP_CWORD`` are changed.
    """
    prefix = ""
    if environment.get("_CVKIT_COMPLETE") == "complete_bash" and "COMP_WORDS" in environment:
        prefix = _join(environment)
    if not prefix:
        yield
        return
    stdout = sys.stdout
    with redirect_stdout(io.StringIO()) as answer:
        try:
            yield
        finally:
            stdout.writelines(line.removeprefix(prefix) for line in answer.getvalue().splitlines(keepends=True))


def _join(environment: MutableMapping[str, str]) -> str:
    """Rejoin the words up to the current one; return the part of the current one that bash keeps."""
    words = environment["COMP_WORDS"].split("\n")[: int(environment["COMP_CWORD"]) + 1]
    joined: list[str] = []
    for word in words:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    if len(joined) < len(words):
        environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)
    return joined[-1][: joined[-1].rindex(":") + 1] if joined[-1] != words[-1] else ""


def completer(field: Field) -> Completer:
    """Return what completes the value of an option: its choices, names from a table, and paths."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        option = field.option
        done, comma, word = (
            incomplete.rpartition(",") if field.kind is tuple and not option.repeat else ("", "", incomplete)
        )
        words: Iterable[str] = [*option.choices, *([option.unset] if option.unset else [])]
        if option.complete:
            words = [*words, *_names(option.complete, ctx)]
        found = [f"{done}{comma}{each}" for each in words if each.startswith(word)]
        if option.metavar in PATH_METAVARS or option.other == "FILE":
            found += _paths(incomplete)
        return found

    return complete


def _names(source: str, ctx: typer.Context) -> list[str]:
    """Return the names of a table that fit the options typed so far."""
    from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS
    from cvkit.tasks.classification import names

    if source == "saliency-model":
        return list(SALIENCY_MODELS)
    if source == "backbone":
        return names.backbones()
    if source == "model":
        saliency = list(SALIENCY_MODELS) if ctx.info_name in ("evaluate", "export", "show") else []
        return [*saliency, *CLASSIFIERS, *names.classifiers()]
    model = _typed(ctx, "model") or "vgg16"
    return names.layers(model) if source == "layer" else names.class_labels(model, _typed(ctx, "labels"))


def _typed(ctx: typer.Context, name: str) -> str | None:
    """Return the value of an option that stands before the cursor on the command line."""
    values: dict[str, Any] = ctx.params
    return values.get(name)


def _paths(incomplete: str) -> list[str]:
    """Return the files and folders whose path begins with the text; folders end in a slash."""
    folder, _, start = incomplete.rpartition("/")
    parent = Path(folder + "/" if "/" in incomplete else ".").expanduser()
    try:
        with os.scandir(parent) as entries:
            matches = [each for each in entries if each.name.startswith(start) and (start or each.name[0] != ".")]
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in incomplete else ""
    return sorted(f"{prefix}{each.name}{'/' if each.is_dir() else ''}" for each in matches[:MAX_PATHS])
