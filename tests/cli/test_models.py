"""``cvkit models`` as the shell runs it."""

import functools
import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from cvkit.catalog import SALIENCY_MODELS
from cvkit.cli.tables import human_number
from cvkit.commands.models import showing as task
from cvkit.errors import UsageError
from cvkit.models import fetch
from cvkit.models.published import pretrained
from cvkit.tasks.attribution.target_layer import named_target
from cvkit.tasks.classification import specification
from cvkit.tasks.saliency.networks import build as networks
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build

from .conftest import COLOURS, DIGEST, WEIGHTS, WEIGHTS_FILE, WEIGHTS_URL, Outcome, Run

show_model = functools.cache(task.show_model)


@pytest.fixture(autouse=True)
def _each_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tests look at the same models: their dry runs are made once."""
    monkeypatch.setattr(task, "show_model", show_model)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_more: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(fetch, "urlopen", fail)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # stdout is none here
    monkeypatch.setenv("COLUMNS", "100")


def document(run: Run, *words: object) -> Any:
    ended = run("models", *words, "--json")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    return json.loads(ended.out)


def row(text: str, name: str) -> str:
    """The words of the first line that begins with a name, parted by single spaces."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [name])


def test_models_of_all_three_kinds_are_listed_without_building_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((specification, "make"), (networks, "build"), (task, "build")):
        monkeypatch.setattr(module, name, lambda *_args, **_more: pytest.fail("built"))
    ended = run("models", "list")
    assert ended.code == 0, ended.err
    names = [line.split()[0] for line in ended.out.splitlines()[2:]]
    assert names[: len(SALIENCY_MODELS)] == list(SALIENCY_MODELS)
    assert {"vgg16", "timm:resnet18"} < set(names)
    assert row(ended.out, "vgg16") == "vgg16 torchvision 71.59 553 MB 1 IMAGENET1K_V1"
    assert row(ended.out, "mlnet") == "mlnet cvkit - - 0 -"


def test_a_pattern_chooses(run: Run) -> None:
    assert [model["name"] for model in document(run, "list", "MLNet")["models"]] == ["mlnet", "mlnet-paper"]
    assert [model["name"] for model in document(run, "list", "timm:resnet1?")["models"]] == ["timm:resnet18"]
    found = [(model["name"], model["library"]) for model in document(run, "list", "*ResNet18")["models"]]
    assert {("resnet18", "torchvision"), ("timm:resnet18", "timm")} <= set(found)


def test_json_of_the_list_has_the_facts_of_every_entry(run: Run) -> None:
    (model,) = document(run, "list", "mobilenet_v2")["models"][:1]
    assert model["library"] == "torchvision"
    assert [entry["tag"] for entry in model["weights"]] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    first = model["weights"][0]
    assert first["name"] == "mobilenet_v2.IMAGENET1K_V2"
    assert first["classes"] == 1000
    assert first["labels"] is True
    assert first["top1"] == 72.154
    assert first["source"] == "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth"
    assert first["preprocessing"]["resize"] == 232


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("vgx16", "Did you mean 'vgg16'?"),
        ("mlnt*", "Did you mean 'mlnet'?"),
        ("qqq", "`cvkit models list` shows all of them"),
    ],
)
def test_a_pattern_without_a_match_is_one_line_with_a_suggestion(run: Run, pattern: str, hint: str) -> None:
    ended = run("models", "list", pattern)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(f"error: no model matches '{pattern}'. {hint}")
    assert ended.err.count("\n") == 1


def test_the_arithmetic_of_a_convolution_by_hand(run: Run) -> None:
    found = document(run, "show", "vgg16")
    first, second = found["layers"][0], found["layers"][2]
    assert first["name"] == "features.0"
    assert first["kind"] == "Conv2d"
    assert first["output"] == [1, 64, 224, 224]
    assert first["parameters"] == 3 * 3 * 3 * 64 + 64
    assert first["multiply_adds"] == 64 * 224 * 224 * (3 * 3 * 3)
    assert first["activation_bytes"] == 64 * 224 * 224 * 4
    assert second["parameters"] == 3 * 3 * 64 * 64 + 64
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 138_357_544
    assert found["training_bytes"] == sum(layer["activation_bytes"] for layer in found["layers"])
    assert found["inference_bytes"] == 2 * 64 * 224 * 224 * 4
    assert [layer["name"] for layer in found["inference_layers"]] == ["features.0", "features.2"]


def test_the_page_of_a_classifier(run: Run) -> None:
    ended = run("models", "show", "vgg16")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    for said in (
        "vgg16.IMAGENET1K_V1 (torchvision)",
        "138,357,544: 553 MB at 4 bytes each",
        "15,470,264,320 per image of 224x224",
        "shorter side to 256 (bilinear), centre crop 224x224, scaled to 0..1",
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225 (red, green, blue)",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "default gradcam layer  features.29",
    ):
        assert said in ended.out
    assert row(ended.out, "features.0") == "features.0 Conv2d 1x64x224x224 1.79 k 86.7 M 12.8 MB 224x224"
    assert row(ended.out, "features.1") == "features.1 ReLU 1x64x224x224 0 0 0 224x224"
    assert row(ended.out, "features.29") == "features.29 ReLU 1x512x14x14 0 0 0 * 14x14"
    assert row(ended.out, "classifier.6") == "classifier.6 Linear 1x1000 4.1 M 4.1 M 4 kB"
    assert row(ended.out, "features") == "features 1x512x7x7 7x7"
    assert "memory in training   60.4 MB" in ended.out
    assert "memory in inference  25.7 MB" in ended.out


def test_a_tag_is_shown_with_its_own_preprocessing_and_number_of_classes(run: Run) -> None:
    one, other = (document(run, "show", f"resnet50.IMAGENET1K_V{k}") for k in (1, 2))
    assert (one["preprocessing"]["resize"], other["preprocessing"]["resize"]) == (256, 232)
    assert [entry["tag"] for entry in one["weights"]] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    large = document(run, "show", "timm:mobilenetv3_large_100.miil_in21k")
    assert large["classes"] == large["layers"][-1]["output"][1] == 11221


def test_more_and_larger_images_need_more(run: Run) -> None:
    one, many = document(run, "show", "vgg11"), document(run, "show", "vgg11", "--batch", 100)
    for what in ("multiply_adds", "training_bytes", "inference_bytes"):
        assert many[what] == 100 * one[what]
    assert many["parameters"] == one["parameters"]
    assert many["targets"] == one["targets"]
    text = run("models", "show", "vgg11", "--batch", 100, "--size", "64x96").out
    assert "100 images of 64x96" in text
    assert " 100x64x64x96 " in row(text, "features.0")
    assert row(text, "features.19").endswith(" * 4x6")


def test_what_has_a_grid_is_what_gradcam_takes(run: Run) -> None:
    targets = {target["name"]: target for target in document(run, "show", "vgg11")["targets"]}
    build = partial(specification.make, "vgg11")
    with torch.device("meta"):
        names = [name for name, _ in build().named_modules()]
    for name in names:
        if name in targets:
            assert list(named_target(build, (1, 3, 224, 224), name).grid) == targets[name]["grid"]
        elif name:
            with pytest.raises(UsageError):
                named_target(build, (1, 3, 224, 224), name)
    assert targets.keys() > {"features", "avgpool", "features.0"}


@pytest.mark.parametrize(
    ("model", "default", "grid", "others"),
    [
        ("resnet18", "layer4", [7, 7], ["layer1", "layer1.0.bn1+relu", "layer4.1"]),
        ("densenet121", "features.norm5+relu", [7, 7], ["features", "features.denseblock1"]),
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", [14, 14], ["conv_proj", "encoder.layers"]),
        ("timm:swin_tiny_patch4_window7_224", "norm", [7, 7], ["layers.0", "layers.1.blocks.0.mlp"]),
    ],
)
def test_containers_and_relu_functions_can_be_named_too(
    run: Run, model: str, default: str, grid: list[int], others: list[str]
) -> None:
    found = document(run, "show", model)
    targets = {target["name"]: target["grid"] for target in found["targets"]}
    assert found["default_target"] == default
    assert targets[default] == grid
    assert targets.keys() >= set(others)
    marked = [line for line in run("models", "show", model).out.splitlines() if line.endswith(f"* {grid[0]}x{grid[1]}")]
    assert [line.split()[0] for line in marked] == [default]


def test_where_no_layer_has_places_that_is_said(run: Run) -> None:
    text = run("models", "show", "resnet18", "--size", "1x1").out
    assert "none: no layer has a spatial grid for 1x1" in text
    assert "gradcam --layer" not in text


@pytest.mark.parametrize("name", SALIENCY_MODELS)
def test_our_own_networks_are_shown_too(run: Run, name: str) -> None:
    facts, found = SALIENCY_MODELS[name], document(run, "show", name)
    network = build(SaliencySpec.of(name))
    assert found["library"] == "cvkit"
    assert found["parameters"] == sum(value.numel() for value in network.parameters())
    assert found["size"] == list(facts.size)
    assert found["paper"] == facts.source
    assert found["min_size"] == facts.min_size
    assert found["classes"] is found["preprocessing"] is found["default_target"] is None
    assert found["weights"] == found["targets"] == []
    text = run("models", "show", name).out
    assert facts.source in text
    assert "grid" not in text


def test_a_trained_classifier_is_shown_with_its_classes_and_gradcam_layer(run: Run, classifier: Path) -> None:
    found, named = document(run, "show", classifier), document(run, "show", "timm:test_resnet", "--size", "32x32")
    assert (found["classes"], found["labels"]) == (3, list(COLOURS))
    assert found["preprocessing"]["crop"] == found["size"] == [32, 32]
    assert found["default_target"] == named["default_target"] and found["targets"] == named["targets"]
    text = run("models", "show", classifier).out
    assert re.search("^classes +3: blue, green, red$", text, re.MULTILINE)
    assert f"default gradcam layer  {named['default_target']}" in text and "centre crop 32x32" in text
    assert run("export", classifier, "--format", "safetensors", "--out", "c.safetensors").code == 0
    exported = document(run, "show", "c.safetensors")
    assert {name for name in found if found[name] != exported[name]} == {"model"}


def test_a_network_with_dense_layers_is_shown_at_its_own_size_only(run: Run) -> None:
    words = ("export", "basic-cnn", "--weights", "none", "--format", "safetensors", "--out", "basic.safetensors")
    assert run(*words).code == 0
    ended = run("models", "show", "basic.safetensors", "--size", "56x56")
    assert ended.code == 2 and "--size 56x56: the model takes images of 28x28 only" in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vgg16", "--size", "8x8"), "cannot process images of 8x8 pixels: .*Output size is too small"),
        (("vit_b_16", "--size", "256x256"), "cannot process images of 256x256 pixels: .*224"),
        (("timm:vit_tiny_patch16_224", "--size", "256x256"), r"cannot process images of 256x256 pixels: .*\(224\)"),
        (("mlnet", "--size", "240x16"), "--size 240x16 is too small: mlnet needs 32 pixels per side"),
        (("vgg16", "--size", "224"), "--size '224' is not a size"),
        (("vgg16", "--batch", "0"), "--batch must be 1 or more"),
        (("vgg61",), "no classifier 'vgg61'. Did you mean 'vgg"),
        (("mlnt",), "there is no model 'mlnt'. Did you mean 'mlnet'?"),
        (("timm:resnet18e",), "timm has no classifier 'resnet18e'. Did you mean 'timm:resnet18"),
        (("resnet18d",), "write timm:resnet18d"),
        (("vgg16.IMAGENET1K_V9",), "MODEL vgg16.IMAGENET1K_V9: vgg16 has no weights.*Did you mean 'IMAGENET1K_V1'?"),
        (("",), "(NAME|MODEL) is empty"),
    ],
)
def test_what_cannot_be_shown_is_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    ended = run("models", "show", *words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert re.search(said, ended.err)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("model", ["vgg16", "resnet50", "vit_b_16", "timm:swin_tiny_patch4_window7_224", "mlnet"])
def test_pages_fit_a_terminal_of_100_columns_and_no_name_is_cut(run: Run, model: str) -> None:
    shown, head = set(), ""
    text = run("models", "show", model).out
    for line in text[text.index("layer ") :].splitlines():
        assert len(line) <= 100, line
        if line and not line.startswith(" "):
            head = line
            shown.add(line.split()[0])
        elif line:
            shown.add((head + line.split()[0]).removesuffix("(itself)"))
    found = document(run, "show", model)
    names = {part["name"] for part in (*found["layers"], *found["targets"])} - {""}
    assert names <= shown


@pytest.mark.usefixtures("terminal")
def test_the_list_fits_a_terminal_of_100_columns(run: Run) -> None:
    assert max(map(len, run("models", "list").out.splitlines())) <= 100


def test_downloading_prints_the_path_alone(run: Run, cache: Path) -> None:
    ended = run("models", "download", "vgg16")
    assert ended.code == 0, ended.err
    assert ended.out == f"{cache}\n"
    assert ended.err == f"Downloading the weights vgg16.IMAGENET1K_V1 ({WEIGHTS_URL}, 0 MB).\n"
    assert cache.read_bytes() == WEIGHTS


def test_what_is_there_is_not_fetched_again(run: Run, cache: Path, no_network: None) -> None:
    del no_network
    cache.parent.mkdir(parents=True)
    cache.write_bytes(WEIGHTS)
    ended = run("models", "download", "vgg16")
    assert (ended.code, ended.out, ended.err) == (0, f"{cache}\n", "")


def test_quiet_is_quiet(run: Run, cache: Path) -> None:
    assert run("models", "download", "vgg16", "--quiet", "--to", "d") == Outcome(0, f"d/{WEIGHTS_FILE}\n", "")
    assert cache.is_file()


def test_json_of_a_file(run: Run, cache: Path) -> None:
    ended = run("models", "download", "vgg16", "--json")
    expected = {
        "model": "vgg16",
        "tag": "IMAGENET1K_V1",
        "path": str(cache),
        "sha256": DIGEST,
        "bytes": len(WEIGHTS),
    }
    assert json.loads(ended.out) == expected == document(run, "path", "vgg16")


def test_a_copy_goes_to_the_folder_named(run: Run, cache: Path, tmp_path: Path) -> None:
    ended = run("models", "download", "vgg16", "--to", "a/b")
    assert ended.code == 0, ended.err
    assert ended.out == f"a/b/{WEIGHTS_FILE}\n"
    assert f"--weights a/b/{WEIGHTS_FILE}" in ended.err
    assert (tmp_path / "a/b" / WEIGHTS_FILE).read_bytes() == cache.read_bytes() == WEIGHTS
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == [WEIGHTS_FILE]
    assert run("models", "download", "vgg16", "--to", "a/b").code == 0
    assert run("models", "download", "vgg16", "--to", cache.parent).out == f"{cache}\n"
    (tmp_path / "file").touch()
    refused = run("models", "download", "vgg16", "--to", "file")
    assert refused.code == 2
    assert refused.err == "error: --to file is a file: name a folder.\n"
    assert run("models", "download", "vgg16", "--to", "file/below").code == 1
    assert run("models", "download", "vgg16", "--to", "").code == 2


def test_a_file_of_the_hub_is_copied_under_the_name_of_its_entry(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "model.safetensors"
    snapshot.write_bytes(WEIGHTS)
    monkeypatch.setattr(fetch, "download", lambda _entry, _say: snapshot)
    ended = run("models", "download", "timm:resnet18.a1_in1k", "--to", "d")
    assert ended.out == "d/resnet18.a1_in1k.safetensors\n"
    entry, known = pretrained.identify("timm:resnet18", Path("d/resnet18.a1_in1k.safetensors"))
    assert known
    assert entry.tag == "a1_in1k"


def test_without_a_network_the_error_says_what_to_do(run: Run, cache: Path, no_network: None) -> None:
    del no_network
    ended = run("models", "download", "vgg16")
    assert ended.code == 1
    assert ended.out == ""
    assert "cannot be downloaded (no network)" in ended.err
    assert not cache.exists()


def test_the_path_is_that_in_the_cache_or_an_error(run: Run, cache: Path) -> None:
    ended = run("models", "path", "vgg16")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.endswith("are not in the cache: run `cvkit models download vgg16`.\n")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(WEIGHTS[:-1])
    assert "is damaged" in run("models", "path", "vgg16").err
    cache.write_bytes(WEIGHTS)
    ended = run("models", "path", "vgg16")
    assert (ended.code, ended.out, ended.err) == (0, f"{cache}\n", "")


def test_what_is_in_the_cache_is_marked(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = tmp_path / "torch/hub/checkpoints/mobilenet_v2-b0353104.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(WEIGHTS)
    weights = document(run, "show", "mobilenet_v2")["weights"]
    assert [entry["cached"] for entry in weights] == [None, str(file)]
    assert weights[1]["bytes"] == len(WEIGHTS)
    assert "yes" in row(run("models", "show", "mobilenet_v2").out, "IMAGENET1K_V1")


@pytest.mark.parametrize("command", ["download", "path"])
def test_of_a_name_without_a_file_the_next_step_is_said(run: Run, command: str) -> None:
    ours = run("models", command, "mlnet")
    assert ours.code == 2
    assert "its backbone has: `cvkit models download vgg16`" in ours.err
    bare = run("models", command, "timm:resnet50t")
    assert bare.code == 1
    assert "timm:resnet50t" in bare.err and "no pretrained weights" in bare.err
    assert "Did you mean 'mlnet'?" in run("models", command, "mlnt").err


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (15_200, "", "15.2 k"),
        (225_000_000, "", "225 M"),
        (12_000_000, "B", "12 MB"),
        (1_200_000_000, "B", "1.2 GB"),
        (999_600, "B", "1 MB"),
        (999, "B", "999 B"),
        (999, "", "999"),
        (2_500_000_000_000, "", "2.5 T"),
        (0, "B", "0"),
        (None, "B", "-"),
    ],
)
def test_units_go_by_powers_of_ten(value: int | None, unit: str, text: str) -> None:
    assert human_number(value, unit) == text
