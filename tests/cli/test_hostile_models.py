"""Model files whose metadata are damaged or lie: refused with one line, without a traceback and without much memory."""

import copy
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from cvkit.commands.export import export
from cvkit.config import ExportConfig
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec
from cvkit.tasks.embedding.embedder import Embedder

from .conftest import Run

ABSURD = [None, True, -1, 10**9, 10**30, float("nan"), "x", [], ["a", "b"], {"a": 1}, [10**9, 10**9], [0, 0]]
OF_THE_FORMAT = ("cvkit", "format", "kind")  # which the reader of checkpoints checks

# A sample of the mutations, and all of them.
EVERY = pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])


def mutations(document: Any, path: tuple[object, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield copies of a document in which one value is absent or absurd, each with a name."""
    keys = list(document) if isinstance(document, dict) else range(min(len(document), 2))
    for key in keys:
        changed = copy.copy(document)
        del changed[key]
        yield f"{(*path, key)} deleted", changed
        for value in ABSURD:
            changed = copy.copy(document)
            changed[key] = value
            yield f"{(*path, key)} = {value!r}", changed
        if isinstance(document[key], dict | list) and document[key]:
            for name, inner in mutations(document[key], (*path, key)):
                yield name, {**document, key: inner} if isinstance(document, dict) else inner


def check(run: Run, name: str, *words: object) -> None:
    ended = run(*words)
    assert ended.code in (0, 1, 2, 3), name
    if ended.code in (1, 2):
        assert ended.err.count("error: ") == 1 and ended.err.splitlines()[-1].startswith("error: "), (name, ended.err)


@pytest.fixture
def autoencoder() -> dict[str, Any]:
    """The content of a checkpoint of a small autoencoder."""
    torch.manual_seed(0)
    embedder = Embedder(Autoencoder(AutoencoderSpec(size=(8, 8), widths=(2, 2))))
    content = {"cvkit": "0", "format": 1, "kind": "autoencoder", **embedder.metadata(), "config": {"seed": 0}}
    return content | {"weights": embedder.network.state_dict()}


@EVERY
def test_damaged_facts_of_an_autoencoder(run: Run, autoencoder: dict[str, Any], tmp_path: Path, step: int) -> None:
    weights = autoencoder.pop("weights")
    plain = {name: value for name, value in autoencoder.items() if name not in OF_THE_FORMAT}
    for name, changed in islice(mutations(plain), 0, None, step):
        torch.save({**autoencoder, **dict.fromkeys(plain), **changed, "weights": weights}, tmp_path / "m.pt")
        check(run, name, "models", "show", tmp_path / "m.pt")


def test_damaged_weights_of_a_checkpoint(run: Run, autoencoder: dict[str, Any], tmp_path: Path) -> None:
    weights = autoencoder["weights"]
    halves = {name: value[:1] for name, value in weights.items()}
    enormous = {name: value.flatten()[:1].expand(2**40) for name, value in weights.items()}
    others = (None, 3, [], {}, {"a": torch.zeros(2)}, {1: torch.zeros(1)}, dict.fromkeys(weights, 3))
    for changed in (*others, halves, enormous):
        torch.save({**autoencoder, "weights": changed}, tmp_path / "m.pt")
        ended = run("models", "show", tmp_path / "m.pt")
        assert ended.code == 1 and ended.err.count("\n") == 1


@pytest.fixture
def exported(autoencoder: dict[str, Any], tmp_path: Path) -> Path:
    torch.save(autoencoder, tmp_path / "best.pt")
    path = tmp_path / "exported.safetensors"
    export(ExportConfig(model=str(tmp_path / "best.pt"), format="safetensors", out=str(path)))
    return path


@EVERY
def test_damaged_metadata_of_an_exported_file(run: Run, exported: Path, tmp_path: Path, step: int) -> None:
    with safetensors.safe_open(exported, "pt") as file:
        facts = json.loads(file.metadata()["cvkit"])
    tensors = safetensors.torch.load_file(exported)
    for name, changed in islice(mutations({**facts, "tensors_sha256": ""}), 0, None, step):
        safetensors.torch.save_file(tensors, tmp_path / "m.safetensors", metadata={"cvkit": json.dumps(changed)})
        check(run, name, "models", "show", tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"kind": ' * 10_000, "x" * 2**25])
def test_metadata_that_are_no_document(run: Run, exported: Path, tmp_path: Path, text: str) -> None:
    tensors = safetensors.torch.load_file(exported)
    safetensors.torch.save_file(tensors, tmp_path / "m.safetensors", metadata={"cvkit": text})
    ended = run("models", "show", tmp_path / "m.safetensors")
    assert ended.code == 1 and ended.err.count("\n") == 1


def test_a_spec_that_asks_for_terabytes_is_refused(run: Run, autoencoder: dict[str, Any], tmp_path: Path) -> None:
    for change in ({"size": [8192, 8193]}, {"latent_dim": 10**8}, {"widths": [10**5, 10**5]}):
        torch.save({**autoencoder, "spec": {**autoencoder["spec"], **change}}, tmp_path / "m.pt")
        ended = run("models", "show", tmp_path / "m.pt")
        assert ended.code == 1 and "impossible or enormous dimensions" in ended.err


def test_a_class_count_that_asks_for_terabytes_is_refused(run: Run, tmp_path: Path) -> None:
    import timm

    weights = timm.create_model("resnet10t", num_classes=3).state_dict()
    weights["fc.weight"] = torch.zeros(1, 1).expand(10**9, 512)
    torch.save(weights, tmp_path / "w.pth")
    ended = run("classify", tmp_path, "--model", "timm:resnet10t", "--weights", tmp_path / "w.pth")
    assert ended.code == 1 and ended.err.count("error: ") == 1
