"""Test the settings of named classifiers: options, those in weights files, and arguments of networks."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cvkit.config import PreprocessingConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models.loaded import Request
from cvkit.models.published.embedded import read_embedded
from cvkit.models.published.pretrained import facts
from cvkit.models.weights import read_weights
from cvkit.progress import Event, Note
from cvkit.tasks.classification.loading import LoadedClassifier, load
from cvkit.tasks.classification.specification import make
from cvkit.tasks.registry import KINDS, export_model, load_model

TINY = "timm:test_efficientnet"
HALF = (0.5, 0.5, 0.5)
CONFIG = {
    "architecture": "test_efficientnet",
    "num_classes": 3,
    "label_names": ["cat", "dog", "eel"],
    "model_args": {"pad_type": "same", "num_classes": 3},
    "pretrained_cfg": {
        "input_size": [3, 128, 128],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "crop_mode": "border",
    },
}


def options(**values: Any) -> PreprocessingConfig:
    return PreprocessingConfig(**values)


def sources_of(loaded: LoadedClassifier) -> Mapping[str, str]:
    assert loaded.settings is not None
    return loaded.settings.sources


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(TINY, 3).state_dict()


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A folder as timm saves it for the Hugging Face hub."""
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def assert_configured(loaded: LoadedClassifier) -> None:
    steps = loaded.facts.preprocessing
    assert (steps.crop, steps.resize, steps.mode) == ((128, 128), (142, 142), "border")
    assert (steps.mean, steps.std, steps.interpolation) == (HALF, (0.25,) * 3, "bilinear")
    assert set(sources_of(loaded).values()) == {"file"}
    assert loaded.note == ""


def test_a_config_beside_the_file_sets_preprocessing_arguments_and_labels(folder: Path) -> None:
    events: list[Event] = []
    loaded = load(TINY, str(folder / "model.safetensors"), report=events.append)
    assert_configured(loaded)
    assert loaded.spec.arguments == ("pad_type='same'",)
    assert type(loaded.network.conv_stem).__name__ == "Conv2dSame"
    assert loaded.facts.labels == ("cat", "dog", "eel")
    assert [e.text for e in events if isinstance(e, Note)] == [
        f"{folder}/model.safetensors: images are prepared as config.json beside it says."
    ]


def test_options_win_over_the_file(folder: Path) -> None:
    given = options(std=HALF, crop_mode="center", model_arg=("pad_type=",))
    loaded = load(TINY, str(folder / "model.safetensors"), options=given)
    assert (loaded.facts.preprocessing.std, loaded.facts.preprocessing.resize) == (HALF, 142)
    assert (sources_of(loaded)["std"], sources_of(loaded)["mean"]) == ("option", "file")
    assert loaded.spec.arguments == ("pad_type=",)
    assert type(loaded.network.conv_stem).__name__ == "Conv2d"


def test_a_config_beside_a_file_of_another_name_is_not_read(folder: Path) -> None:
    other = (folder / "model.safetensors").rename(folder / "mine.safetensors")
    loaded = load(TINY, str(other))
    assert set(sources_of(loaded).values()) == {"assumed"}
    assert "is none of the published files" in loaded.note


def test_the_first_form_of_configs_is_read(folder: Path) -> None:
    flat = {"architecture": "test_efficientnet", "labels": ["a", "b", "c"], **CONFIG["pretrained_cfg"]}  # type: ignore[dict-item]
    (folder / "config.json").write_text(json.dumps(flat))
    loaded = load(TINY, str(folder / "model.safetensors"))
    assert_configured(loaded)
    assert loaded.facts.labels == ("a", "b", "c")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"architectures": ["ViT"]}', "\udcff"])
def test_a_config_of_another_kind_is_left_out(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, errors="surrogateescape")
    assert set(sources_of(load(TINY, str(folder / "model.safetensors"))).values()) == {"assumed"}


def test_a_pretrained_cfg_inside_a_file_is_read(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    config = CONFIG["pretrained_cfg"]
    torch.save({"state_dict": tensors, "pretrained_cfg": config}, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors", metadata={"pretrained_cfg": json.dumps(config)})
    for name in ("a.pth", "a.safetensors"):
        assert_configured(load(TINY, str(tmp_path / name)))


def test_the_settings_of_a_training_run_of_timm_are_read(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    run = argparse.Namespace(
        model="test_efficientnet",
        mean=[0.5],
        std=None,
        input_size=None,
        img_size=128,
        interpolation="",
        crop_pct=None,
        train_interpolation="random",
        model_kwargs={"pad_type": "same"},
        num_classes=3,
    )
    torch.save({"state_dict": tensors, "arch": "test_efficientnet", "args": run, "epoch": 3}, tmp_path / "best.pth.tar")
    loaded = load(TINY, str(tmp_path / "best.pth.tar"))
    assert (loaded.facts.preprocessing.mean, loaded.facts.preprocessing.crop) == (HALF, (128, 128))
    assert loaded.spec.arguments == ("pad_type='same'",)
    assert {part for part, source in sources_of(loaded).items() if source == "file"} == {"mean", "input_size"}
    assert "std 0.229,0.224,0.225" in loaded.note
    assert "mean" not in loaded.note


def test_a_namespace_with_objects_is_still_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save({"state_dict": tensors, "args": argparse.Namespace(path=Path("a"))}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds Python objects, which are never loaded"):
        read_weights(tmp_path / "a.pth")


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    config = {"mean": "x", "std": [0.5, 0, 0.5], "crop_pct": 7, "interpolation": "area", "input_size": [3, -1, 9]}
    read = read_embedded(tmp_path / "a.pth", {"pretrained_cfg": config})
    assert read is not None
    assert read.options == PreprocessingConfig()
    assert read.ignored == ("mean=x", "std=(0.5, 0.0, 0.5)", "input_size=(-1, 9)", "interpolation=area", "crop_pct=7.0")


def test_imagenet_classes_in_a_config_get_their_descriptions(tmp_path: Path) -> None:
    config = {
        "label_names": ["n01440764", "n01443537"],
        "label_descriptions": {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish"},
    }
    read = read_embedded(tmp_path / "a.pth", {"pretrained_cfg": config})
    assert read is not None
    assert (read.labels, read.class_ids) == (("tench", "goldfish"), ("n01440764", "n01443537"))


def test_the_note_names_what_is_assumed_and_the_options_that_set_it(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    torch.save(tensors, tmp_path / "mine.pth")
    loaded = load(TINY, str(tmp_path / "mine.pth"), options=options(mean=HALF, std=HALF))
    assert loaded.note == (
        f"{tmp_path}/mine.pth is none of the published files of {TINY}, so this is assumed as for {facts(TINY).name}: "
        "input 160x160, crop 0.95, crop mode center, bicubic. Set it with --input-size, --interpolation, --crop-pct, "
        "--crop-mode; `cvkit models check` measures which settings fit."
    )
    everything = options(
        mean=HALF, std=HALF, input_size=(128, 128), interpolation="bicubic", crop_pct=0.9, crop_mode="center"
    )
    assert load(TINY, str(tmp_path / "mine.pth"), options=everything).note == ""


def test_the_identity_depends_on_every_option() -> None:
    plain = load(TINY, "none")
    assert "model_args" not in plain.identity
    assert "crop_mode" not in plain.identity["preprocessing"]
    for given in (
        options(mean=HALF),
        options(std=HALF),
        options(input_size=(128, 128)),
        options(interpolation="bilinear"),
        options(crop_pct=0.5),
        options(crop_mode="squash"),
        options(crop_mode="border"),
        options(model_arg=("pad_type=same",)),
    ):
        changed = load(TINY, "none", options=given)
        assert changed.identity != plain.identity
        assert json.loads(json.dumps(changed.identity)) is not None


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        (
            TINY,
            "pad_typ=same",
            "--model-arg pad_typ: timm:test_efficientnet.r160_in1k has no such argument. Did you mean 'pad_type'",
        ),
        ("mobilenet_v3_small", "dropot=0.1", "--model-arg dropot: mobilenet_v3_small.*Did you mean 'dropout'"),
        ("vgg16", "dropot=0.1", "--model-arg dropot: vgg16.*Did you mean 'dropout'"),
        (TINY, "act_layer=nonsense", "cannot be built with act_layer=nonsense"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_one(name: str, argument: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(name, "none", options=options(model_arg=(argument,)))


def test_a_size_that_the_network_cannot_process_is_refused() -> None:
    with pytest.raises(UsageError, match=r"timm:test_vit.* does not run: The network cannot process images of 61x61"):
        load("timm:test_vit", "none", options=options(input_size=(61, 61), model_arg=("img_size=160",)))
    with pytest.raises(UsageError, match="--input-size 64x96: vit_b_16 takes square images only"):
        load("vit_b_16", "none", options=options(input_size=(64, 96)))


def test_a_network_of_fixed_size_is_built_for_the_input_size(tmp_path: Path) -> None:
    torch.save(make("timm:test_vit", 3).state_dict(), tmp_path / "a.pth")
    loaded = load("timm:test_vit", str(tmp_path / "a.pth"), options=options(input_size=(96, 128)))
    assert loaded.spec.arguments == ("img_size=(96, 128)",)
    classifier = loaded.to(torch.device("cpu"), "fp32")
    assert classifier.logits(torch.zeros(1, 3, 96, 128, dtype=torch.uint8)).shape == (1, 3)


def test_models_with_their_own_preprocessing_refuse_the_options(tmp_path: Path) -> None:
    from cvkit.models.exported.writers import write_safetensors

    exportable = export_model(load(TINY, "none"), "whole")
    path = tmp_path / "exported.safetensors"
    write_safetensors(path, exportable.network, replace(exportable.facts, versions={}))
    message = f"--model-arg, --mean have no effect on {path}, which has its own preprocessing: leave out --model-arg"
    with pytest.raises(UsageError, match=message):
        load_model(Request(name=str(path), options=options(mean=HALF, model_arg=("a=1",))))
    with pytest.raises(UsageError, match="--crop-pct has no effect on mlnet, which is a saliency"):
        load_model(Request(name="mlnet", weights="none", options=options(crop_pct=0.9)))


def test_an_exported_file_keeps_arguments_and_preprocessing(tmp_path: Path) -> None:
    from cvkit.models.exported.writers import write_safetensors

    given = options(crop_mode="border", mean=HALF, model_arg=("pad_type=same",))
    loaded = load(TINY, "none", options=given)
    exportable = export_model(loaded, "whole")
    path = tmp_path / "exported.safetensors"
    write_safetensors(path, exportable.network, exportable.facts)
    again = load_model(Request(name=str(path)))
    assert isinstance(again, LoadedClassifier)
    assert (again.facts.preprocessing, again.spec.arguments) == (loaded.facts.preprocessing, loaded.spec.arguments)
    images = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
    ours, theirs = (each.to(torch.device("cpu"), "fp32").logits(images) for each in (loaded, again))
    assert torch.equal(ours, theirs)


def test_an_argument_in_an_exported_file_cannot_set_what_cvkit_sets() -> None:
    exportable = export_model(load(TINY, "none"), "whole")
    spec = exportable.facts.spec | {"arguments": ["checkpoint_path=/etc/passwd"]}
    with pytest.raises(UsageError, match="--model-arg checkpoint_path"):
        KINDS["classifier"].rebuild(replace(exportable.facts, spec=spec))
