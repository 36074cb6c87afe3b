"""Test the options for preprocessing and for the arguments of a named classifier."""

import json
from typing import Any

import pytest

from cvkit.config import PreprocessingConfig
from cvkit.config.option import fields_of
from cvkit.config.preprocessing import RESERVED, format_rgb, parse_arguments, parse_input_size, parse_rgb
from cvkit.config.values import from_text, to_text
from cvkit.errors import UsageError


def test_without_options_everything_comes_from_the_weights() -> None:
    config = PreprocessingConfig()
    assert all(value in (None, []) for value in config.as_dict().values())


@pytest.mark.parametrize(
    ("text", "values"), [("0.5", (0.5, 0.5, 0.5)), ("0.485,0.456,0.406", (0.485, 0.456, 0.406)), ("1e-1", (0.1,) * 3)]
)
def test_one_number_stands_for_all_channels(text: str, values: tuple[float, float, float]) -> None:
    assert parse_rgb("--mean", text) == values
    assert parse_rgb("--mean", format_rgb(values)) == values


@pytest.mark.parametrize("text", ["", "a", "1,2", "1,2,3,4", "0.5,,0.5", "٠.٥"])
def test_another_number_of_channels_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--std .*write one number, or three as R,G,B"):
        parse_rgb("--std", text)


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("192x256", (192, 256))])
def test_one_number_stands_for_both_sides(text: str, size: tuple[int, int]) -> None:
    assert parse_input_size("--input-size", text) == size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": (127.5, 127.5, 127.5)}, r"--mean 127.5 is for values from 0 to 255.*write 0.5\."),
        ({"std": (58.4, 57.1, 57.4)}, r"--std 58.4,57.1,57.4 is for values from 0 to 255.*write 0.229,0.2239,0.2251"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "--mean must be -2 or more, not nan"),
        ({"std": (0.0, 0.5, 0.5)}, "--std must be above 0, not 0"),
        ({"std": (0.5,)}, "--std needs 3 values, not 1"),
        ({"input_size": (0, 224)}, "--input-size"),
        ({"interpolation": "bicubc"}, "Did you mean 'bicubic'"),
        ({"crop_pct": 0.0}, "--crop-pct must be above 0 and at most 1, not 0"),
        ({"crop_pct": 1.5}, "--crop-pct must be above 0 and at most 1, not 1.5"),
        ({"crop_mode": "pad"}, "--crop-mode 'pad' is not one of center, squash, border"),
        ({"model_arg": ("pad_type",)}, "--model-arg 'pad_type': write KEY=VALUE"),
        ({"model_arg": ("a-b=1",)}, "write KEY=VALUE"),
        ({"model_arg": ("act=1", "act=2")}, "--model-arg act is given twice"),
    ],
)
def test_a_wrong_value_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PreprocessingConfig(**settings)


@pytest.mark.parametrize("key", RESERVED)
def test_an_argument_that_cvkit_sets_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match=f"--model-arg {key}: the command sets this argument itself"):
        parse_arguments((f"{key}=1",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("same", "same"),
        ("'same'", "same"),
        ("", ""),
        ("0.1", 0.1),
        ("3", 3),
        ("(256, 128)", (256, 128)),
        ("True", True),
        ("None", None),
        ("a=b", "a=b"),
        ("__import__('os')", "__import__('os')"),
        ("(" * 900, "(" * 900),
        ("1e999", "1e999"),
    ],
)
def test_values_are_literals_or_text_and_never_run(text: str, value: object) -> None:
    assert parse_arguments((f"key={text}",)) == {"key": value}


def test_settings_survive_json_and_text() -> None:
    config = PreprocessingConfig(
        mean=(0.5, 0.5, 0.5),
        std=(0.1, 0.2, 0.3),
        input_size=(192, 256),
        interpolation="bicubic",
        crop_pct=0.9,
        crop_mode="border",
        model_arg=("pad_type=same",),
    )
    assert PreprocessingConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    for name, field in fields_of(PreprocessingConfig).items():
        if not field.option.repeat:
            assert from_text(field, to_text(field, getattr(config, name))) == getattr(config, name)
