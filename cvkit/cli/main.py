"""Assemble the commands, and run the command line."""

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
    train_classifier,
    train_saliency,
)
from cvkit.cli.boundary import exit_code_of
from cvkit.cli.command import INSPECT, TOOLS, Command, add_command
from cvkit.cli.completion import words_joined_at_colons
from cvkit.cli.streams import guard_streams
from cvkit.engine.peers import end_with_peers
from cvkit.engine.start_up import START_UP
from cvkit.errors import ExitCode
from cvkit.processes import exit_code_of_process, launched_processes

# In the order of `cvkit --help`; those of a group stand in its module.
COMMANDS: tuple[Command[Any, Any], ...] = tuple(
    module.COMMAND
    for module in (
        train_saliency,
        train_classifier,
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
    guard_streams()
    if launched_processes() is not None:  # torch would write fifty lines about a connection that another process closes
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with words_joined_at_colons(os.environ):
        code = exit_code_of(lambda: int(app(prog_name="cvkit", standalone_mode=False) or ExitCode.OK))
    end_with_peers(code)
    START_UP.choose(code)
    # A Ctrl-C inside code that a library executes from text marks the interpreter as interrupted for good: `python -m`
    # would then die of the signal although an exit code was chosen. Executing any other text removes the mark.
    exec("")
    sys.exit(exit_code_of_process(code))
