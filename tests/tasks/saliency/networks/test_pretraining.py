import hashlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from cvkit.errors import WeightsError
from cvkit.models import fetch
from cvkit.models.published import pretrained
from cvkit.models.published.libraries import torchvision_entries
from cvkit.models.published.pretrained import backbone_entry
from cvkit.models.weights import read_tensors
from cvkit.progress import Event
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.build import SaliencySpec, build
from cvkit.tasks.saliency.networks.pretraining import load_backbone
from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX


@pytest.fixture(scope="module")
def mlnet() -> SaliencyModel:
    torch.manual_seed(0)
    return build(SaliencySpec.of("mlnet"))


@pytest.fixture(scope="module")
def vgg_tensors(mlnet: SaliencyModel) -> dict[str, Tensor]:
    """Return tensors under the names of vgg16-conv.pth, with other values than those of the network."""
    return {
        name: torch.full_like(value, 0.001 * i + 0.001)
        for i, (name, value) in enumerate(mlnet.backbone.state_dict().items())
    }


def torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, value in tensors.items():
        layer, kind = name.split(".")
        named[f"features.{TORCHVISION_INDEX[layer]}.{kind}"] = value
    return {**named, "features.28.weight": torch.zeros(512, 512, 3, 3), "classifier.0.bias": torch.zeros(4)}


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        ("own", ".pth"), ("own", ".safetensors"), ("torchvision", ".pth"), ("torchvision", ".safetensors"),
        ("module.", ".pt"), ("backbone.", ".pth"), ("module.torchvision", ".pth"), ("container", ".pth"),
        ("half", ".pth"),
    ],
)  # fmt: skip
def test_vgg16_loads_in_every_naming(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path, form: str, suffix: str
) -> None:
    content: dict[str, Any] = {
        "own": vgg_tensors,
        "torchvision": torchvision_names(vgg_tensors),
        "module.": prefixed(vgg_tensors, "module."),
        "backbone.": prefixed(vgg_tensors, "backbone."),
        "module.torchvision": prefixed(torchvision_names(vgg_tensors), "module."),
        "container": {"epoch": 3, "state_dict": vgg_tensors},
        "half": {name: value.half() for name, value in vgg_tensors.items()},
    }[form]
    path = tmp_path / f"weights{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    set_to_zero(mlnet)
    load_backbone(mlnet, path, zero_bias=False)
    for name, value in mlnet.backbone.state_dict().items():
        torch.testing.assert_close(value, vgg_tensors[name], rtol=1e-3, atol=0)
        assert value.dtype == torch.float32
    assert mlnet.spec.fixed_norm


def set_to_zero(model: SaliencyModel) -> None:
    with torch.no_grad():
        for value in model.backbone.parameters():
            value.zero_()


def test_biases_become_zero_for_mlnet_unless_zero_bias_is_false(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "vgg16-conv.pth"
    torch.save(vgg_tensors, path)
    load_backbone(mlnet, path)
    for name, value in mlnet.backbone.named_parameters():
        assert (value == 0).all() if name.endswith("bias") else torch.equal(value, vgg_tensors[name])
    load_backbone(mlnet, path, zero_bias=False)
    assert all(torch.equal(value, vgg_tensors[name]) for name, value in mlnet.backbone.named_parameters())


def test_weights_none_change_nothing() -> None:
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_backbone(model, "none")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.spec.fixed_norm


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "timm:mobilenetv3_small_100", "timm:resnet10t", "timm:convnext_atto"]
)
def test_full_classifiers_load_into_feature_extractors(name: str, tmp_path: Path) -> None:
    import timm
    import torchvision

    torch.manual_seed(1)
    short = name.removeprefix("timm:")
    classifier = (
        timm.create_model(short) if name.startswith("timm:") else torchvision.models.get_model(name, weights=None)
    ).eval()
    path = tmp_path / "classifier.safetensors"
    save_file(classifier.state_dict(), path)
    model = build(SaliencySpec.of("mlnet", backbone=name)).eval()
    load_backbone(model, path)
    loaded = {value.sum().item() for value in model.backbone.state_dict().values() if value.dim() > 1}
    sums = {value.sum().item() for value in classifier.state_dict().values() if value.dim() > 1}
    assert loaded and loaded <= sums


def test_a_wrong_file_names_the_first_tensors_and_changes_nothing(
    mlnet: SaliencyModel, vgg_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    set_to_zero(mlnet)
    wrong = {**vgg_tensors, "conv1_1.weight": torch.zeros(64, 1, 3, 3)}
    del wrong["conv2_1.bias"]
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as caught:
        load_backbone(mlnet, tmp_path / "wrong.pth")
    assert "conv1_1.weight is 64x1x3x3, 64x3x3x3 is needed; conv2_1.bias is missing (of 16 tensors)" in str(
        caught.value
    )
    assert all((value == 0).all() for value in mlnet.backbone.parameters())

    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"conv1_1.weight is missing; .* and 13 more \(of 16 tensors\)"):
        load_backbone(mlnet, tmp_path / "other.pth")


def test_weights_of_another_backbone_are_recognised(mlnet: SaliencyModel, tmp_path: Path) -> None:
    tensors = {"features.0.0.weight": torch.zeros(32, 3, 3, 3)}
    torch.save(tensors, tmp_path / "mobilenet_v2-b0353104.pth")
    with pytest.raises(WeightsError, match=r"does not fit: .* Did you forget --backbone mobilenet_v2\?$"):
        load_backbone(mlnet, tmp_path / "mobilenet_v2-b0353104.pth")
    with pytest.raises(WeightsError, match=r"of mobilenet_v2, but salgan always uses vgg16\.$"):
        load_backbone(build(SaliencySpec.of("salgan")), tmp_path / "mobilenet_v2-b0353104.pth")
    torch.save(tensors, tmp_path / "vgg16.pth")
    with pytest.raises(WeightsError, match=r"\(of 16 tensors\)\.$"):  # the right network, without its tensors
        load_backbone(mlnet, tmp_path / "vgg16.pth")


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of empty caches of torch hub and the Hugging Face hub, and simulate a missing network."""

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(fetch, "urlopen", no_network)
    return tmp_path


@pytest.mark.usefixtures("empty_caches")
@pytest.mark.parametrize(
    ("name", "published"), [("vgg16", "vgg16.IMAGENET1K_V1"), ("timm:resnet10t", "timm:resnet10t.c3_in1k")]
)
def test_imagenet_without_internet_names_the_weights_the_command_and_the_option(name: str, published: str) -> None:
    model = build(SaliencySpec.of("mlnet", backbone=name))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_backbone(model, "imagenet")
    for part in (
        f"The weights {published} cannot be downloaded",
        f"`cvkit models download {published}`",
        "--weights FILE",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_imagenet_takes_the_first_torchvision_weights_from_the_cache(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    torch.manual_seed(2)
    classifier = torchvision.models.mobilenet_v2(weights=None)
    content = BytesIO()
    torch.save(classifier.state_dict(), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    path = empty_caches / f"torch/hub/checkpoints/mobilenet_v2-{digest}.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.getvalue())
    second, first = torchvision_entries("mobilenet_v2")
    first = replace(first, source=f"https://example.org/{path.name}")
    monkeypatch.setattr(pretrained, "torchvision_entries", lambda _: (second, first))
    model, events = build(SaliencySpec.of("mlnet", backbone="mobilenet_v2")), list[Event]()
    load_backbone(model, "imagenet", report=events.append)
    expected = classifier.state_dict()
    body = model.backbone.get_submodule("body").state_dict()
    assert body
    assert all(torch.equal(value, expected[name]) for name, value in body.items())
    assert events == []


def put_into_hub_cache(folder: Path, content: bytes) -> None:
    commit = "0" * 40
    files = {"refs/main": commit.encode(), f"snapshots/{commit}/model.safetensors": content}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(text)


@pytest.mark.filterwarnings("ignore:Mapping deprecated model name")
@pytest.mark.parametrize("name", ["resnet10t", "resnet18.tv_in1k", "tf_efficientnet_lite0", "tf_efficientnet_b0_ns"])
def test_imagenet_loads_the_tensors_that_timm_loads_itself(name: str, empty_caches: Path) -> None:
    import timm

    torch.manual_seed(3)
    source = backbone_entry(f"timm:{name}").source
    content = save(timm.create_model(name).state_dict())
    folder = empty_caches / f"hub/models--{source.replace('/', '--')}"
    for path, text in (
        (folder / "refs/main", b"0" * 40),
        (folder / f"snapshots/{'0' * 40}/model.safetensors", content),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(text)
    model = build(SaliencySpec.of("mlnet", backbone=f"timm:{name}"))
    load_backbone(model, "imagenet")
    extractor = timm.create_model(name, pretrained=True, features_only=True)
    expected = extractor.state_dict()
    body = model.backbone.get_submodule("body").state_dict()
    assert body.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in body.items())


def test_damaged_timm_weights_are_a_weights_error(empty_caches: Path) -> None:
    folder = empty_caches / "hub/models--timm--resnet10t.c3_in1k"
    content = save({"conv1.weight": torch.zeros(1)})
    for path, text in (
        (folder / "refs/main", b"0" * 40),
        (folder / f"snapshots/{'0' * 40}/model.safetensors", content),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(text)
    with pytest.raises(WeightsError, match=r"model\.safetensors does not fit timm:resnet10t"):
        load_backbone(build(SaliencySpec.of("mlnet", backbone="timm:resnet10t")), "imagenet")


def test_a_backbone_without_published_weights_is_a_weights_error() -> None:
    model = build(SaliencySpec.of("mlnet", backbone="timm:resnet50t"))
    with pytest.raises(WeightsError, match="There are no pretrained weights of timm:resnet50t"):
        load_backbone(model, "imagenet")


@pytest.mark.shared
def test_the_real_mobilenet_gives_the_features_of_the_whole_network(shared: Path) -> None:
    import torchvision

    path = shared / "data/weights/mobilenet_v2-torchvision.pth"
    model = build(SaliencySpec.of("mlnet", backbone="mobilenet_v2"))
    load_backbone(model, path)
    model.train()  # its norms are folded (mean 0, variance 1): they must not use a batch's statistics in training
    whole = torchvision.models.mobilenet_v2(weights=None).eval()
    whole.load_state_dict(read_tensors(path))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images)[-1], whole.features(images))
