"""The program: its commands, and the one boundary where errors become a line and an exit code."""

import io
import sys
from typing import Annotated

import typer

import cvkit
from cvkit.cli import cae_embed, classify, demo, evaluate, export, gradcam, models, predict, sample_data, train_saliency
from cvkit.cli.console import show_error
from cvkit.device import is_main_process, is_started_by_us
from cvkit.errors import CvkitError, ExitCode

app = typer.Typer(
    name="cvkit",
    help="Computer vision from a shell: train saliency models on eye fixations, predict maps, score them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("train-saliency")(train_saliency.train_saliency)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("classify")(classify.classify)
app.command("cae-embed")(cae_embed.cae_embed)
app.command("gradcam")(gradcam.gradcam)
app.command("export")(export.export)
app.add_typer(models.app, name="models")
app.add_typer(sample_data.app, name="sample-data")
app.command("demo")(demo.demo)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"cvkit {cvkit.__version__}\n")
        raise typer.Exit


@app.callback()
def _cvkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line and exit with a code of ``errors.ExitCode``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name, or a bar, that the terminal cannot show
    code = _run()
    if is_started_by_us() and code in (ExitCode.PARTIAL, ExitCode.STOPPED):
        # The process that started this one ends with the code; an error here would make it be killed before it has.
        code = ExitCode.OK
    # A Ctrl-C inside code that a library executes from text marks the interpreter as interrupted for good: `python -m`
    # would then die of the signal after the exit code is chosen. Executing anything else takes the mark away.
    exec("")
    sys.exit(code)


def _from_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error came of Ctrl-C, which libraries turn into one of their own at a bad moment."""
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
        # What every process finds alike is said by one; what befalls a single one is said by that one.
        alike = error.exit_code in (ExitCode.USAGE, ExitCode.STOPPED)
        if is_main_process() or not alike:
            show_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        if is_main_process():
            show_error("interrupted.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left: nothing more to say
        sys.stderr.close()
        return ExitCode.OK
    except Exception as error:
        if _from_interrupt(error):
            if is_main_process():
                show_error("interrupted.")
            return ExitCode.INTERRUPTED
        # The parser's own complaints know how to word themselves; anything else is a bug and keeps its traceback.
        word = getattr(error, "format_message", None)
        if word is None or not hasattr(error, "exit_code"):
            raise
        if text := word():
            show_error(f"{text} See --help.")
        return ExitCode.USAGE
