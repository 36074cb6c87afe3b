"""Check that every field of every Config declares a documented option."""

from dataclasses import dataclass

import pytest

from cvkit.cli.main import ALL_COMMANDS
from cvkit.config import CaeEmbedConfig, Config, TrainingConfig
from cvkit.config.option import PANELS, Field, fields_of
from cvkit.config.values import from_text, to_text

FIELDS = [
    pytest.param(field, id=f"{command.name}:{name}".replace(" ", "-"))
    for command in ALL_COMMANDS
    for name, field in fields_of(command.config).items()
]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_help_and_a_panel(field: Field) -> None:
    assert field.option.panel in PANELS
    assert field.option.help[0].isupper() and field.option.help.endswith("."), "the help text is a sentence"


@pytest.mark.parametrize("field", FIELDS)
def test_every_default_can_be_written_on_the_command_line(field: Field) -> None:
    if field.required or field.default is None or field.default == () or field.kind is bool:
        return
    assert from_text(field, to_text(field, field.default)) == field.default


@pytest.mark.parametrize("field", FIELDS)
def test_every_optional_value_has_a_description_of_its_default(field: Field) -> None:
    if field.default is None:
        texts = (field.option.unset, field.option.default_text, field.option.help)
        assert any(texts)


def test_option_names_are_unique_in_a_command() -> None:
    for command in ALL_COMMANDS:
        fields = fields_of(command.config).values()
        flags = [name for field in fields for name in field.option.names or (field.flag,)]
        assert len(flags) == len(set(flags)), command.name


def test_a_field_without_an_option_is_a_programming_error() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Careless(Config):
        forgotten: int = 1

    with pytest.raises(TypeError, match=r"Careless\.forgotten declares no Option"):
        Careless()


def test_a_changed_default_keeps_the_option() -> None:
    ours, base = fields_of(CaeEmbedConfig)["optimizer"], fields_of(TrainingConfig)["optimizer"]
    assert ours.default == "adam" and base.default == "adamw"
    assert ours.option is base.option
