"""Read the options of each command from the program itself, and find the options that a message names."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import typer

from cvkit.cli import main as program

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
QUOTED = re.compile(r"`([^`]+)`|^\$ (.+)$")  # a shell command in a message; `cvkit demo` prints those that it runs
Name = tuple[str, ...]


@functools.cache
def options_by_command() -> dict[Name, frozenset[str]]:
    """Return the option names of each command and group, by its words after ``cvkit``; those of ``cvkit`` under ()."""
    return dict(_walk(typer.main.get_command(program.app), ()))


def _walk(command: Any, name: Name) -> list[tuple[Name, frozenset[str]]]:
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    found = [(name, frozenset({*flags, "--help", "-h"}))]
    for word, child in getattr(command, "commands", {}).items():
        found += _walk(child, (*name, word))
    return found


def command_of(words: Sequence[str]) -> Name:
    """Return the name of the command that a command line runs, which stands before all of its options."""
    known = options_by_command()
    return next(tuple(words[:count]) for count in (2, 1, 0) if tuple(words[:count]) in known)


def unknown_options(words: Sequence[str], message: str) -> set[str]:
    """Return the options that a message names and that the running command does not have.

    Args:
        words: Command line without ``cvkit``.
        message: Lines that the command wrote. Options in a quoted command (`` `cvkit export --format pt2` ``) must be
            those of that command, and quoted options (`` `--weights FILE` ``) those of any command; commands of other
            programs are not checked. A word that the message rejects as "no such option" is one that the user typed.
    """
    options = options_by_command()
    wrong: set[str] = set()
    for line in message.splitlines():
        for quoted in QUOTED.finditer(line):
            first, *rest = (quoted[1] or quoted[2]).split()
            named = set(OPTION.findall(quoted[0]))
            if first == "cvkit":
                wrong |= named - options[command_of(rest)]
            elif first.startswith("--") and not any(named <= known for known in options.values()):
                wrong |= named
        typed = re.findall(r"No such option: (--[\w-]+)", line)
        wrong |= set(OPTION.findall(QUOTED.sub("", line))) - options[command_of(words)] - set(typed)
    return wrong
