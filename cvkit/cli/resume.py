"""Present ``cvkit resume``, which continues a run of any training command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvkit.cli import cae_embed, train_classifier, train_saliency
from cvkit.cli.command import TRAIN, Command
from cvkit.cli.console import Console
from cvkit.config import ResumeConfig
from cvkit.config.option import fields_of
from cvkit.config.sources import RUN_KEYS
from cvkit.errors import UsageError
from cvkit.files import is_file, read_json
from cvkit.progress import Reporter

TRAINING_COMMANDS: dict[str, Command[Any, Any]] = {
    command.name: command for command in (train_saliency.COMMAND, train_classifier.COMMAND, cae_embed.COMMAND)
}


@dataclass(frozen=True)
class Resumed:
    """The result of a continued run, and the command that presents it."""

    command: Command[Any, Any]
    result: Any


def _run(config: ResumeConfig, report: Reporter) -> Resumed:
    settings_file = Path(config.run) / "config.json"
    if not is_file(str(settings_file)):
        raise UsageError(f"{config.run} is not a run folder: it has no config.json.")
    document = read_json(settings_file)
    if not isinstance(document, dict):
        raise UsageError(f"{settings_file} does not hold the settings of a run.")
    command = _command_of(document, settings_file)
    settings = {key: value for key, value in document.items() if key not in RUN_KEYS}
    settings |= {**config.changes(), "resume": True, "out": config.run}
    try:
        run_config = command.config.from_dict(settings)
    except UsageError as error:
        # The options of the training command are not those of `resume`, so the message names them as keys of the file.
        raise UsageError(f"{settings_file}: {str(error).removeprefix('--')}") from error
    return Resumed(command, command.run(run_config, report))


def _command_of(document: dict[str, Any], path: Path) -> Command[Any, Any]:
    """Return the command that wrote the settings of a run.

    Runs of cvkit before version 0.1 do not name it: the command is the one that has all of their options.
    """
    name = document.get("command")
    if name is None:
        keys = document.keys() - RUN_KEYS
        matches = [
            command
            for command in TRAINING_COMMANDS.values()
            if keys <= {key for field in fields_of(command.config).values() for key in field.keys}
        ]
        if len(matches) == 1:
            return matches[0]
        raise UsageError(f"{path} does not say which command started the run.")
    if not isinstance(name, str):
        raise UsageError(f"{path} does not say which command started the run.")
    if name not in TRAINING_COMMANDS:
        raise UsageError(f"{path} is of `cvkit {name}`, whose runs this version cannot continue.")
    return TRAINING_COMMANDS[name]


def _show(console: Console, resumed: Resumed) -> None:
    resumed.command.show(console, resumed.result)


COMMAND = Command(
    name="resume",
    help="Continue a training run with its own settings and data, from its last checkpoint.",
    config=ResumeConfig,
    run=_run,
    show=_show,
    document=lambda resumed: resumed.command.document(resumed.result),
    panel=TRAIN,
    page="train-saliency.md",
    settings=False,
)
