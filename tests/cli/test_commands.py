"""Check every command of the program in the same ways. The lists of commands and options come from the program."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cvkit.cli import demo
from cvkit.cli import main as program
from cvkit.cli.command import Command, help_text

from .conftest import TINY, WEIGHTS, Run
from .options import options_by_command

COMMANDS: dict[str, Command[Any, Any]] = {command.name: command for command in program.ALL_COMMANDS}
DOCS = Path(__file__).resolve().parents[2] / "docs"
GROUPS = sorted({name.split()[0] for name in COMMANDS if " " in name})


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a terminal on which every row of ``--help`` fits in one line."""
    monkeypatch.setenv("COLUMNS", "400")


def panels_of(text: str) -> list[str]:
    """Return the headings of the panels that ``--help`` draws."""
    return [line.split("─ ")[1].split(" ─")[0] for line in text.splitlines() if line.startswith("╭─ ")]


def test_every_command_of_the_program_is_known() -> None:
    leaves = {" ".join(name) for name in options_by_command() if (name and name[0] not in GROUPS) or len(name) > 1}
    assert leaves == COMMANDS.keys()


@pytest.mark.usefixtures("wide")
def test_help_lists_every_command_in_its_panel(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    assert panels_of(ended.out) == ["Options", "Train", "Use", "Inspect", "Tools"]
    for name, command in COMMANDS.items():
        listed = ended.out.split(f"╭─ {command.panel} ─")[1].split("╰")[0]
        assert f"│ {name.split()[0]} " in listed


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group_lists_its_commands(run: Run, group: str) -> None:
    ended = run(group, "--help")
    assert ended.code == 0
    for name, command in COMMANDS.items():
        if name.startswith(f"{group} "):
            assert f"│ {name.split()[1]} " in ended.out
            assert command.help.split(". ")[0].rstrip(".") in ended.out


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_in_its_panel(run: Run, name: str) -> None:
    ended = run(*name.split(), "--help")
    assert ended.code == 0
    assert f"Usage: cvkit {name} " in ended.out
    for field in COMMANDS[name].fields():
        panel = "Arguments" if field.option.argument else field.option.panel
        rows = ended.out.split(f"╭─ {panel} ─")[1].split("╰")[0]
        row = next(line for line in rows.splitlines() if help_text(field) in line)
        if not field.option.argument:
            for flag in field.option.names or (field.flag,):
                assert flag in row
        for choice in (*field.option.choices, field.option.other, field.option.unset):
            assert choice in row
    for flag in options_by_command()[tuple(name.split())]:
        assert flag in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_docs_page(name: str) -> None:
    page = DOCS / COMMANDS[name].page
    assert page.is_file(), f"docs/{page.name} is missing"
    assert f"cvkit {name}" in page.read_text(encoding="utf-8")


TRAINING = " ".join(TINY)
CLASSIFIER = "--model squeezenet1_1 --weights none --device cpu --workers 0"
# The shortest useful arguments of each command by its name; a word in braces is a fixture.
MINIMAL = {
    "train-saliency": f"--data {{fixation_data}} {TRAINING} --epochs 1 --samples 0 --limit 2 --device cpu",
    "train-classifier": "--data {digits} --model lenet5 --epochs 1 --limit 6 --samples 0 --device cpu",
    "cae-embed": "--data {digits} --widths 4,8 --epochs 1 --compare none --device cpu",
    "resume": "{finished} --device cpu",
    "predict": "{photo} --model {trained} --device cpu",
    "evaluate": "--data {fixation_data} --maps {fixation_data}/maps/val --no-emd",
    "classify": f"{{photo}} {CLASSIFIER}",
    "gradcam": f"{{photo}} {CLASSIFIER} --save npy",
    "merge": "{parts} --out merged",
    "export": "{trained} --format safetensors",
    "demo": "--epochs 1 --device cpu",
    "env": "",
    "models list": "vgg11",
    "models show": "squeezenet1_1",
    "models check": "timm:test_resnet --weights none --data {labelled} --device cpu",
    "models download": "vgg16",
    "models path": "vgg16",
    "sample-data fixations": "displays --train 1 --val 1 --size 96x96",
}


class Fixtures(dict[str, object]):
    """The values of fixtures by name."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.request = request

    def __missing__(self, name: str) -> object:
        return self.request.getfixturevalue(name)


def minimal(request: pytest.FixtureRequest, name: str) -> list[str]:
    """Return a command line that runs a command on small data."""
    return f"{name} {MINIMAL[name]}".format_map(Fixtures(request)).split()


def test_minimal_arguments_are_known_for_every_command() -> None:
    assert MINIMAL.keys() == COMMANDS.keys()


@pytest.fixture
def finished(trained: Path) -> Path:
    """A run folder of its own for a test that changes it."""
    return Path(shutil.copytree(trained, "finished"))


@pytest.fixture
def parts(run: Run, trained: Path, photo: Path) -> str:
    """The result folders of two parts."""
    Path("photos").mkdir()
    for name in "ab":
        shutil.copy(photo, f"photos/{name}.png")
    for k in (1, 2):
        run("predict", "photos", "--model", trained, "--device", "cpu", "--shard", f"{k}/2", "--out", f"part{k}")
    return "part1 part2"


@pytest.fixture
def prepared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the demo small, and replace the server of vgg16's weights."""
    monkeypatch.setattr(demo, "TRAIN_DISPLAYS", 4)
    monkeypatch.setattr(demo, "VAL_DISPLAYS", 3)
    cache: Path = request.getfixturevalue("cache")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(WEIGHTS)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("name", COMMANDS)
def test_json_prints_exactly_one_document(run: Run, request: pytest.FixtureRequest, name: str) -> None:
    ended = run(*minimal(request, name), "--json")
    assert ended.code == 0, ended.err
    assert isinstance(json.loads(ended.out), dict)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_one_line_and_exit_code_2(run: Run, request: pytest.FixtureRequest, name: str) -> None:
    ended = run(*minimal(request, name), "--jsom")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert "--jsom" in ended.err and "--json" in ended.err
