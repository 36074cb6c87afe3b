"""Give absurd values to every option of every command: each is accepted, or refused with its name."""

import datetime
import math
from typing import Any

import pytest

from cvkit.cli.main import ALL_COMMANDS
from cvkit.config import EvaluateConfig, ExportConfig
from cvkit.config.base import MAX_SEED
from cvkit.config.option import Field, fields_of
from cvkit.config.sources import as_toml
from cvkit.config.values import from_text, from_value
from cvkit.errors import UsageError

TEXTS = [
    *("", " ", "\n", "nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "-1e308", "1e-308", "1e999", "0x10", "1_000"),
    *map(str, (2**31, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 10**30, -(2**63))),
    *("9" * 5000, "x" * 10000, "5x" + "9" * 5000, "1/" + "9" * 5000, "9" * 30 + "x1", "1/" + "9" * 30),
    *(
        "a\0b",
        "\0",
        "١٢",
        "²",
        "１",
        "None",
        "true",
        "1,2",
        "[1, 2]",
        "{}",
        "1/0",
        "0/0",
        "0x0",
        "1x1",
        "65536x9",
        ",",
        ",,",
    ),
    *("-", "--", "@", "@x", "*", "[", "~", "/", "..", "cuda:", "cuda:-1", "cuda:²", "timm:", "\udcff", "\x1b[0m"),
]
VALUES: list[Any] = [
    *(True, False, -1, 0, 1.5, -0.5, math.inf, -math.inf, math.nan, 1e308, 2**64, 10**30, 10**400, -(10**400)),
    *(
        "",
        "\0",
        "x" * 10000,
        [],
        [[]],
        [1],
        [-1, 5],
        [1, 2, 3],
        [1.5, 2],
        [None],
        ["", "\0"],
        [True, True],
        [10**400] * 2,
    ),
    *({}, {"a": 1}, datetime.date(2024, 1, 1), b"bytes"),
]
OPTIONS = [
    pytest.param(command.config, field, id=f"{command.name} {field.flag}".replace(" ", "-"))
    for command in ALL_COMMANDS
    for field in fields_of(command.config).values()
]
# Values for options that a command cannot do without.
REQUIRED: dict[str, Any] = {
    "inputs": ("a.png",),
    "folders": ("a",),
    "data": "d",
    "model": "vgg16",
    "run": "r",
    "out": "o",
}


def build(config: type, field: Field, value: Any) -> None:
    """Build the settings with one value, and use them as ``--dry-run`` does."""
    needs_model = config in (EvaluateConfig, ExportConfig)
    values = {
        name: REQUIRED[name]
        for name, each in fields_of(config).items()
        if each.required or (needs_model and name == "model")
    }
    settings = config.from_dict({**values, field.name: value}).resolved()  # type: ignore[attr-defined]
    as_toml(settings, "command")
    numbers = getattr(settings, field.name)
    for number in numbers if isinstance(numbers, tuple) else (numbers,):
        if isinstance(number, int | float):
            assert math.isfinite(number) and abs(number) <= field.option.limit


@pytest.mark.parametrize(("config", "field"), OPTIONS)
def test_an_absurd_text_is_accepted_or_refused_with_its_name(config: type, field: Field) -> None:
    for text in TEXTS if field.kind is not bool else ():
        try:
            value = from_text(field, text)
            build(config, field, (value,) if field.option.repeat else value)
        except UsageError as error:
            assert "--" in str(error) or field.flag in str(error), text[:20]


@pytest.mark.parametrize(("config", "field"), OPTIONS)
def test_an_absurd_value_of_a_file_is_accepted_or_refused_with_its_name(config: type, field: Field) -> None:
    for value in VALUES:
        try:
            build(config, field, from_value(field, value))
        except UsageError as error:
            assert "--" in str(error) or field.flag in str(error), repr(value)[:20]
            assert len(str(error)) < 12_000


SEEDS = [option for option in OPTIONS if option.values[1].name == "seed"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("config", "field"), SEEDS)
def test_every_seed_of_64_bits_is_accepted(config: type, field: Field) -> None:
    build(config, field, MAX_SEED)
    with pytest.raises(UsageError, match=f"--seed must be at most {MAX_SEED}, not {2**64}"):
        build(config, field, 2**64)


@pytest.mark.parametrize(("config", "field"), OPTIONS)
def test_empty_and_null_texts_are_refused(config: type, field: Field) -> None:
    for text in ("", "a\0") if field.kind is not bool else ():
        with pytest.raises(UsageError, match=field.flag):
            build(config, field, from_text(field, text) if not field.option.repeat else (text,))
