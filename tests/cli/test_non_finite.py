"""Commands and files with values that are NaN or infinite: such an image fails alone, and such weights are refused."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from cvkit.commands.cae_embed.measure import codes_of
from cvkit.data.image_set import ImageSet
from cvkit.errors import WeightsError
from cvkit.models.runner import Runner
from cvkit.models.scaling import min_max
from cvkit.progress import ignore
from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.explain import Explanation
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec
from cvkit.tasks.embedding.embedder import Embedder

from .conftest import Run

NET = ("--model", "timm:resnet10t", "--weights", "none")
BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four images of one size, of which c.png is white."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abcd":
        image = rng.integers(0, 200, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(np.full_like(image, 255) if name == "c" else image).save(folder / f"{name}.png")
    return folder


def spoil_white_images(monkeypatch: pytest.MonkeyPatch, value: float) -> list[int]:
    """Let every network return a value for white images; return a list that gets the size of each batch."""
    forward, sizes = Runner.forward, []

    def spoiled(self: Runner, images: Tensor) -> Tensor:
        sizes.append(len(images))
        outputs = forward(self, images)
        white = (images == 255).flatten(1).all(1)
        outputs[white, ..., 0] = value
        return outputs

    monkeypatch.setattr(Runner, "forward", spoiled)
    return sizes


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def check_that_c_alone_failed(folder: Path) -> None:
    (failure,) = table(folder / "failures.csv")
    assert failure["input"].endswith("c.png") and failure["kind"] == "model"
    assert "the network returns NaN or infinite values for this image" in failure["message"]
    assert "nan" not in (folder / "results.csv").read_text()


@pytest.mark.parametrize("value", BAD)
def test_a_map_that_is_not_finite_is_a_failed_input(
    run: Run, trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    sizes = spoil_white_images(monkeypatch, value)
    assert run("predict", photos, "--model", trained, "--out", "m", "--batch-size", 4).code == 3
    check_that_c_alone_failed(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").glob("*.png")) == ["a.png", "b.png", "d.png"]
    assert sizes == [4]  # its neighbours in the batch are not computed again


@pytest.mark.parametrize("value", BAD)
def test_scores_of_classes_that_are_not_finite_are_a_failed_input(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    sizes = spoil_white_images(monkeypatch, value)
    assert run("classify", photos, *NET, "--out", "c", "--batch-size", 4, "--top", 2).code == 3
    check_that_c_alone_failed(tmp_path / "c")
    assert sizes == [4]
    assert len(table(tmp_path / "c/results.csv")) == 3 * 2 + 1


@pytest.mark.parametrize("spoiled", ["logits", "maps"])
def test_an_explanation_that_is_not_finite_is_a_failed_input(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    explain = Explainer.__call__

    def spoil(self: Explainer, images: Tensor, select: Callable[[Tensor], Tensor]) -> Explanation:
        found = explain(self, images, select)
        getattr(found, spoiled)[2, ..., 0] = float("nan")
        return found

    monkeypatch.setattr(Explainer, "__call__", spoil)
    assert run("gradcam", photos, *NET, "--out", "g", "--batch-size", 4, "--save", "map").code == 3
    check_that_c_alone_failed(tmp_path / "g")
    assert len(list((tmp_path / "g").glob("*.map.png"))) == 3


def test_a_map_of_a_model_that_is_not_finite_is_not_scored(
    run: Run, trained: Path, fixation_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(fixation_data, data)
    first = sorted((data / "images/val").iterdir())[0]
    with Image.open(first) as image:
        Image.new("RGB", image.size, "white").save(first)
    spoil_white_images(monkeypatch, float("nan"))
    ended = run("evaluate", "--data", data, "--model", trained, "--out", "s")
    assert ended.code == 3
    (failure,) = table(tmp_path / "s/failures.csv")
    assert failure["input"].endswith(first.name) and failure["kind"] == "model"
    assert len(table(tmp_path / "s/scores.csv")) == 2


def test_codes_that_are_not_finite_name_an_image() -> None:
    embedder = Embedder(Autoencoder(AutoencoderSpec(size=(8, 8), widths=(2, 2, 2))))
    with torch.no_grad():
        embedder.model.encoder.code.weight.fill_(3e38)
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[1] = 255
    with torch.no_grad():
        for layer in (embedder.model.encoder.conv1, embedder.model.encoder.conv2, embedder.model.encoder.conv3):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        embedder.model.encoder.code.bias.zero_()
    with pytest.raises(WeightsError, match="codes of 1 images are NaN or infinite, such as that of b"):
        codes_of(embedder, ImageSet(images=images, labels=None, names=["a", "b", "c"]), "", ignore)


@pytest.mark.parametrize("value", BAD)
def test_a_map_is_not_scaled_to_zeros_because_of_one_value(value: float) -> None:
    assert not min_max(torch.tensor([[0.0, 1.0, value]])).isfinite().all()
    assert min_max(torch.tensor([[2.0, 2.0]])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("value", BAD)
def test_a_checkpoint_with_a_weight_that_is_not_finite_is_refused(
    run: Run, trained: Path, photo: Path, tmp_path: Path, value: float
) -> None:
    content = torch.load(trained / "best.pt", weights_only=True)
    name = next(name for name, tensor in content["weights"].items() if tensor.is_floating_point())
    weight = content["weights"][name]
    weight[(0,) * weight.dim()] = value
    torch.save(content, tmp_path / "bad.pt")
    bad = tmp_path / "bad.pt"
    commands = (
        ("predict", photo, "--model", bad, "--out", "m"),
        ("export", bad, "--out", "m.onnx"),
        ("models", "show", bad),
    )
    for words in commands if np.isnan(value) else commands[:1]:
        ended = run(*words)
        assert ended.code == 1 and ended.err.count("error: ") == 1
        assert f"bad.pt: the tensor {name} has values that are NaN or infinite" in ended.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_weights_file_that_is_not_finite_is_refused(run: Run, photo: Path, tmp_path: Path, suffix: str) -> None:
    import timm

    tensors = timm.create_model("resnet10t").state_dict()
    tensors["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    path = tmp_path / f"bad.{suffix}"
    torch.save(tensors, path) if suffix == "pth" else safetensors.torch.save_file(tensors, path)
    ended = run("classify", photo, "--model", "timm:resnet10t", "--weights", path, "--out", "m")
    assert ended.code == 1 and "the tensor layer1.0.conv1.weight has values that are NaN" in ended.err
