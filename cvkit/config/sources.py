"""Read settings from configuration files (TOML, YAML, JSON), and write them as TOML."""

import json
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cvkit.config.base import Config
from cvkit.config.option import fields_of
from cvkit.config.values import shown, to_text
from cvkit.errors import CvkitError, UsageError
from cvkit.messages import first_line

C = TypeVar("C", bound=Config)
MAX_BYTES = 10_000_000  # of a configuration file; those of runs have some thousand
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
    if not isinstance(origin, str):
        raise UsageError(f"--config {path} names no command: {shown(origin)} is not a text.")
    if origin != command:
        raise UsageError(f"--config {path} holds settings of `cvkit {origin}`, not of `cvkit {command}`.")
    # The config.json of a run that was resumed says so, but a repetition of the run starts anew.
    ignored = RUN_KEYS | {"resume"} if "resolved" in document else RUN_KEYS
    return {key: value for key, value in document.items() if key not in ignored}


def _parse(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise UsageError(f"--config {path}: the name must end in .toml, .yaml, .yml or .json.")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"--config {path} is not a file.")
    if status.st_size > MAX_BYTES:
        raise UsageError(f"--config {path} has {status.st_size:,} bytes, more than settings need ({MAX_BYTES:,}).")
    text = path.read_text(encoding="utf-8-sig")
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique)
    return _parse_yaml(text)


def _unique(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return pairs as a dictionary; raise ValueError if a key is there twice, of which one value would be lost."""
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} is there twice")
    return document


def _parse_yaml(text: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            _unique([(self.construct_object(key, deep=True), None) for key, _ in node.value])
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    return yaml.load(text, Loader)  # a subclass of the safe loader


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
    settings = read_settings(path, command)
    overridden = {key for key in settings if names.get(key.replace("-", "_")) in options}
    values = {key: value for key, value in settings.items() if key not in overridden}
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
