"""Build Typer commands from Config classes, whose fields declare the options."""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import typer

from cvkit.cli.boundary import PastTyper
from cvkit.cli.completion import completer
from cvkit.cli.console import Console, ProgressMode
from cvkit.cli.plan import show_plan
from cvkit.config import Config, InferenceConfig
from cvkit.config.option import MAX_NUMBER, PANELS, Field, fields_of
from cvkit.config.sources import build_config
from cvkit.config.values import from_text, to_text
from cvkit.errors import UsageError
from cvkit.progress import Reporter

C = TypeVar("C", bound=Config)
R = TypeVar("R")

TRAIN, USE, INSPECT, TOOLS = "Train", "Use", "Inspect", "Tools"
SETTINGS, REPORTING = "Settings", "Reporting"
MAX_METAVAR = 32  # characters of the choices in the column of forms


@dataclass(frozen=True, kw_only=True)
class Command(Generic[C, R]):
    """A command of the program.

    Attributes:
        name: Its words after ``cvkit``, such as ``predict`` or ``models list``.
        help: Text for ``--help``; the first sentence also stands in the list of commands.
        config: Its Config class. Each field becomes an option.
        run: Does the work. It imports what it needs when it is called, so that ``--help`` stays fast.
        show: Prints the result for people; it is called in ``--json`` mode too, where tables and lines are dropped.
        document: Converts the result to what ``--json`` prints.
        panel: Heading in the list of commands.
        page: Its page in ``docs/``.
        settings: Whether it has ``--config`` and ``--dry-run``.
        progress: Whether it has ``--progress`` and ``--quiet``.
    """

    name: str
    help: str
    config: type[C]
    run: Callable[[C, Reporter], R]
    show: Callable[[Console, R], None]
    document: Callable[[R], Any] = lambda result: result
    panel: str = TOOLS
    page: str
    settings: bool = True
    progress: bool = True

    def fields(self) -> list[Field]:
        """Return the options in the order of ``--help``: arguments, then panel by panel, required ones first."""
        found = fields_of(self.config).values()
        return sorted(
            found, key=lambda field: (not field.option.argument, PANELS.index(field.option.panel), not field.required)
        )


@contextmanager
def open_console(progress: ProgressMode, *, quiet: bool, json: bool) -> Iterator[Console]:
    """Yield the console of one command, and remove its live display in the end."""
    console = Console(progress, quiet=quiet, json_output=json)
    try:
        yield console
    finally:
        console.close()


def add_command(app: typer.Typer, command: Command[Any, Any]) -> None:
    """Add a command to an app under the last word of its name."""
    parameters = [parameter for field in command.fields() for parameter in _parameters(field)]
    parameters += _common(command)

    def callback(**values: Any) -> None:
        try:
            execute(command, values)
        except (OSError, EOFError) as error:
            raise PastTyper from error

    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    callback.__doc__ = command.help
    app.command(command.name.split()[-1], rich_help_panel=command.panel)(callback)


def execute(command: Command[Any, Any], values: dict[str, Any]) -> None:
    """Run a command with the values that Typer read from the command line; None stands for "not given"."""
    progress = values.get("progress") or ProgressMode.auto
    with open_console(progress, quiet=bool(values.get("quiet")), json=bool(values["json"])) as console:
        config = build_config(command.config, given_options(command, values), values.get("config"), command.name)
        if values.get("dry_run"):
            show_plan(console, command.name, config)
            return
        if isinstance(config, InferenceConfig):
            # Before torch is imported: its idle threads then sleep instead of taking the cores from those that read and
            # write images, and gradcam handles a quarter more images per second on two cores.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        result = command.run(config, console.report)
        console.result(command.document(result))
        command.show(console, result)


def given_options(command: Command[Any, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line, as typed values by field name.

    Raises:
        UsageError: If a value cannot be read, or an argument is also given as an option.
    """
    options: dict[str, Any] = {}
    for field in command.fields():
        words = values[field.name]
        if field.option.argument and field.option.names:
            again = values[_option_key(field)]
            if words is not None and again is not None:
                raise UsageError(f"{field.flag} is given twice: as {words} and as {again}.")
            words = again if words is None else words
        if words is None or (field.option.repeat and not words):
            continue
        options[field.name] = _value(field, words)
    return options


def _value(field: Field, words: str | bool | list[str] | tuple[str, ...]) -> Any:
    if isinstance(words, bool):
        return words
    return from_text(field, words) if isinstance(words, str) else tuple(from_text(field, word) for word in words)


def _parameters(field: Field) -> Iterator[inspect.Parameter]:
    """Yield the parameters of an option: one, or two for an argument that may also be given as an option."""
    if field.option.argument:
        info = typer.Argument(**_appearance(field), autocompletion=completer(field))
        yield _parameter(field.name, list[str] if field.option.repeat else str, info)
    if not field.option.argument or field.option.names:
        name = _option_key(field)
        if field.kind is bool:
            yield _parameter(name, bool, typer.Option(_switch(field), **_appearance(field)))
        else:
            info = typer.Option(*_flags(field), **_appearance(field), autocompletion=completer(field))
            yield _parameter(name, list[str] if field.option.repeat else str, info)


def _option_key(field: Field) -> str:
    return f"{field.name}_option" if field.option.argument else field.name


def _parameter(name: str, kind: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info]
    )


def _flags(field: Field) -> tuple[str, ...]:
    return field.option.names or (field.flag,)


def _switch(field: Field) -> str:
    return f"{field.flag}/{field.option.off or '--no-' + field.flag.removeprefix('--')}"


def _appearance(field: Field) -> dict[str, Any]:
    """Return what ``--help`` shows of an option."""
    default = default_text(field)
    text = "required" if field.required else f"default: {default}" if default else ""
    # Typer would write a default that is a text in parentheses.
    note = f" [dim]\\[{escape(text)}][/]" if text else ""
    return {
        "help": escape(help_text(field)) + note,
        "metavar": None if field.kind is bool else metavar(field),
        "show_default": False,
        "rich_help_panel": None if field.option.argument else field.option.panel,
    }


def escape(text: str) -> str:
    """Return text in which Rich finds no markup."""
    return text.replace("[", "\\[")


def help_text(field: Field) -> str:
    """Return the help text of an option, with its limit, or with its choices where ``metavar`` does not list them."""
    option = field.option
    numbers = option.maximum is None and option.below is None and option.limit != MAX_NUMBER
    if numbers:
        return f"{option.help} At most {option.limit:,}."
    if option.choices and not set(option.choices) <= set(metavar(field).split("|")):
        return f"{option.help} Choices: {', '.join([*option.choices, *([option.other] if option.other else [])])}."
    return option.help


def metavar(field: Field) -> str:
    """Return the form of an option's value: its choices if they are short, else its name, ``N``, ``X`` or ``TEXT``."""
    option = field.option
    if option.metavar:
        return option.metavar
    words = "|".join([*option.choices, *([option.other] if option.other else [])])
    if len(words) > MAX_METAVAR:
        return field.name.upper()
    return words or {int: "N", float: "X"}.get(field.kind, "TEXT")


def default_text(field: Field) -> str:
    """Return an option's default as ``--help`` shows it; empty where there is nothing to say."""
    if field.required:
        return "required"
    if isinstance(field.default, bool):
        return "on" if field.default else ""
    if field.default is None or field.default == ():
        return field.option.unset or field.option.default_text
    return to_text(field, field.default)


def _common(command: Command[Any, Any]) -> list[inspect.Parameter]:
    """Return the parameters that do not depend on the Config."""
    options: list[tuple[str, Any, Any]] = []
    if command.settings:
        config = typer.Option(
            "--config",
            metavar="FILE",
            help="Read options from a TOML, YAML or JSON file, or a run's config.json; the command line overrides it.",
            rich_help_panel=SETTINGS,
        )
        dry_run = typer.Option(
            "--dry-run",
            help="Print the settings as TOML, and the files that would be read and written; then exit.",
            rich_help_panel=SETTINGS,
        )
        options += [("config", str, config), ("dry_run", bool, dry_run)]
    if command.progress:
        progress = typer.Option(
            help="How to show progress; auto is rich on a terminal, else plain.",
            rich_help_panel=REPORTING,
            show_default="auto",
        )
        quiet = typer.Option("--quiet", "-q", help="Show neither progress nor notes.", rich_help_panel=REPORTING)
        options += [("progress", ProgressMode, progress), ("quiet", bool, quiet)]
    json = typer.Option("--json", help="Print the result as one JSON document on stdout.", rich_help_panel=REPORTING)
    return [_parameter(name, kind, info) for name, kind, info in [*options, ("json", bool, json)]]
