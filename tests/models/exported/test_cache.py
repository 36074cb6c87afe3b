"""Test the cache of exported graphs."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cvkit.errors import CvkitError, WeightsError
from cvkit.models.exported import cache, writers
from cvkit.models.exported.facts import Facts
from cvkit.models.loaded import Exportable
from cvkit.progress import Note

FACTS = Facts(
    kind="saliency",
    model="tiny",
    spec={"name": "tiny"},
    channels=3,
    size=(16, 24),
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    outputs=("map",),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "graphs"


def tiny(seed: int = 0) -> Exportable:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()
    return Exportable(network=network.requires_grad_(False), facts=FACTS)


def test_a_network_is_exported_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[object] = []
    first = cache.open_cached(tiny(), notes.append)
    (path,) = folder.iterdir()
    assert path == cache.cached_path(tiny()) and len(notes) == 1
    images = torch.randn(5, 3, 16, 24)
    assert torch.allclose(first(images), tiny().network(images), atol=1e-5)
    monkeypatch.setattr(writers, "write_onnx", None)  # an export would fail
    assert torch.equal(cache.open_cached(tiny(), notes.append)(images), first(images))
    assert len(notes) == 1


def test_other_weights_settings_and_layers_have_other_files() -> None:
    exportable = tiny()
    others = [
        tiny(1),
        replace(exportable, facts=replace(FACTS, size=(24, 24))),
        replace(exportable, facts=replace(FACTS, spec={"name": "tiny", "up_to": "2"})),
        replace(exportable, facts=replace(FACTS, weights_sha256="0" * 64)),
    ]
    assert len({cache.cached_path(each) for each in (exportable, *others)}) == 5
    labelled = replace(exportable, facts=replace(FACTS, config={"epochs": 3}))
    assert cache.cached_path(labelled) == cache.cached_path(exportable)


def test_a_damaged_file_is_made_again(folder: Path) -> None:
    cache.open_cached(tiny(), lambda _: None)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:300])
    notes: list[Note] = []
    cache.open_cached(tiny(), notes.append)  # type: ignore[arg-type]
    assert notes[0].level == "warning" and "the file is made again" in notes[0].text
    assert len(list(folder.iterdir())) == 1


def test_a_graph_that_differs_from_its_network_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = writers.write_onnx

    def spoilt(path: Path, graph: nn.Module, *rest: object, **options: object) -> None:
        with torch.no_grad():
            next(graph.parameters()).mul_(1.1)
        write(path, graph, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writers, "write_onnx", spoilt)
    with pytest.raises(WeightsError, match="differs from the network"):
        cache.open_cached(tiny(), lambda _: None)
    assert not list(folder.iterdir())


def test_the_graphs_that_were_not_used_for_the_longest_time_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        cache.open_cached(tiny(seed), lambda _: None)
        os.utime(cache.cached_path(tiny(seed)), (seed, seed))
    cache.open_cached(tiny(0), lambda _: None)  # used again: now 1 is the oldest
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 2.5 * cache.cached_path(tiny(0)).stat().st_size)
    cache.open_cached(tiny(2), lambda _: None)
    assert set(folder.iterdir()) == {cache.cached_path(tiny(seed)) for seed in (0, 2)}


def test_a_cache_that_cannot_be_written_is_an_error(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(CvkitError, match="graphs"):
        cache.open_cached(tiny(), lambda _: None)


def test_large_networks_are_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_NETWORK_BYTES", 100)
    with pytest.raises(WeightsError, match="of weights"):
        cache.open_cached(tiny(), lambda _: None)


def test_the_cache_is_in_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.cache_folder() == Path("/x/cvkit/graphs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache/cvkit/graphs"
