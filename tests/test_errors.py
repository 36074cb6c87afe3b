"""Test the kinds of errors and their exit codes."""

import pytest

from cvkit import errors
from cvkit.errors import CvkitError, ExitCode


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
