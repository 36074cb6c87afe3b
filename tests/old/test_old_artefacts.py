"""Check that run folders, exported files and result folders made at commit a1349c6 still open and continue.

``make_artefacts.py`` made ``old_artefacts.tar.xz``, which holds them. ``commands.json`` in the archive lists the
commands that made them; the tests run the same command lines again.
"""

import csv
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import Outcome, run_in_process

ARCHIVE = Path(__file__).with_name("old_artefacts.tar.xz")
WRITTEN_BY = (2, 15)  # version of the torch that wrote encoder.pt2; an older torch need not read the file
REPORTS = ("manifest.json", "results.csv", "results.json", "accuracy.json", "per_class.csv", "lock")
Old = Callable[..., Outcome]


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Old:
    """Unpack the archive into the working folder; return a function that runs one of its commands by name, or any."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC", "CVKIT_")) or name in ("RANK", "LOCAL_RANK"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    commands = json.loads(Path("commands.json").read_text())

    def run(name: str, *words: object) -> Outcome:
        """Run a command of the archive with more words, or a new one, such as ``cvkit train-saliency``."""
        return run_in_process(monkeypatch, capsys, *commands.get(name, name.removeprefix("cvkit ").split()), *words)

    return run


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def codes_of(path: str, split: str = "test") -> np.ndarray:
    return np.array([[row["z0"], row["z1"]] for row in rows_of(path) if row["split"] == split], np.float64)


def state_of(folder: str) -> dict[str, tuple[bytes, int]]:
    """Return the content and, except for reports, the modification time of each file of a folder."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.parent.name != ".cvkit"]
    return {
        path.relative_to(folder).as_posix(): (
            b"" if path.name == "manifest.json" else path.read_bytes(),
            0 if path.name in REPORTS else path.stat().st_mtime_ns,
        )
        for path in paths
    }


@pytest.mark.parametrize(
    ("name", "folder"), [("train-saliency", "saliency-run"), ("train-autoencoder", "autoencoder-run")]
)
def test_a_stopped_run_continues(old: Old, name: str, folder: str) -> None:
    before = rows_of(f"{folder}/history.csv")
    settings = json.loads(Path(folder, "config.json").read_text())
    ended = old(name, "--resume", "--out", folder)
    assert ended.code == 0, ended.err
    rows = rows_of(f"{folder}/history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[0] == before[0]
    expected = json.loads(Path("expected.json").read_text())[folder]
    found = {key: float(rows[1][key]) for key in expected}
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    after = json.loads(Path(folder, "config.json").read_text())
    assert {key: after["resolved"][key] for key in settings["resolved"]} == settings["resolved"]
    assert Path(folder, "curves.png").is_file()
    again = old(name, "--resume", "--out", folder)  # nothing is left to train
    assert again.code == 0, again.err
    assert rows_of(f"{folder}/history.csv") == rows


@pytest.mark.parametrize("folder", ["saliency-run", "autoencoder-run"])
def test_a_stopped_run_continues_with_its_own_settings(old: Old, folder: str) -> None:
    ended = old("cvkit resume", folder)
    assert ended.code == 0, ended.err
    rows = rows_of(f"{folder}/history.csv")
    expected = json.loads(Path("expected.json").read_text())[folder]
    assert {key: float(rows[1][key]) for key in expected} == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("command", "folder"), [("train-saliency", "saliency-run"), ("cae-embed", "autoencoder-run")])
def test_a_config_of_a_run_repeats_it(old: Old, command: str, folder: str) -> None:
    before = json.loads(Path(folder, "config.json").read_text())
    ended = old(f"cvkit {command}", "--config", f"{folder}/config.json", "--out", "again")
    assert ended.code == 0, ended.err
    after = json.loads(Path("again/config.json").read_text())
    resolved = before["resolved"].keys()
    assert {key: after["resolved"][key] for key in resolved} == before["resolved"]
    assert [row["epoch"] for row in rows_of("again/history.csv")] == ["1", "2"]


def test_a_run_does_not_continue_with_other_settings(old: Old) -> None:
    for name, folder, words in (
        ("train-saliency", "saliency-run", ("--seed", 4)),
        ("train-autoencoder", "autoencoder-run", ("--latent-dim", 3)),
    ):
        ended = old(name, "--resume", "--out", folder, *words)
        assert ended.code == 1 and words[0] in ended.err
        assert len(rows_of(f"{folder}/history.csv")) == 1


@pytest.mark.parametrize("checkpoint", ["saliency-run", "saliency-run/best.pt", "exported/saliency.onnx"])
def test_a_saliency_checkpoint_predicts_the_same_maps(old: Old, checkpoint: str) -> None:
    ended = old("cvkit predict", "displays/images/val", "--checkpoint", checkpoint, "--out", "new", "--device", "cpu")
    assert ended.code == 0, ended.err
    maps = sorted(path.name for path in Path("maps").glob("*.png"))
    assert maps == sorted(path.name for path in Path("new").glob("*.png")) != []
    for name in maps:
        then, now = (np.asarray(Image.open(Path(folder, name))).astype(int) for folder in ("maps", "new"))
        assert then.std() > 5 and np.abs(then - now).max() <= 2


def test_an_autoencoder_checkpoint_gives_the_same_codes(old: Old) -> None:
    words = ("cvkit cae-embed", "--data", "digits", "--device", "cpu", "--compare", "none")
    for number, checkpoint in enumerate(["autoencoder-run", "autoencoder-run/best.pt", "exported/encoder.onnx"]):
        ended = old(*words, "--checkpoint", checkpoint, "--out", f"new{number}")
        assert ended.code == 0, ended.err
        codes = codes_of(f"new{number}/embeddings.csv")
        assert codes == pytest.approx(codes_of("embeddings/embeddings.csv"), rel=1e-4, abs=1e-5)


def test_an_exported_program_gives_the_same_codes(old: Old) -> None:
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < WRITTEN_BY:
        pytest.skip("written by a newer torch")
    words = ("cvkit cae-embed", "--data", "digits", "--device", "cpu", "--compare", "none")
    ended = old(*words, "--checkpoint", "exported/encoder.pt2", "--out", "new")
    assert ended.code == 0, ended.err
    assert codes_of("new/embeddings.csv") == pytest.approx(codes_of("embeddings/embeddings.csv"), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("suffix", ["onnx", "pt2", "safetensors"])
def test_metadata_of_exported_files_are_read(old: Old, suffix: str) -> None:
    ended = old("cvkit export", "--inspect", f"exported/encoder.{suffix}", "--json")
    assert ended.code == 0, ended.err
    written = json.loads(Path(f"exported/encoder.{suffix}.export.json").read_text())["facts"]
    found = json.loads(ended.out)
    assert {name: found[name] for name in written} == written
    assert written["kind"] == "encoder" and written["size"] == [12, 12] and written["config"]["widths"] == [4, 4]


@pytest.mark.parametrize("run", ["saliency-run", "autoencoder-run"])
def test_a_run_is_exported(old: Old, run: str) -> None:
    ended = old("cvkit export", run, "--format", "safetensors", "--out", "new.safetensors", "--json")
    assert ended.code == 0, ended.err
    if run == "autoencoder-run":
        from safetensors.torch import load_file

        then, now = load_file("exported/encoder.safetensors"), load_file("new.safetensors")
        assert then.keys() == now.keys() and all(torch.equal(then[name], now[name]) for name in then)


@pytest.mark.parametrize(("name", "folder"), [("predict", "maps"), ("classify", "classes"), ("gradcam", "cam")])
def test_a_result_folder_is_complete(old: Old, name: str, folder: str) -> None:
    before = state_of(folder)
    ended = old(name, "--json")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document.get("batch", document)["counts"] == {"inputs": 2, "skipped": 2, "done": 0, "failed": 0}
    assert json.loads(Path(folder, "manifest.json").read_text())["counts"] == {"inputs": 2, "done": 2, "failed": 0}
    assert state_of(folder) == before


def test_an_embedding_is_complete(old: Old) -> None:
    before = state_of("embeddings")
    ended = old("embed", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["metrics"] == json.loads(Path("embeddings/metrics.json").read_text())
    assert state_of("embeddings") == before


def test_other_settings_are_refused_in_old_result_folders(old: Old) -> None:
    changes = {
        "predict": ("maps", ("--format", "npy")),
        "classify": ("classes", ("--top", 2)),
        "gradcam": ("cam", ("--method", "hirescam")),
        "embed": ("embeddings", ("--format", "npy")),
    }
    for name, (folder, words) in changes.items():
        before = state_of(folder)
        ended = old(name, *words)
        assert ended.code == 1 and words[0].removeprefix("--") in ended.err
        assert state_of(folder) == before


def test_scores_are_replaced_only_on_request(old: Old) -> None:
    before = state_of("scores")
    summary = json.loads(Path("scores/summary.json").read_text())
    ended = old("evaluate")
    assert ended.code in (0, 1)  # complete, or refused without --overwrite: nothing is written in both cases
    if ended.code:
        assert "--overwrite" in ended.err
    assert state_of("scores") == before
    ended = old("evaluate", "--overwrite")
    assert ended.code == 0, ended.err
    again = json.loads(Path("scores/summary.json").read_text())
    assert again["scores"].keys() == summary["scores"].keys()
    for source, scores in summary["scores"].items():
        for column, interval in scores.items():
            assert again["scores"][source][column] == pytest.approx(interval, rel=1e-5, abs=1e-6)
