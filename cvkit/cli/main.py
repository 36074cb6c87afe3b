"""Assemble the commands, and turn errors into one line and an exit code."""

import io
import os
import sys
from typing import Annotated, Any

import typer

import cvkit
from cvkit.cli import (
    cae_embed,
    classify,
    demo,
    env,
    evaluate,
    export,
    gradcam,
    merge,
    models,
    predict,
    resume,
    sample_data,
    train_saliency,
)
from cvkit.cli.command import INSPECT, TOOLS, Command, add_command
from cvkit.cli.completion import words_joined_at_colons
from cvkit.cli.console import show_error
from cvkit.errors import CvkitError, ExitCode
from cvkit.processes import is_child_process, is_main_process

# In the order of `cvkit --help`; those of a group stand in its module.
COMMANDS: tuple[Command[Any, Any], ...] = tuple(
    module.COMMAND
    for module in (
        train_saliency,
        cae_embed,
        resume,
        predict,
        evaluate,
        classify,
        gradcam,
        merge,
        export,
        demo,
        env,
    )
)
ALL_COMMANDS = (*COMMANDS, *models.COMMANDS, *sample_data.COMMANDS)

app = typer.Typer(
    name="cvkit",
    help="Train, apply, score, explain and export computer vision models from the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)
for _command in COMMANDS:
    add_command(app, _command)
app.add_typer(models.app, name="models", rich_help_panel=INSPECT)
app.add_typer(sample_data.app, name="sample-data", rich_help_panel=TOOLS)


def _show_version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"cvkit {cvkit.__version__}\n")
        raise typer.Exit


@app.callback()
def _cvkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line and exit with a code of ``errors.ExitCode``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for file names and bars that the terminal cannot show
    with words_joined_at_colons(os.environ):
        code = _run()
    if is_child_process() and code in (ExitCode.PARTIAL, ExitCode.STOPPED):
        # The parent process exits with this code; an error here would make the parent be killed before that.
        code = ExitCode.OK
    # A Ctrl-C inside code that a library executes from text marks the interpreter as interrupted for good: `python -m`
    # would then die of the signal although an exit code was chosen. Executing any other text removes the mark.
    exec("")
    sys.exit(code)


def _is_from_interrupt(error: BaseException | None) -> bool:
    """Return whether an error was caused by Ctrl-C, which libraries sometimes replace by an error of their own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _run() -> int:
    try:
        code = int(app(prog_name="cvkit", standalone_mode=False) or ExitCode.OK)
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except CvkitError as error:
        # Every process finds a usage error or a stop; only the main one reports it. Other errors concern one process.
        common = error.exit_code in (ExitCode.USAGE, ExitCode.STOPPED)
        if is_main_process() or not common:
            show_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader of our output has left, so there is nothing more to write
        sys.stderr.close()
        return ExitCode.OK
    except Exception as error:
        if _is_from_interrupt(error):
            return _interrupted()
        return _usage_error(error)


def _interrupted() -> int:
    if is_main_process():
        show_error("interrupted.")
    return ExitCode.INTERRUPTED


def _usage_error(error: Exception) -> int:
    """Report an error of the command line parser; any other error is a bug, and is raised with its traceback."""
    format_message = getattr(error, "format_message", None)
    if format_message is None or not hasattr(error, "exit_code"):
        raise error
    if text := format_message():
        show_error(f"{text} See --help.")
    return ExitCode.USAGE
