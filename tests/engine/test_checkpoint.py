"""Test saving, loading and finding checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch

import cvkit
from cvkit.engine import checkpoint
from cvkit.engine.checkpoint import find, load, save
from cvkit.errors import OutputError, WeightsError


def test_a_checkpoint_is_saved_and_loaded(tmp_path: Path) -> None:
    save(tmp_path / "run" / "best.pt", "saliency", {"weights": {"w": torch.arange(3.0)}, "size": (1, 2)})
    content = load(tmp_path / "run" / "best.pt", "saliency")
    assert content["weights"]["w"].tolist() == [0, 1, 2] and content["cvkit"] == cvkit.__version__
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["best.pt"]


class Evil:
    """Creates a file when it is unpickled without restrictions."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil"),))


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"kind": "saliency", "x": Evil()}, tmp_path / "evil.pt")
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "bare.pth")
    torch.save(torch.ones(1), tmp_path / "tensor.pt")
    save(tmp_path / "other.pt", "classifier", {})
    save(tmp_path / "new.pt", "saliency", {"format": checkpoint.FORMAT + 1, "cvkit": "99.0"})
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "cut.pt").write_bytes((tmp_path / "other.pt").read_bytes()[:200])
    for name, message in {
        "none.pt": "no such checkpoint",
        "evil.pt": "not a cvkit checkpoint",
        "text.pt": "not a cvkit checkpoint",
        "empty.pt": "not a cvkit checkpoint",
        "cut.pt": "not a cvkit checkpoint",
        "bare.pth": r"holds weights alone, not a cvkit checkpoint; use it as the weights of a named model",
        "tensor.pt": "holds weights alone",
        "other.pt": "a checkpoint of kind 'classifier'; this command needs one of kind 'saliency'",
        "new.pt": r"written by cvkit 99\.0, newer than this",
        ".": "cannot be read",
    }.items():
        with pytest.raises(WeightsError, match=message):
            load(tmp_path / name, "saliency")
    assert not (tmp_path / "evil").exists()


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"no space left to write .*best\.pt"):
        save(tmp_path / "best.pt", "saliency", {})
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_torch_are_not_reported_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("another error")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="another error"):
        save(tmp_path / "best.pt", "saliency", {})
    assert list(tmp_path.iterdir()) == []


def test_find_accepts_a_run_folder_or_a_file(tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    run.mkdir()
    with pytest.raises(WeightsError, match=r"no best\.pt in this folder\.$"):
        find(str(run))
    (run / "last.pt").touch()
    with pytest.raises(WeightsError, match=r"no best\.pt in this folder\. It has last\.pt: .*`cvkit resume"):
        find(str(run))
    (run / "best.pt").touch()
    assert find(str(run)) == run / "best.pt" and find(str(run / "last.pt")) == run / "last.pt"
    with pytest.raises(WeightsError, match=r"no such run folder or file\. Did you mean 'run-1'"):
        find(str(tmp_path / "run1"))
    with pytest.raises(WeightsError, match=r"no such run folder or file\.$"):
        find(str(tmp_path / "zzz"))
    with pytest.raises(WeightsError, match=r"no such run folder or file\.$"):
        find(str(tmp_path / "no" / "such"))
