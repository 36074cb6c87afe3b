"""Check every row of the registry against the same contract: forward pass, checkpoints, exported files, references."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvkit.commands.export import export
from cvkit.config import ExportConfig
from cvkit.config.export import PARTS
from cvkit.engine import checkpoint
from cvkit.errors import CvkitError, UsageError
from cvkit.models.loaded import LoadedModel, Request
from cvkit.models.runner import Runner
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.registry import KINDS, export_model, find_file, load_model, open_model, rebuild
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

CPU = torch.device("cpu")
FORMATS = {"safetensors": "safetensors", "pt2": "pt2", "onnx": "onnx"}  # suffix by format


@dataclass(frozen=True)
class Example:
    """A small model of a kind.

    Attributes:
        request: Loads the model.
        size: (height, width) of its images in pixels.
        channels: Channels of its images.
        part: ``--part`` that exports a file of this kind.
        source: Reference that ``cvkit export`` makes such a file from.
        weights: ``--weights`` of that reference.
    """

    request: Request
    size: tuple[int, int]
    channels: int
    source: str
    part: str = "encoder"
    weights: str = "pretrained"

    def load(self) -> LoadedModel:
        return load_model(self.request)

    def open(self) -> Runner:
        return self.load().to(CPU, "fp32")

    def images(self, count: int, size: tuple[int, int] | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(count)
        shape = (count, self.channels, *(size or self.size))
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def save(folder: Path, kind: str, runner: Any, network: nn.Module | None = None) -> Path:
    """Write the ``best.pt`` of a run folder, with the weights of ``network`` if those of the runner are folded."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**runner.metadata(), "weights": (network or runner.network).state_dict(), "config": {}}
    checkpoint.save(folder / "best.pt", kind, content)
    return folder


def saliency(folder: Path) -> Example:
    torch.manual_seed(0)
    network = build(SaliencySpec.of("mlnet", backbone="timm:test_resnet"))
    run = save(folder / "saliency", "saliency", SaliencyPredictor(network, (64, 96)))
    return Example(Request(name=str(run)), (64, 96), 3, str(run))


def classifier(folder: Path) -> Example:
    del folder
    return Example(Request(name="timm:resnet10t", weights="none"), (176, 176), 3, "timm:resnet10t", weights="none")


def autoencoder(folder: Path) -> Example:
    torch.manual_seed(0)
    network = Autoencoder(AutoencoderSpec(channels=1, size=(11, 9), latent_dim=3, widths=(4, 8)))
    run = save(folder / "autoencoder", "autoencoder", Embedder(network))
    return Example(Request(name=str(run)), (11, 9), 1, str(run), part="whole")


def encoder(folder: Path) -> Example:
    source, path = autoencoder(folder).source, folder / "own.safetensors"
    export(ExportConfig(model=source, format="safetensors", out=str(path), overwrite=True))
    return Example(Request(name=str(path)), (11, 9), 1, source)


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "saliency": saliency,
    "classifier": classifier,
    "autoencoder": autoencoder,
    "encoder": encoder,
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: make(folder) for kind, make in EXAMPLES.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def example(kind: str, examples: dict[str, Example]) -> Example:
    return examples[kind]


def test_every_row_has_an_example() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    assert all(name == row.name for name, row in KINDS.items())


def test_a_model_runs_on_batches_of_any_number(kind: str, example: Example) -> None:
    loaded = example.load()
    assert loaded.kind == kind and not loaded.is_exported
    runner = loaded.to(CPU, "fp32")
    assert runner.precision == "fp32"
    images = example.images(3)
    output = runner.run(images)
    assert output.dtype == torch.float32 and len(output) == 3 and bool(output.isfinite().all())
    for number in range(3):
        assert torch.allclose(runner.run(images[number : number + 1])[0], output[number], atol=1e-4)


def test_a_model_runs_on_other_sizes_if_its_row_says_so(kind: str, example: Example) -> None:
    runner = example.open()
    height, width = example.size
    for size in ((height + 32, width), (2 * height, width + 64)):
        if KINDS[kind].any_size:
            assert len(runner.run(example.images(2, size))) == 2
        else:
            with pytest.raises((RuntimeError, ValueError)):
                runner.run(example.images(2, size))


def test_running_a_model_restores_its_mode(example: Example) -> None:
    runner = example.open()
    for mode in (True, False):
        runner.network.train(mode)
        output = runner.run(example.images(2))
        assert runner.network.training is mode and not output.requires_grad


def test_a_checkpoint_written_again_gives_the_same_output(kind: str, example: Example, tmp_path: Path) -> None:
    if not KINDS[kind].checkpoint:
        with pytest.raises(CvkitError):
            load_model(Request(name=str(save_any(tmp_path))), (kind,))
        return
    runner: Any = example.open()
    run = save(tmp_path / "again", KINDS[kind].checkpoint, runner, example.load().network)
    for reference in (run, run / "best.pt"):
        loaded = load_model(Request(name=str(reference)), (kind,))
        assert Path(loaded.file) == run / "best.pt" and len(loaded.sha256) == 64
        assert torch.equal(loaded.to(CPU, "fp32").run(example.images(2)), runner.run(example.images(2)))


def save_any(folder: Path) -> Path:
    """Write a run folder of a kind that the registry does not know."""
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / "best.pt", "detector", {"weights": {}})
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_file_opens_as_the_same_kind(kind: str, example: Example, tmp_path: Path, format: str) -> None:
    path = tmp_path / f"model.{FORMATS[format]}"
    config = ExportConfig(
        model=example.source, weights=example.weights, part=example.part, format=format, out=str(path)
    )
    export(config)
    loaded = load_model(Request(name=str(path)), (kind,)) if kind != "autoencoder" or format == "safetensors" else None
    if loaded is None:  # the graph of a whole autoencoder gives pictures, which no command uses
        with pytest.raises(CvkitError, match="this command needs one of encoder"):
            load_model(Request(name=str(path)), (kind,))
        return
    assert loaded.kind == kind and loaded.is_exported is (format != "safetensors")
    images = example.images(3)
    expected, found = example.open().run(images), open_model(str(path), CPU, kinds=(kind,)).run(images)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    if format == "safetensors":
        weights, own = rebuild(path).state_dict(), example.load().network.state_dict()
        assert weights.keys() == own.keys() and all(torch.equal(weights[name], own[name]) for name in own)


@pytest.mark.parametrize("part", PARTS)
def test_a_loaded_model_describes_itself_for_export(kind: str, example: Example, part: str) -> None:
    exportable = export_model(example.load(), part)
    facts = exportable.facts
    assert facts.kind in (kind, "encoder")  # an autoencoder has two parts
    assert (facts.channels, facts.size) == (example.channels, example.size)
    assert facts.outputs == (KINDS[facts.kind].output,)
    images = example.open().normalise(example.images(2))
    with torch.inference_mode():
        assert len(exportable.network(images)) == 2
    network = KINDS[facts.kind].rebuild(facts)
    network.load_state_dict(exportable.network.state_dict())


def test_an_exported_graph_is_not_exported_again(kind: str, example: Example, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    if kind == "autoencoder":  # opens as no kind; see above
        return
    export(ExportConfig(model=example.source, weights=example.weights, format="pt2", out=str(path)))
    with pytest.raises(UsageError, match="is an exported file already"):
        export_model(load_model(Request(name=str(path))), "encoder")


def test_equal_outputs_are_alike(kind: str, example: Example) -> None:
    output = example.open().run(example.images(4))
    scores = KINDS[kind].compare_outputs((output,), (output.clone(),), None)
    assert scores and all(score == pytest.approx(1, abs=1e-5) for score in scores.values())


def test_models_of_other_kinds_are_refused(kind: str, examples: dict[str, Example]) -> None:
    for other, example in examples.items():
        if other == kind:
            continue
        with pytest.raises(CvkitError) as refused:
            load_model(example.request, (kind,))
        assert str(refused.value).endswith((".", "?"))


@pytest.mark.parametrize("reference", ["typo", "runs/typo", "typo.pt", "typo.onnx", "typo.pt2", "timm:typo", ""])
def test_a_reference_to_nothing_is_refused(kind: str, reference: str) -> None:
    with pytest.raises(CvkitError) as refused:
        load_model(Request(name=reference), (kind,))
    assert reference.removeprefix("timm:") in str(refused.value)


@pytest.mark.parametrize("name", ["best.pt", "model.onnx", "model.pt2", "model.safetensors"])
def test_a_damaged_file_is_refused_by_name(kind: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"damaged" * 100)
    with pytest.raises(CvkitError, match=name):
        load_model(Request(name=str(tmp_path / name)), (kind,))


def test_an_existing_folder_is_a_run_and_a_known_name_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file("vgg16") is None
    save_any(tmp_path / "mine")
    assert find_file("mine") == Path("mine/best.pt")
