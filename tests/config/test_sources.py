"""Test settings from files, and settings as TOML."""

import json
from pathlib import Path

import pytest

from cvkit.config import GradcamConfig, PredictConfig, TrainSaliencyConfig
from cvkit.config.sources import as_toml, build_config, read_settings
from cvkit.errors import UsageError

TRAIN = "train-saliency"


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
