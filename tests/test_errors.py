"""Test the kinds of errors, their exit codes, and the helpers for messages."""

import pytest

from cvkit import errors
from cvkit.errors import CvkitError, ExitCode, did_you_mean, first_line, nearest, reason


def test_exit_codes_do_not_change() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "PARTIAL": 3,
        "STOPPED": 75,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("UsageError", 2, "usage"),
        ("DataError", 1, "data"),
        ("WeightsError", 1, "weights"),
        ("OutputError", 1, "output"),
        ("TrainingError", 1, "training"),
        ("StoppedBySignal", 75, "stopped"),
    ],
)
def test_every_error_has_its_exit_code_and_kind(name: str, code: int, kind: str) -> None:
    error = getattr(errors, name)("what is wrong.")
    assert isinstance(error, CvkitError) and (error.exit_code, error.kind) == (code, kind)
    assert str(error) == "what is wrong."


def test_the_nearest_word_is_suggested() -> None:
    assert did_you_mean("resnet43", ["vgg16", "resnet34"]) == " Did you mean 'resnet34'?"
    assert did_you_mean("zzz", ["vgg16", "resnet34"]) == " Known: resnet34, vgg16."
    assert did_you_mean("zzz", []) == ""
    assert nearest("vg16", iter(["vgg16"])) == " Did you mean 'vgg16'?" and nearest("zzz", ["vgg16"]) == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no.\nmore", "no"),
        ("\n  spaced: \n", "spaced"),
        ("", "ValueError"),
        ("Exception from src/a.cpp:84:\nwhat it is", "what it is"),
        ("Exception from src/a.cpp:84:", "Exception from src/a.cpp:84"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_first_line_of_an_error(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line


def test_the_reason_of_an_error_is_one_line() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "x.txt")) == "No such file or directory"
    assert reason(OSError("not an image\nat all")) == "not an image"
    assert reason(ValueError("no.\nmore")) == "no"
