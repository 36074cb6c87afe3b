"""Test settings from files, and settings as TOML."""

import json
import os
from pathlib import Path

import pytest

from cvkit.config import GradcamConfig, PredictConfig, TrainSaliencyConfig
from cvkit.config.sources import MAX_BYTES, as_toml, build_config, read_settings
from cvkit.errors import UsageError

TRAIN = "train-saliency"
# Nested lists of a billion elements, of which the parser makes a few.
BOMB = "data: [&0 [x], " + ", ".join(f"&{n} [{', '.join([f'*{n - 1}'] * 10)}]" for n in range(1, 10)) + "]\n"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'data = "d"\nepochs = 3\nsize = "64x96"\nwarmup-epochs = 1\n'),
        ("c.yaml", "data: d\nepochs: 3\nsize: [64, 96]\nwarmup_epochs: 1\n"),
        ("c.json", '{"data": "d", "epochs": 3, "size": [64, 96], "warmup_epochs": 1}'),
    ],
)
def test_a_file_sets_options_and_the_command_line_overrides_it(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    config = build_config(TrainSaliencyConfig, {"epochs": 5}, path, TRAIN)
    assert (config.data, config.epochs, config.size, config.warmup_epochs) == ("d", 5, (64, 96), 1.0)


def test_an_older_name_of_an_option_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", '{"inputs": ["a.jpg"], "checkpoint": "run"}')
    assert build_config(PredictConfig, {}, path, "predict").model == "run"
    assert build_config(PredictConfig, {"model": "other"}, path, "predict").model == "other"


def test_the_config_json_of_a_run_is_accepted(tmp_path: Path) -> None:
    config = TrainSaliencyConfig(data="d", size=(64, 96), freeze=2)
    document = {**config.as_dict(), "command": TRAIN, "resolved": {"lr": 1.0}, "cvkit": "0.1", "torch": "2"}
    path = write(tmp_path / "config.json", json.dumps(document))
    assert build_config(TrainSaliencyConfig, {}, path, TRAIN) == config


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", 'data = "d"\nepoch = 3\n', "'epoch' is not an option of this command. Did you mean 'epochs'?"),
        ("c.toml", "data = \n", "is not valid TOML"),
        ("c.yaml", "data: [\n", "is not valid YAML"),
        ("c.json", "{", "is not valid JSON"),
        ("c.json", "[1]", "does not hold one value per option"),
        ("c.json", '{"data": "d", "epochs": "many"}', "--epochs 'many' is not a whole number"),
        ("c.json", '{"epochs": 3}', "missing option --data"),
        ("c.json", '{"command": "predict"}', "holds settings of `cvkit predict`, not of `cvkit train-saliency`"),
        ("c.ini", "", "must end in .toml, .yaml, .yml or .json"),
        ("c.toml", "\x00", "is not valid TOML"),
        ("c.json", "[" * 100_000, "is not valid JSON (maximum recursion depth"),
        ("c.toml", "a = " + "[" * 100_000, "is not valid TOML"),
        ("c.yaml", "[" * 600, "is not valid YAML"),
        ("c.json", '{"data": "d", "lr": 1, "lr": 2}', "is not valid JSON (the key 'lr' is there twice)"),
        ("c.yaml", "data: d\nlr: 1\nlr: 2\n", "is not valid YAML (the key 'lr' is there twice)"),
        ("c.toml", "lr = 1\nlr = 2\n", "is not valid TOML"),
        ("c.json", '{"data": "d", "batch-size": 1, "batch_size": 2}', "--batch-size is given twice"),
        ("c.json", '{"data": "d", "seed": ' + "9" * 5000 + "}", "is not valid JSON"),
        ("c.json", '{"data": "d", "seed": ' + "9" * 400 + "}", "--seed must be at most 18446744073709551615"),
        ("c.json", '{"data": "d", "lr": ' + "9" * 400 + "}", "--lr must be at most 1000000000, not a larger number"),
        ("c.json", '{"data": "d", "lr": NaN}', "--lr must be above 0, not nan"),
        ("c.json", '{"data": "d", "epochs": {"a": 1}}', "--epochs {'a': 1} is not a whole number"),
        ("c.json", '{"data": "d\\u0000"}', "--data 'd\\x00' contains a null character"),
        ("c.json", '{"command": [1]}', "names no command: [1] is not a text"),
        ("c.yaml", "? [a]\n: 1\n", "is not valid YAML"),
        ("c.yaml", "1: 2\n", "does not hold one value per option"),
        ("c.yaml", "data: !!python/object/apply:os.system [touch x]\n", "is not valid YAML"),
        ("c.yaml", BOMB, "--data [['x'], [[...], [...], [...]"),
        ("c.yaml", "&a [*a]\n", "does not hold one value per option"),
        ("c.yaml", "data: &a [*a]\n", "--data [[[...]]] is not a text"),
    ],
)
def test_a_bad_file_is_named_in_the_message(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(UsageError) as refused:
        build_config(TrainSaliencyConfig, {}, path, TRAIN)
    assert message in str(refused.value)
    assert path in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_settings(str(tmp_path / "none.toml"), TRAIN)


@pytest.mark.parametrize(
    "config",
    [
        TrainSaliencyConfig(data='a "b" \\ c\n\x7fé', size=(64, 96), freeze=2, lr=3e-5, limit=4),
        TrainSaliencyConfig(data="d"),
        GradcamConfig(inputs=("a.jpg", "b c.jpg"), rank=(1, 3), save=("map",), shard=(2, 8)),
        GradcamConfig(inputs=("-",), classes=("tiger cat",)),
    ],
)
def test_settings_as_toml_give_the_same_settings(tmp_path: Path, config: TrainSaliencyConfig | GradcamConfig) -> None:
    command = "gradcam" if isinstance(config, GradcamConfig) else TRAIN
    path = write(tmp_path / "c.toml", as_toml(config, command))
    assert build_config(type(config), {}, path, command) == config


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    for name in ("c.json", "c.toml", "c.yaml"):
        (tmp_path / name).write_bytes(bytes(range(256)))
        with pytest.raises(UsageError, match=f"{name} is not valid"):
            build_config(TrainSaliencyConfig, {}, str(tmp_path / name), TRAIN)


def test_a_file_that_is_too_large_or_none_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "c.json").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    (tmp_path / "c.toml").mkdir()
    os.mkfifo(tmp_path / "c.yaml")
    for name, message in (("c.json", "more than settings need"), ("c.toml", "not a file"), ("c.yaml", "not a file")):
        with pytest.raises(UsageError, match=message):
            build_config(TrainSaliencyConfig, {}, str(tmp_path / name), TRAIN)


def test_the_command_line_overrides_either_spelling_of_an_option(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", '{"data": "d", "batch-size": 2}')
    assert build_config(TrainSaliencyConfig, {"batch_size": 3}, path, TRAIN).batch_size == 3
