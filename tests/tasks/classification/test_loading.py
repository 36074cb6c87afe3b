"""Test loading of image classifiers by name, with the weights of a file."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from cvkit.errors import DataError, UsageError, WeightsError
from cvkit.models import fetch
from cvkit.models.published import pretrained
from cvkit.models.published.pretrained import facts
from cvkit.tasks.classification import loading, specification, state_dicts
from cvkit.tasks.classification.loading import load
from cvkit.tasks.classification.specification import base_name, make

SMALL = "squeezenet1_1"


def network(name: str, classes: int = 5, seed: int = 1) -> nn.Module:
    """Build a network with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(name, classes)


def save(path: Path, tensors: object) -> str:
    torch.save(tensors, path)
    return str(path)


def assert_same(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    values = module.state_dict()
    assert values.keys() <= tensors.keys()
    for name, value in values.items():
        assert torch.equal(value, tensors[name].to(value.dtype)), name


@pytest.mark.parametrize("name", [SMALL, "mobilenet_v3_small", "timm:mobilenetv3_small_050"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {f"module._orig_mod.{name}": value for name, value in tensors.items()}},
    ],
    ids=["plain", "module", "state_dict", "compiled"],
)
def test_every_tensor_comes_from_the_file(tmp_path: Path, name: str, wrap: Callable[[dict], dict]) -> None:
    tensors = network(name).state_dict()
    path = save(tmp_path / "mine.pth", wrap(tensors))
    loaded = load(name, path)
    assert_same(loaded.network, tensors)
    assert (loaded.facts.num_classes, loaded.facts.labels, loaded.facts.class_ids) == (5, (), ())
    assert loaded.facts.top1 is None
    assert loaded.file == path
    assert loaded.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert "is none of the published files" in loaded.note


def test_safetensors_in_half_precision_are_loaded_as_float32(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    halves = {name: value.half().contiguous() for name, value in network(SMALL).state_dict().items()}
    save_file(halves, tmp_path / "mine.safetensors")
    loaded = load(SMALL, str(tmp_path / "mine.safetensors"))
    assert_same(loaded.network, halves)
    assert next(loaded.network.parameters()).dtype == torch.float32


@pytest.mark.parametrize("name", ["timm:swin_tiny_patch4_window7_224", "inception_v3", "regnet_y_400mf"])
def test_a_loaded_network_computes_what_the_original_network_computes(tmp_path: Path, name: str) -> None:
    expected = network(name, 7).eval()
    path = save(tmp_path / "mine.pth", expected.state_dict())
    dirt = [torch.full((500_000,), float("nan")) for _ in range(50)]
    del dirt  # NaN in the freed memory would show in tensors that are not initialised
    loaded = load(name, path).network.eval()
    assert_same(loaded, expected.state_dict())
    side = facts(name).preprocessing.crop[0]
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(images), expected(images))


def test_building_without_random_numbers_ends_for_any_memory_content() -> None:
    with state_dicts._SkipInit():  # torch 2.15 repeats the draw until all numbers are within bounds
        for mean, low, high in ((0.0, -2.0, 2.0), (-0.1, 0.0, 2.0), (5.0, 4.0, 5.5)):
            values = nn.init.trunc_normal_(torch.full((1000,), 100.0), mean=mean, a=low, b=high)
            assert low <= float(values.min()) <= float(values.max()) <= high
        layer = nn.Linear(100, 100)
        assert nn.init.xavier_uniform_(layer.weight) is layer.weight
        assert len(nn.Embedding(10, 10).weight.unique()) == 1
    assert len(nn.Linear(100, 100).weight.unique()) > 1000


def test_inception_normalises_its_input_and_needs_no_auxiliary_classifier(tmp_path: Path) -> None:
    from torchvision import models

    for name, extra in (("inception_v3", "AuxLogits."), ("googlenet", "aux1.")):
        expected = models.get_model(
            name, transform_input=True, aux_logits=True, init_weights=False, num_classes=4
        ).eval()
        assert any(key.startswith(extra) for key in expected.state_dict())
        loaded = load(name, save(tmp_path / "mine.pth", expected.state_dict())).network.eval()
        assert not any(key.startswith(extra) for key in loaded.state_dict())
        images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert torch.equal(loaded(images), expected(images))


def test_old_torchvision_names_are_converted(tmp_path: Path) -> None:
    # The published DenseNets name norm1 as norm.1, the published ViTs name mlp.0 as mlp.linear_1.
    dense = network("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value for name, value in dense.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert_same(load("densenet121", save(tmp_path / "a.pth", old)).network, dense)
    names = ["encoder.layers.encoder_layer_0.mlp.linear_1.bias", "mlp.linear_2.weight", "heads.head.bias"]
    tensors = {name: torch.zeros(1) for name in names}
    renamed = state_dicts._rename_old(tensors, nn.Identity())
    assert list(renamed) == ["encoder.layers.encoder_layer_0.mlp.0.bias", "mlp.linear_2.weight", "heads.head.bias"]


def test_timm_converts_checkpoints_that_timm_did_not_write(tmp_path: Path) -> None:
    name = "timm:convnext_atto"  # its authors use other names, among others for the last layer
    tensors = make(name).state_dict()
    changes = (
        (r"^stem\.", "downsample_layers.0."),
        (r"stages\.(\d)\.blocks\.", r"stages.\1."),
        (r"stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"conv_dw", "dwconv"),
        (r"mlp\.fc", "pwconv"),
        (r"head\.norm\.", "norm."),
        (r"head\.fc\.", "head."),
    )
    old = {}
    for key, value in tensors.items():
        for new, before in changes:
            key = re.sub(new, before, key)
        old[key] = value
    assert "head.weight" in old
    assert_same(load(name, save(tmp_path / "a.pth", old)).network, tensors)


def test_a_network_that_reads_the_version_of_its_state_dict_is_loaded(tmp_path: Path) -> None:
    tensors = network("mnasnet0_5").state_dict()
    assert_same(load("mnasnet0_5", save(tmp_path / "a.pth", tensors)).network, tensors)


def test_counters_of_batch_norms_may_be_missing(tmp_path: Path) -> None:
    tensors = network("mobilenet_v3_small").state_dict()
    fewer = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(fewer) < len(tensors)
    assert_same(load("mobilenet_v3_small", save(tmp_path / "a.pth", fewer)).network, tensors)


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        (SMALL, "mobilenet_v3_small", r"does not fit: the last layer of the model \(classifier\.1\.bias"),
        ("squeezenet1_0", SMALL, r"does not fit: features\.0\.weight is 64x3x3x3, 96x3x7x7 is needed"),
        ("timm:mobilenetv3_small_050", SMALL, "the last layer .* is not in the file"),
        ("mobilenet_v3_small", "mobilenet_v3_large", "is missing"),
        ("resnet18", "resnet34", r"does not fit: it is of a deeper network, which also has layer1\.2\..* and 95 more"),
        ("timm:resnet18", "resnet34", "of a deeper network"),
        ("resnet34", "resnet18", "is missing"),
    ],
)
def test_a_file_of_another_architecture_is_refused(tmp_path: Path, name: str, other: str, message: str) -> None:
    path = save(tmp_path / "other.pth", network(other).state_dict())
    with pytest.raises(WeightsError, match=message) as caught:
        load(name, path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_more_layers_in_its_classifier_is_refused(tmp_path: Path) -> None:
    tensors = network("mobilenet_v3_small").state_dict() | {"classifier.6.weight": torch.zeros(2, 5)}
    with pytest.raises(WeightsError, match=r"which also has classifier\.6\.weight\."):
        load("mobilenet_v3_small", save(tmp_path / "a.pth", tensors))


def test_extra_tensors_are_ignored(tmp_path: Path) -> None:
    tensors = network(SMALL).state_dict()
    more = tensors | {
        "total_ops": torch.zeros(1),
        "features.3.total_params": torch.zeros(1),
        "decay": torch.ones(1),
    }
    assert_same(load(SMALL, save(tmp_path / "a.pth", more)).network, tensors)


def test_norms_that_timm_drops_are_not_extra_layers(tmp_path: Path) -> None:
    tensors = network("timm:coat_lite_tiny").state_dict()
    more = tensors | {f"norm{stage}.weight": torch.zeros(3) for stage in (1, 2, 3)}  # the network has norm4 alone
    assert_same(load("timm:coat_lite_tiny", save(tmp_path / "a.pth", more)).network, tensors)


@pytest.mark.parametrize("content", [b"", b"hello", "half"])
def test_the_error_for_a_damaged_file_is_one_line(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "mine.pth"
    save(path, network(SMALL).state_dict())
    path.write_bytes(path.read_bytes()[:100_000] if isinstance(content, str) else content)
    with pytest.raises(WeightsError, match=r"mine\.pth") as caught:
        load(SMALL, str(path))
    assert "\n" not in str(caught.value)


def test_the_error_for_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth: no such file\. Write a file, pretrained or none\.$"):
        load(SMALL, str(tmp_path / "gone.pth"))
    with pytest.raises(WeightsError, match="is a folder, not a file"):
        load(SMALL, str(tmp_path))
    with pytest.raises(WeightsError, match=r"named with the model: --model mobilenet_v2\.IMAGENET1K_V1\.$"):
        load("mobilenet_v2", "IMAGENET1K_V1")
    with pytest.raises(WeightsError, match=r"--model timm:resnet18\.a1_in1k\.$"):
        load("timm:resnet18.tv_in1k", "a1_in1k")


def test_an_unknown_model_is_a_usage_error_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'mobilenet_v2'"):
        load("mobilnet_v2", "none")


def test_labels_are_read_from_a_file_with_one_label_per_class(tmp_path: Path) -> None:
    path, labels = save(tmp_path / "a.pth", network(SMALL, 3).state_dict()), tmp_path / "labels.csv"
    labels.write_text("class_index,label,class_id\n1,bee,n2\n0,ant,n1\n2,cat,n3\n")
    loaded = load(SMALL, path, str(labels))
    assert loaded.facts.labels == ("ant", "bee", "cat")
    assert loaded.facts.class_ids == ("n1", "n2", "n3")
    labels.write_text("label\nant\nbee\n")
    with pytest.raises(UsageError, match=r"labels\.csv names 2 classes, but the weights of squeezenet1_1 have 3\.$"):
        load(SMALL, path, str(labels))
    with pytest.raises(UsageError, match="names 2 classes, but the weights of squeezenet1_1 have 1000"):
        load(SMALL, "none", str(labels))
    with pytest.raises(DataError, match="cannot be read"):
        load(SMALL, path, "gone.txt")


def test_the_identity_includes_the_class_names(tmp_path: Path) -> None:
    path, labels = save(tmp_path / "a.pth", network(SMALL, 2).state_dict()), tmp_path / "labels.txt"
    labels.write_text("ant\nbee\n")
    identities = [load(SMALL, path).identity, load(SMALL, path, str(labels)).identity]
    labels.write_text("bee\nant\n")
    identities.append(load(SMALL, path, str(labels)).identity)
    assert identities[0]["labels_sha256"] == "none"
    assert len({identity["labels_sha256"] for identity in identities}) == 3
    assert len({identity["weights_sha256"] for identity in identities}) == 1


@pytest.mark.parametrize("name", [SMALL, "timm:mobilenetv3_small_050"])
def test_random_weights_are_reproducible_and_do_not_change_the_generator(name: str) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = load(name, "none")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(8)
    assert_same(load(name, "none").network, first.network.state_dict())
    assert (first.file, first.sha256, first.note) == ("", "", "")
    assert first.identity["weights_sha256"] == "random"
    assert first.details["weights"] == "random"
    assert first.facts.num_classes == 1000


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put weights into the cache of torch hub in place of the published ones of SMALL, and return the file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = tmp_path / "file.pth"
    save(file, network(SMALL, 1000, seed=3).state_dict())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    kept = tmp_path / f"torch/hub/checkpoints/small-{digest[:8]}.pth"
    kept.parent.mkdir(parents=True)
    file.rename(kept)
    entry = replace(facts(SMALL), source=f"https://example.org/{kept.name}")
    monkeypatch.setattr(pretrained, "torchvision_entries", lambda _name: (entry,))
    monkeypatch.setattr(fetch, "urlopen", lambda *_args, **_more: pytest.fail("fetched"))
    return kept


def test_pretrained_weights_come_from_the_cache(published: Path) -> None:
    lines = list[str]()
    loaded = load(SMALL, report=lambda event: lines.append(event.text))
    assert_same(loaded.network, network(SMALL, 1000, seed=3).state_dict())
    assert loaded.file == str(published)
    assert loaded.sha256.startswith(published.stem.removeprefix("small-"))
    assert (loaded.note, lines) == ("", [])
    assert loaded.facts.labels[281] == "tabby"
    assert loaded.facts.class_ids[281] == "n02123045"
    assert loaded.details["tag"] == "IMAGENET1K_V1"


def test_a_published_file_is_identified_in_any_folder(published: Path, tmp_path: Path) -> None:
    own = published.rename(tmp_path / "own.pth")
    loaded = load(SMALL, str(own))
    assert loaded.note == ""
    assert loaded.facts.labels[281] == "tabby"


def test_without_a_network_the_error_names_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_args: object, **_more: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "urlopen", no_network)
    with pytest.raises(
        WeightsError, match=r"`cvkit models download squeezenet1_1\.IMAGENET1K_V1`.*--weights FILE"
    ) as caught:
        load(SMALL)
    assert "\n" not in str(caught.value)


def test_base_name_removes_the_tag() -> None:
    assert base_name("vgg16.IMAGENET1K_V1") == base_name("vgg16") == "vgg16"
    assert base_name("timm:resnet18.a1_in1k") == "timm:resnet18"


def test_a_file_that_fits_exactly_needs_one_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save(loading.load("mobilenet_v3_small", "none").network.state_dict(), path)
    built: list[int] = []
    original = specification.make

    def make(name: str, classes: int, arguments: tuple[str, ...]) -> nn.Module:
        built.append(classes)
        return original(name, classes, arguments)

    monkeypatch.setattr(specification, "make", make)
    loaded = loading.load("mobilenet_v3_small", str(path))
    assert built == [1000]
    state = torch.load(path, weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
