"""Test the runtimes of exported files."""

import importlib.util

import pytest

from cvkit.errors import UsageError
from cvkit.models.exported import runtimes


@pytest.mark.parametrize(
    ("package", "suffix", "extra"), [("onnxruntime", ".onnx", "cvkit"), ("openvino", ".xml", "cvkit[openvino]")]
)
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, extra: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=package) as raised:
        runtimes.need(package, suffix)
    assert f"pip install '{extra}'" in str(raised.value)


def test_an_installed_runtime_is_no_error() -> None:
    runtimes.need("json", ".onnx")
