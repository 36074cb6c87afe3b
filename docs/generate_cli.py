"""Write docs/cli.md from the commands themselves: ``python docs/generate_cli.py``. A test fails when it is stale."""

import inspect
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from cvkit.cli.main import app
from cvkit.errors import ExitCode

TARGET = Path(__file__).with_name("cli.md")
MEANINGS = {
    ExitCode.OK: "all done",
    ExitCode.ERROR: "an error you can act on; one line on stderr says what and how",
    ExitCode.USAGE: "wrong usage",
    ExitCode.PARTIAL: "done, but some inputs failed (each is in `failures.csv` of the result folder)",
    ExitCode.STOPPED: "stopped early by SIGTERM or SIGUSR1 after saving; the same command goes on (a run: `--resume`)",
    ExitCode.INTERRUPTED: "Ctrl-C",
}


def reference() -> str:
    """Return the whole page as Markdown."""
    lines = [
        "# Commands",
        "",
        "Made by `python docs/generate_cli.py` from the program itself.",
        "",
        "Results go to stdout, everything else to stderr. `--json` puts one JSON document on stdout and nothing else.",
        "",
        "A list (`@list.txt`, or `-` for stdin) has one file a line, relative to the working folder; empty lines and",
        "lines that begin with `#` are passed over. Folders and patterns stand on the command line, not in a list.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code.value} | {MEANINGS[code]} |" for code in ExitCode),
        "",
        "Under torchrun, which has exit codes of its own, every code but 0 becomes 1. `train-saliency`, `predict`,",
        "`classify` and `gradcam` end with 75 on a signal; the others have nothing to go on from, and just end.",
    ]
    for command in app.registered_commands:
        lines += _command(f"cvkit {command.name}", command.callback)
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            lines += _command(f"cvkit {group.name} {command.name}", command.callback)
    return "\n".join(lines) + "\n"


def _command(name: str, function: Any) -> list[str]:
    """Describe one command by its function's annotations."""
    hints = get_type_hints(function, include_extras=True)
    words = {
        each: (get_args(hints[each])[0], get_args(hints[each])[1], default.default)
        for each, default in inspect.signature(function).parameters.items()
    }
    arguments = [(info, default) for _, info, default in words.values() if isinstance(info, ArgumentInfo)]
    shown = [info.metavar if default is inspect.Parameter.empty else f"[{info.metavar}]" for info, default in arguments]
    usage = " ".join([name, *shown, "[OPTIONS]"])
    lines = ["", f"## `{name}`", "", " ".join(inspect.getdoc(function).split()), "", f"`{usage}`", ""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{info.metavar}` | {_default(info, default)} | {_cell(info.help)} |" for info, default in arguments]
    panels: dict[str, list[str]] = {}
    for each, (kind, info, default) in words.items():
        if isinstance(info, OptionInfo):
            row = f"| {_flags(each, kind, info)} | {_default(info, default)} | {_cell(info.help)} |"
            panels.setdefault(info.rich_help_panel or "", []).append(row)
    for panel in sorted(panels, key=lambda panel: panel != ""):
        lines += [f"| **{panel}** | | |"] if panel else []
        lines += panels[panel]
    return lines


def _flags(name: str, kind: Any, info: OptionInfo) -> str:
    # In an Annotated, Typer keeps the first flag where a default would stand.
    declared = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    names = [word for part in declared for word in part.split("/")] or [f"--{name.replace('_', '-')}"]
    plain = next((part for part in get_args(kind) if part is not type(None)), kind)
    if plain is bool:
        value = ""
    elif issubclass(plain, Enum):
        value = "|".join(choice.value for choice in plain)
    else:
        value = info.metavar or {int: "N", float: "X", str: "TEXT"}[plain]
    return ", ".join(f"`{word}`" for word in names) + (f" {_cell(value)}" if value else "")


def _default(info: OptionInfo, default: Any) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(info.show_default, str):
        return info.show_default
    if default is None:
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{getattr(default, 'value', default)}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
