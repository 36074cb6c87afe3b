"""Read settings from configuration files (TOML, YAML, JSON), and write them as TOML."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cvkit.config.base import Config
from cvkit.config.option import fields_of
from cvkit.config.values import to_text
from cvkit.errors import CvkitError, UsageError, first_line

C = TypeVar("C", bound=Config)
# Keys of a run's config.json that are no options.
RUN_KEYS = frozenset({"command", "resolved", "cvkit", "torch"})


def read_settings(path: str, command: str) -> dict[str, Any]:
    """Read the settings of a command from a file.

    Args:
        path: A TOML, YAML or JSON file with one key per option, or the ``config.json`` of a run folder.
        command: Name of the running command, such as ``train-saliency``.

    Returns:
        The values by key, without the keys of ``config.json`` that are no options.

    Raises:
        UsageError: If the file cannot be read, holds no table, or was written by another command.
    """
    try:
        document = _parse(Path(path))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read ({error.strerror or error}).") from error
    except CvkitError:
        raise
    except Exception as error:
        kind = Path(path).suffix.lstrip(".").upper()
        raise UsageError(f"--config {path} is not valid {kind} ({first_line(error)}).") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UsageError(f"--config {path} does not hold one value per option.")
    origin = document.get("command", command)
    if origin != command:
        raise UsageError(f"--config {path} holds settings of `cvkit {origin}`, not of `cvkit {command}`.")
    # The config.json of a run that was resumed says so, but a repetition of the run starts anew.
    ignored = RUN_KEYS | {"resume"} if "resolved" in document else RUN_KEYS
    return {key: value for key, value in document.items() if key not in ignored}


def _parse(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise UsageError(f"--config {path}: the name must end in .toml, .yaml, .yml or .json.")
    text = path.read_text(encoding="utf-8-sig")
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    import yaml  # type: ignore[import-untyped]

    return yaml.safe_load(text)


def build_config(kind: type[C], options: Mapping[str, Any], path: str | None, command: str) -> C:
    """Build the settings of a command from the command line and a configuration file.

    Args:
        kind: The Config class.
        options: Values given on the command line, by field name. They override the file.
        path: The configuration file, or None.
        command: Name of the running command.

    Raises:
        UsageError: If an option is unknown, missing or not allowed. If the file is at fault, the message names it.
    """
    if path is None:
        return kind.from_dict(options)
    names = {key: name for name, field in fields_of(kind).items() for key in field.keys}
    values = {names.get(key.replace("-", "_"), key): value for key, value in read_settings(path, command).items()}
    try:
        return kind.from_dict({**values, **options})
    except UsageError as error:
        raise UsageError(f"{error} (settings from {path})") from error


def as_toml(config: Config, command: str) -> str:
    """Write settings as TOML that ``--config`` reads; options without a value are comments."""
    import tomli_w

    lines = [f'command = "{command}"']
    for name, field in fields_of(type(config)).items():
        value = getattr(config, name)
        if value is None:
            default = field.option.unset or field.option.default_text
            lines.append(f"# {name}: {default}" if default else f"# {name}: not set")
        elif field.option.parse is not None and not isinstance(value, int | float | str):
            lines.append(tomli_w.dumps({name: to_text(field, value)}).strip())
        else:
            lines.append(tomli_w.dumps({name: list(value) if isinstance(value, tuple) else value}).strip())
    return "\n".join(lines) + "\n"
