"""Test the conversion of texts and file values to option values."""

from typing import Any

import pytest

from cvkit.config import (
    CaeEmbedConfig,
    ClassifyConfig,
    Config,
    ExportConfig,
    GradcamConfig,
    PredictConfig,
    TrainSaliencyConfig,
)
from cvkit.config.classification import parse_ranks
from cvkit.config.option import Field, fields_of
from cvkit.config.train_saliency import parse_freeze
from cvkit.config.values import from_text, from_value, parse_numbers, parse_shard, parse_size, to_text
from cvkit.errors import UsageError


def field(config: type[Config], name: str) -> Field:
    return fields_of(config)[name]


def test_sizes_are_height_by_width() -> None:
    assert parse_size("--size", "240x320") == (240, 320) and parse_size("--size", "1X2") == (1, 2)
    for text in ("240", "240x", "x320", "240x320x3", "0x5", "-1x5", "2.5x5", "axb", "", "²x³"):
        with pytest.raises(UsageError, match=r"--size .* height x width in pixels"):
            parse_size("--size", text)


def test_shards_count_from_one() -> None:
    assert parse_shard("--shard", "2/8") == (2, 8) and parse_shard("--shard", "1/1") == (1, 1)
    for text in ("0/3", "4/3", "3", "1/2/3", "a/b", "/", "-1/3", "²/3"):
        with pytest.raises(UsageError, match="--shard"):
            parse_shard("--shard", text)


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("2", (2,)),
        ("1-3", (1, 2, 3)),
        ("1,3", (1, 3)),
        ("3,1", (1, 3)),
        ("2-4,1,3-5,4", (1, 2, 3, 4, 5)),
        (" 1 , 4 - 5 ", (1, 4, 5)),
        ("7-7", (7,)),
        ("1001", (1001,)),
    ],
)
def test_ranks_are_a_number_a_range_or_a_list(text: str, ranks: tuple[int, ...]) -> None:
    assert parse_ranks("--rank", text) == ranks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "ranks count from 1"),
        ("0-2", "ranks count from 1"),
        ("3-1", "the range 3-1 is empty; write 1-3"),
        ("1,5-2", "the range 5-2 is empty; write 2-5"),
        *((text, "write a rank, a range or a list") for text in ("a", "", "1-", "-1", "1--2", "1-2-3", ",", "1,,2")),
        *((text, "write a rank, a range or a list") for text in ("1.5", "²", "1-9999999999", "9" * 5000)),
    ],
)
def test_invalid_ranks_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^--rank .*{message}"):
        parse_ranks("--rank", text)


def test_freeze_is_a_keyword_or_a_number_of_epochs() -> None:
    assert parse_freeze("--freeze", "none") == "none" and parse_freeze("--freeze", "3") == 3
    for text in ("head", "", "-1", "²"):
        with pytest.raises(UsageError, match=r"--freeze .* none, backbone, or a number of epochs"):
            parse_freeze("--freeze", text)


def test_lists_of_numbers_are_separated_by_commas() -> None:
    assert parse_numbers("--widths", "32, 64,64") == (32, 64, 64)
    for text in ("", ",", "a", "1.5", "-1", "²"):
        with pytest.raises(UsageError, match="--widths"):
            parse_numbers("--widths", text)


@pytest.mark.parametrize(
    ("config", "name", "text", "value"),
    [
        (PredictConfig, "batch_size", "auto", None),
        (PredictConfig, "batch_size", "7", 7),
        (PredictConfig, "size", "input", None),
        (PredictConfig, "size", "3x4", (3, 4)),
        (PredictConfig, "blur_px", "2", 2.0),
        (ExportConfig, "dynamic", "none", ()),
        (ExportConfig, "dynamic", "batch,height", ("batch", "height")),
        (CaeEmbedConfig, "widths", "8,8", (8, 8)),
        (CaeEmbedConfig, "format", "csv, npy,csv", ("csv", "npy")),
        (
            GradcamConfig,
            "classes",
            "tiger cat, big",
            "tiger cat, big",
        ),  # one occurrence of an option that may be repeated
        (TrainSaliencyConfig, "freeze", "2", 2),
    ],
)
def test_texts_are_converted_to_values_and_back(config: type[Config], name: str, text: str, value: Any) -> None:
    option = field(config, name)
    assert from_text(option, text) == value
    if not option.option.repeat:
        assert from_text(option, to_text(option, value)) == value


@pytest.mark.parametrize(
    ("config", "name", "text", "message"),
    [
        (PredictConfig, "batch_size", "many", "--batch-size 'many' is not a whole number or auto."),
        (PredictConfig, "batch_size", "1.5", "--batch-size '1.5' is not a whole number or auto."),
        (PredictConfig, "blur_px", "wide", "--blur-px 'wide' is not a number."),
        (TrainSaliencyConfig, "epochs", "²", "--epochs '²' is not a whole number."),
        (TrainSaliencyConfig, "strict", "maybe", "--strict 'maybe' is not true or false."),
    ],
)
def test_invalid_texts_are_refused(config: type[Config], name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        from_text(field(config, name), text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("config", "name", "value", "expected"),
    [
        (PredictConfig, "size", [3, 4], (3, 4)),
        (PredictConfig, "size", "3x4", (3, 4)),
        (PredictConfig, "size", None, None),
        (PredictConfig, "batch_size", "auto", None),
        (PredictConfig, "blur_px", 2, 2.0),
        (PredictConfig, "inputs", "one.jpg", ("one.jpg",)),
        (PredictConfig, "inputs", ["one.jpg", "two.jpg"], ("one.jpg", "two.jpg")),
        (GradcamConfig, "rank", "1-3", (1, 2, 3)),
        (GradcamConfig, "save", ["map"], ("map",)),
        (TrainSaliencyConfig, "freeze", "3", 3),  # as runs of earlier versions store it
        (TrainSaliencyConfig, "freeze", 3, 3),
        (TrainSaliencyConfig, "epochs", "3", 3),
    ],
)
def test_values_from_files_are_converted(config: type[Config], name: str, value: Any, expected: Any) -> None:
    assert from_value(field(config, name), value) == expected


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (PredictConfig, "overlay", 1),
        (PredictConfig, "batch_size", True),
        (PredictConfig, "batch_size", 1.5),
        (PredictConfig, "model", 3),
        (PredictConfig, "inputs", 3),
        (PredictConfig, "inputs", [3]),
        (GradcamConfig, "rank", [1.5]),
        (ClassifyConfig, "top", {"k": 1}),
        (TrainSaliencyConfig, "epochs", None),
    ],
)
def test_values_of_other_types_are_refused(config: type[Config], name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=field(config, name).flag):
        from_value(field(config, name), value)
