"""Show what a command would do: its settings, and the files it would read and write."""

from pathlib import Path
from typing import Any

from cvkit import files
from cvkit.cli.console import Console
from cvkit.config import Config, InferenceConfig
from cvkit.config.option import Field, fields_of
from cvkit.config.sources import as_toml
from cvkit.config.values import to_text
from cvkit.inputs import find_inputs, reads_stdin
from cvkit.messages import counted


def show_plan(console: Console, command: str, config: Config) -> None:
    """Print the resolved settings as TOML that ``--config`` reads, followed by comments on files.

    Raises:
        DataError: If the inputs of an inference command name no file.
    """
    config = config.resolved()
    reads, writes = _reads(config), _writes(config)
    console.result({"command": command, "settings": config.as_dict(), "reads": reads, "writes": writes})
    console.lines(*as_toml(config, command).rstrip().split("\n"))
    console.lines(*(f"# reads {path}: {state}" for path, state in reads.items()))
    console.lines(*(f"# writes {path}: {state}" for path, state in writes.items()))


def _fields(config: Config, access: str) -> list[tuple[Field, Any]]:
    described = fields_of(type(config)).values()
    return [(field, getattr(config, field.name)) for field in described if field.option.access == access]


def _reads(config: Config) -> dict[str, str]:
    """Return the paths that the command would read, each with what is found there."""
    found = {}
    if isinstance(config, InferenceConfig):
        words = " ".join(config.inputs)
        listed = reads_stdin(config.inputs)
        found[words] = "a list on stdin" if listed else counted(len(find_inputs(config.inputs)), "image")
    for field, value in _fields(config, "read"):
        is_name = bool(field.option.complete) and isinstance(value, str) and not _exists(value)
        if isinstance(value, str) and value not in field.option.choices and not is_name:
            found[value] = _state(Path(value))
    return found


def _writes(config: Config) -> dict[str, str]:
    """Return the paths that the command would write, each with what is there already."""
    found = {}
    for field, value in _fields(config, "write"):
        path = value if value is not None else getattr(config, "folder", None)
        if path is None:
            found[to_text(field, field.default) or field.option.default_text] = "chosen when the command runs"
        else:
            found[path] = _state(Path(path))
    return found


def _exists(name: str) -> bool:
    return files.is_file(name) or files.is_folder(name)


def _state(path: Path) -> str:
    if files.is_folder(str(path)):
        return "an existing folder" if any(path.iterdir()) else "an empty folder"
    return "an existing file" if files.is_file(str(path)) else "no such file or folder yet"
