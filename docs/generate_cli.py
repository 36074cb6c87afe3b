"""Write docs/cli.md from the commands of the program. Run ``python docs/generate_cli.py`` after a change of options."""

from pathlib import Path
from typing import Any

from cvkit.cli.command import Command, default_text, help_text, metavar
from cvkit.cli.main import ALL_COMMANDS
from cvkit.config.option import PANELS, Field
from cvkit.errors import ExitCode

TARGET = Path(__file__).with_name("cli.md")
MEANINGS = {
    ExitCode.OK: "All done.",
    ExitCode.ERROR: "An error that you can act on; one line on stderr says what happened and what to do.",
    ExitCode.USAGE: "Wrong usage.",
    ExitCode.PARTIAL: "Done, but some inputs failed; `failures.csv` in the result folder lists them.",
    ExitCode.STOPPED: "Stopped early by SIGTERM or SIGUSR1 after saving; the same command continues (a run: `resume`).",
    ExitCode.INTERRUPTED: "Interrupted by Ctrl-C.",
}
SETTINGS = (
    ("--config FILE", "Read options from a TOML, YAML or JSON file, or a run's `config.json`; the command line wins."),
    ("--dry-run", "Print the settings as TOML, and the files that would be read and written; then exit."),
)
PROGRESS = (
    ("--progress auto\\|rich\\|plain\\|none", "How to show progress; `auto` is `rich` on a terminal, else `plain`."),
    ("--quiet, -q", "Show neither progress nor notes."),
)


def reference() -> str:
    """Return the whole page as Markdown."""
    lines = [
        "# Commands",
        "",
        "`python docs/generate_cli.py` writes this page from the program itself.",
        "",
        "Results go to stdout, everything else to stderr. A list (`@list.txt`, or `-` for stdin) has one file per",
        "line, relative to the working folder; empty lines and lines that begin with `#` are ignored. Only LF or CR LF",
        "ends a line, names may have any bytes, and a list whose names all end with NUL (`find -print0`) is read as it",
        "is. Folders and patterns stand on the command line, not in a list.",
        "",
        "Every command also accepts these options:",
        "",
        "| option | meaning |",
        "|---|---|",
        "| `--json` | Print the result as one JSON document on stdout. |",
        *(f"| `{name}` | {text} (All commands except `env` and `resume`.) |" for name, text in SETTINGS),
        *(f"| `{name}` | {text} (Commands that take time.) |" for name, text in PROGRESS),
        "",
        "A number without another limit may be at most 1,000,000,000.",
        "",
        "With `--json`, an error is also one JSON document on stdout, with the same message:",
        '`{"error": {"kind": "usage", "message": "...", "exit_code": 2}}`. The environment variable',
        "`CVKIT_TRACEBACK=1` also shows where an error arose.",
        "",
        "Control characters in names are shown as escapes such as `\\x1b`; result files hold the true names.",
        "",
        "A boolean option such as `--overlay` has a counterpart `--no-overlay`, which overrides a configuration file.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code.value} | {MEANINGS[code]} |" for code in ExitCode),
        "",
        "Results that stdout cannot take because of a full disk are an error (1). A reader that closes its pipe, as in",
        "`cvkit models list | head`, and a closed stdout or stderr do not change the exit code.",
        "",
        "SIGTERM and SIGUSR1 have code 75 as soon as the interpreter runs cvkit, about a tenth of a second after its",
        "start. If nothing is saved yet, the same command starts again.",
        "",
        "torchrun has exit codes of its own: under it, every code but 0 becomes 1.",
    ]
    for command in ALL_COMMANDS:
        lines += _describe(command)
    return "\n".join(lines) + "\n"


def _describe(command: Command[Any, Any]) -> list[str]:
    """Describe one command."""
    fields = command.fields()
    arguments = [field for field in fields if field.option.argument]
    shown = [metavar(field) if field.required else f"[{metavar(field)}]" for field in arguments]
    usage = " ".join([f"cvkit {command.name}", *shown, "[OPTIONS]"])
    page = "" if command.page == "cli.md" else f" See [{command.page}]({command.page})."
    lines = ["", f"## `cvkit {command.name}`", "", f"{command.help}{page}", "", f"`{usage}`", ""]
    if fields:
        lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [_row(f"`{metavar(field)}`", field) for field in arguments]
    for panel in PANELS:
        rows = [_row(_flags(field), field) for field in fields if field.option.panel == panel and _is_option(field)]
        lines += [f"| **{panel}** | | |", *rows] if rows else []
    return lines


def _is_option(field: Field) -> bool:
    return not field.option.argument or bool(field.option.names)


def _row(name: str, field: Field) -> str:
    default = default_text(field)
    plain = field.required or field.default is None or isinstance(field.default, bool)
    return f"| {name} | {default if plain or not default else f'`{_cell(default)}`'} | {_cell(help_text(field))} |"


def _flags(field: Field) -> str:
    names = [f"`{name}`" for name in field.option.names or (field.flag,)]
    if field.option.off:
        names.append(f"`{field.option.off}`")
    return ", ".join(names) + ("" if field.kind is bool else f" {_cell(metavar(field))}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
