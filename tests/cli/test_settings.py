"""Check ``--config`` and ``--dry-run``, which all commands with many options share."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import yaml

from cvkit.cli import main as program
from cvkit.config.option import fields_of
from cvkit.config.sources import as_toml, build_config
from cvkit.engine import checkpoint

from .conftest import TINY, Run

WRITERS = {"toml": tomli_w.dumps, "yaml": yaml.safe_dump, "json": json.dumps}
WITH_SETTINGS = [command for command in program.ALL_COMMANDS if command.settings]


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def plan(run: Run, *words: object) -> dict[str, Any]:
    ended = run(*words, "--dry-run", "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def weights_of(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / "last.pt", "training-state")["model"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_sets_options(run: Run, suffix: str) -> None:
    values = {
        "data": "d",
        "lr": 0.003,
        "batch_size": 3,
        "size": "64x96",
        "strict": True,
        "freeze": 2,
        "model": "salgan",
    }
    path = write(f"settings.{suffix}", WRITERS[suffix](values))
    settings = plan(run, "train-saliency", "--config", path)["settings"]
    assert {key: settings[key] for key in values} == {**values, "size": [64, 96]}


def test_a_size_and_a_list_may_be_lists_in_a_file(run: Run) -> None:
    path = write("s.yml", "data: d\nsize: [32, 48]\nwidths: [4, 8]\nformat: [csv, npy]\n")
    settings = plan(run, "cae-embed", "--config", path)["settings"]
    assert (settings["size"], settings["widths"], settings["format"]) == ([32, 48], [4, 8], ["csv", "npy"])


def test_keys_may_be_spelled_like_options(run: Run, photo: Path) -> None:
    path = write("s.toml", 'checkpoint = "run"\nblur-px = 3\n')
    settings = plan(run, "predict", photo, "--config", path)["settings"]
    assert (settings["model"], settings["blur_px"]) == ("run", 3)


def test_the_command_line_overrides_a_file(run: Run) -> None:
    path = write("s.toml", 'data = "d"\nepochs = 3\nlr = 0.5\nstrict = true\ncompile = true\n')
    words = ("train-saliency", "--config", path, "--epochs", 7, "--no-strict")
    settings = plan(run, *words)["settings"]
    assert (settings["epochs"], settings["lr"]) == (7, 0.5)
    assert (settings["strict"], settings["compile"]) == (False, True)


@pytest.mark.parametrize("command", WITH_SETTINGS, ids=lambda command: command.name)
def test_every_switch_can_be_set_back_on_the_command_line(run: Run, command: Any) -> None:
    """A boolean option has a form for true and a form for false, and both reach the settings."""
    from typer.main import get_command

    parser: Any = get_command(program.app)
    for word in command.name.split():
        parser = parser.commands[word]
    switches = [field for field in fields_of(command.config).values() if field.kind is bool]
    parameters = {parameter.name: parameter for parameter in parser.params}
    for field in switches:
        parameter = parameters[field.name]
        off = field.option.off or f"--no-{field.flag.removeprefix('--')}"
        assert (parameter.opts, parameter.secondary_opts) == ([field.flag], [off])
    del run


def test_a_run_is_repeated_by_its_config(run: Run, trained: Path) -> None:
    refused = run("train-saliency", "--config", trained / "config.json")
    assert refused.code == 1 and "already holds a run" in refused.err
    ended = run("train-saliency", "--config", trained / "config.json", "--out", "again")
    assert ended.code == 0, ended.err
    one, other = weights_of(trained), weights_of(Path("again"))
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    ignored = {"out", "resume"}
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (trained, Path("again")))
    assert {key: before[key] for key in before.keys() - ignored} == {key: after[key] for key in after.keys() - ignored}


def test_a_run_that_was_resumed_is_repeated_from_its_start(run: Run, trained: Path) -> None:
    shutil.copytree(trained, "r")
    assert run("resume", "r", "--epochs", 3).code == 0
    ended = run("train-saliency", "--config", "r/config.json", "--out", "again", "--epochs", 2)
    assert ended.code == 0, ended.err
    one, other = weights_of(trained), weights_of(Path("again"))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", 'data = "d"\nepoch = 3\n', "'epoch' is not an option of this command. Did you mean 'epochs'?"),
        ("s.toml", 'data = "d"\nepochs = 0\n', "--epochs must be 1 or more, not 0"),
        ("s.toml", 'data = "d"\nepochs = "many"\n', "--epochs 'many' is not a whole number"),
        ("s.toml", 'data = "d"\nloss = "klcc"\n', "Did you mean 'kl-cc'?"),
        ("s.toml", 'data = "d"\nstrict = 1\n', "--strict 1 is not true or false"),
        ("s.toml", "epochs = 3\n", "missing option --data"),
        ("s.toml", "epochs = \n", "is not valid TOML"),
        ("s.yaml", "a: [1\n", "is not valid YAML"),
        ("s.json", "{", "is not valid JSON"),
        ("s.json", "[1, 2]", "does not hold one value per option"),
        ("s.txt", "epochs = 3\n", "the name must end in .toml, .yaml, .yml or .json"),
        ("s.toml", 'command = "predict"\n', "holds settings of `cvkit predict`, not of `cvkit train-saliency`"),
    ],
)
def test_a_file_that_is_wrong_is_named_in_one_line(run: Run, name: str, text: str, said: str) -> None:
    ended = run("train-saliency", "--config", write(name, text))
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and name in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


def test_a_missing_file_is_named(run: Run) -> None:
    ended = run("train-saliency", "--config", "gone.toml")
    assert ended.code == 2 and "--config gone.toml cannot be read" in ended.err


def test_the_config_of_another_commands_run_is_refused(run: Run, trained: Path) -> None:
    ended = run("cae-embed", "--config", trained / "config.json")
    assert ended.code == 2
    assert "holds settings of `cvkit train-saliency`, not of `cvkit cae-embed`" in ended.err


def test_a_dry_run_prints_settings_that_config_takes(run: Run, fixation_data: Path) -> None:
    words = ("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--samples", 0, "--device", "cpu")
    printed = run(*words, "--dry-run")
    assert printed.code == 0 and printed.err == ""
    settings = tomllib.loads(printed.out)
    assert settings["command"] == "train-saliency" and settings["epochs"] == 1
    assert settings["loss"] == "kl-cc-nss"  # resolved: `auto` was not printed
    path = write("plan.toml", printed.out)
    assert run("train-saliency", "--config", path, "--out", "one").code == 0
    assert run(*words, "--out", "other").code == 0
    one, other = weights_of(Path("one")), weights_of(Path("other"))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("command", WITH_SETTINGS, ids=lambda command: command.name)
def test_settings_printed_as_toml_are_read_back_alike(command: Any, tmp_path: Path) -> None:
    required = {
        name: ["x"] if field.kind is tuple else "x"
        for name, field in fields_of(command.config).items()
        if field.required or (name == "model" and field.optional and command.name in ("evaluate", "export"))
    }
    config = command.config.from_dict(required)
    path = tmp_path / "settings.toml"
    path.write_text(as_toml(config, command.name))
    assert build_config(command.config, {}, str(path), command.name) == config


def test_a_dry_run_lists_what_would_be_read_and_written(run: Run, photo: Path, trained: Path) -> None:
    words = ("predict", photo.parent, "--model", trained, "--out", "maps")
    lines = run(*words, "--dry-run").out.splitlines()
    assert f"# reads {photo.parent}: 1 image" in lines
    assert f"# reads {trained}: an existing folder" in lines
    assert "# writes maps: no such file or folder yet" in lines
    document = plan(run, *words)
    assert document["command"] == "predict"
    assert document["reads"] == {str(photo.parent): "1 image", str(trained): "an existing folder"}
    assert document["writes"] == {"maps": "no such file or folder yet"}
    assert document["settings"]["inputs"] == [str(photo.parent)]


def test_a_dry_run_writes_nothing(run: Run, photo: Path, trained: Path, fixation_data: Path, tmp_path: Path) -> None:
    for words in (
        ("train-saliency", "--data", fixation_data, *TINY),
        ("predict", photo, "--model", trained, "--out", "maps"),
        ("export", trained),
    ):
        ended = run(*words, "--dry-run")
        assert ended.code == 0, ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_finds_wrong_options(run: Run) -> None:
    ended = run("train-saliency", "--data", "d", "--epochs", 0, "--dry-run")
    assert ended.code == 2 and "--epochs must be 1 or more" in ended.err


def test_choices_are_suggested(run: Run) -> None:
    for words, said in (
        (
            ("train-saliency", "--data", "d", "--optimizer", "adamm"),
            "one of adamw, adam, sgd. Did you mean 'adam",
        ),
        (("cae-embed", "--data", "d", "--compare", "pca,tnse"), "Did you mean 'tsne'?"),
        (("predict", "a.png", "--model", "m", "--format", "pgn"), "Did you mean 'png'?"),
        (("gradcam", "a.png", "--method", "grad-cam"), "Did you mean 'gradcam'?"),
        (("classify", "a.png", "--model", "vgg16", "--device", "gpu"), "is not one of auto, cpu, cuda, mps"),
        (("predict", "a.png", "--model", "m", "--progress", "richh"), "rich"),
        (("demo", "--device", "cud"), "Did you mean 'cuda'?"),
        (("resume", "r", "--device", "cud"), "Did you mean 'cuda'?"),
    ):
        ended = run(*words)
        assert ended.code == 2
        assert said in ended.err
        assert ended.err.count("\n") == 1


def test_a_value_given_twice_is_refused(run: Run) -> None:
    ended = run("export", "vgg16", "--model", "vgg11")
    assert ended.code == 2 and "--model is given twice: as vgg16 and as vgg11" in ended.err
