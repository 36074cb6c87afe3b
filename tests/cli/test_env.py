"""Check ``cvkit env``."""

import json
import platform
from importlib import metadata

import torch

import cvkit

from .conftest import Run


def test_the_report_names_versions_devices_and_caches(run: Run) -> None:
    ended = run("env")
    assert ended.code == 0 and ended.err == ""
    for said in (
        f"cvkit {cvkit.__version__}",
        f"Python {platform.python_version()}",
        f"torch {metadata.version('torch')}",
        "Devices",
        "cpu: ",
        "Optional packages",
        "torch hub: ",
        "Hugging Face hub: ",
    ):
        assert said in ended.out


def test_json_of_the_report(run: Run) -> None:
    found = json.loads(run("env", "--json").out)
    assert found["cvkit"] == cvkit.__version__
    assert found["packages"]["typer"] == metadata.version("typer")
    assert None not in found["packages"].values()
    assert {"pyarrow", "umap-learn", "tensorboard", "openvino"} <= found["optional"].keys()
    assert ("cuda:0" in found["devices"]) == torch.cuda.is_available()
