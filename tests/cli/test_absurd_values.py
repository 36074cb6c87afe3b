"""Give absurd texts to every option of every command through the whole command line."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cvkit.cli import main as program
from cvkit.cli.command import Command

from .conftest import Run

COMMANDS = [command for command in program.ALL_COMMANDS if command.settings]
TEXTS = ["", "nan", "1e308", "-1", str(2**64), "9" * 5000, "x" * 10000, "a\0b", "²", "\udcff", "\x1b[0m\n", "@x", "["]
# Words that let the command reach its settings; each option under test comes after them, and the last one counts.
REQUIRED = {
    "--data": "d",
    "--model": "vgg16",
    "INPUTS": "photo.png",
    "MODEL": "vgg16",
    "NAME": "vgg16",
    "DIR": "d",
    "--out": "o",
}

NEEDS_MODEL = ("evaluate", "export")  # they take either a model or another option


def command_line(command: Command[Any, Any], name: str, text: str) -> list[str]:
    """Return the words of a command in which one option has a text; arguments stand at the end, after ``--``."""
    options, arguments = [], []
    for field in command.fields():
        positional = field.option.argument and not field.option.names
        if field.name == name:
            (arguments if positional else options).append(text if positional else f"{field.flag}={text}")
        elif field.required or (command.name in NEEDS_MODEL and field.name == "model" and name != "inspect"):
            value = REQUIRED[field.flag]
            (arguments if positional else options).append(value if positional else f"{field.flag}={value}")
    return [*command.name.split(), *options, "--dry-run", "--", *arguments]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.replace(" ", "-"))
def test_an_absurd_text_ends_without_a_traceback(run: Run, photo: Path, command: Command[Any, Any]) -> None:
    shutil.copy(photo, "photo.png")
    for field in command.fields():
        for text in TEXTS if field.kind is not bool else ():
            ended = run(*command_line(command, field.name, text))
            assert ended.code in (0, 1, 2), (field.name, text[:20], ended.err)
            assert ended.err.count("\n") == (ended.code != 0) and len(ended.err) < 3000, (field.name, ended.err)
            assert "Traceback" not in ended.err and "bug" not in ended.err
            assert "\x1b" not in ended.out + ended.err
