"""Test the settings of the commands: values that are refused, and their messages."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from cvkit.catalog import SALIENCY_MODELS
from cvkit.config import (
    ClassifyConfig,
    ComputeConfig,
    Config,
    EvaluateConfig,
    GradcamConfig,
    PredictConfig,
    SampleFixationsConfig,
    TrainingConfig,
    TrainSaliencyConfig,
)
from cvkit.config.classification import folder_name
from cvkit.errors import UsageError


def train(**settings: Any) -> TrainSaliencyConfig:
    return TrainSaliencyConfig(data="d", **settings)


def predict(**settings: Any) -> PredictConfig:
    return PredictConfig(**{"inputs": ("a.jpg",), "model": "run", **settings})


def evaluate(**settings: Any) -> EvaluateConfig:
    return EvaluateConfig(**{"data": "d", "maps": "m", **settings})


def classify(**settings: Any) -> ClassifyConfig:
    return ClassifyConfig(**{"inputs": ("a.jpg",), "model": "vgg16", **settings})


def gradcam(**settings: Any) -> GradcamConfig:
    return GradcamConfig(**{"inputs": ("a.jpg",), **settings})


def sample(**settings: Any) -> SampleFixationsConfig:
    return SampleFixationsConfig(out="o", **settings)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (ComputeConfig, {"device": "gpu"}, "--device 'gpu' is not one of auto, cpu, cuda, mps, cuda:N"),
        (ComputeConfig, {"device": "cuda:x"}, "--device 'cuda:x'"),
        (ComputeConfig, {"device": "cuda:"}, "--device 'cuda:'"),
        (ComputeConfig, {"device": "cpu:0"}, "--device 'cpu:0'"),
        (ComputeConfig, {"device": "cuda:1", "devices": 2}, "names one device"),
        (ComputeConfig, {"precision": "fp64"}, "Did you mean 'fp16'|Did you mean 'fp32'"),
        (ComputeConfig, {"devices": 0}, "--devices must be 1 or more, not 0"),
        (ComputeConfig, {"nodes": 0}, "--nodes"),
        (TrainingConfig, {"seed": -1}, "--seed"),
        (ComputeConfig, {"batch_size": 0}, "--batch-size"),
        (ComputeConfig, {"workers": -1}, "--workers"),
        (TrainingConfig, {"epochs": 0}, "--epochs"),
        (TrainingConfig, {"lr": 0.0}, "--lr must be above 0"),
        (TrainingConfig, {"lr": float("nan")}, "--lr"),
        (TrainingConfig, {"optimizer": "adm"}, "Did you mean 'adam'"),
        (TrainingConfig, {"schedule": "line"}, "--schedule"),
        (TrainingConfig, {"weight_decay": -1.0}, "--weight-decay"),
        (TrainingConfig, {"warmup_epochs": -0.5}, "--warmup-epochs"),
        (TrainingConfig, {"step_epochs": 0}, "--step-epochs"),
        (TrainingConfig, {"step_factor": 1.0}, "--step-factor"),
        (TrainingConfig, {"clip_norm": -1.0}, "--clip-norm"),
        (TrainingConfig, {"accumulate": 0}, "--accumulate"),
        (TrainingConfig, {"ema": 1.0}, "--ema must be at least 0 and below 1"),
        (TrainingConfig, {"patience": -1}, "--patience"),
        (TrainingConfig, {"resume": True}, "--resume needs --out"),
        (train, {"model": "mlnett"}, "Did you mean 'mlnet'"),
        (train, {"model": "salgan", "backbone": "resnet18"}, "salgan always uses vgg16"),
        (train, {"model": "salgan", "prior": True}, "salgan has no learned prior"),
        (train, {"size": (16, 320)}, "--size 16x320 is too small: mlnet needs 32 pixels"),
        (train, {"loss": "mse"}, "--loss"),
        (train, {"alpha": 1.0}, "--alpha must be above 1"),
        (train, {"dropout": 1.0}, "--dropout"),
        (train, {"backbone_lr": -1.0}, "--backbone-lr"),
        (train, {"augment": "some"}, "--augment"),
        (train, {"val_fraction": 1.0}, "--val-fraction"),
        (train, {"val_fraction": 0.0}, "--val-fraction"),
        (train, {"sigma_px": 0.0}, "--sigma-px"),
        (train, {"cache": "disk"}, "--cache"),
        (train, {"limit": 0}, "--limit"),
        (train, {"samples": -1}, "--samples"),
        (train, {"max_pixels": 0}, "--max-pixels"),
        (train, {"best_metric": "aucc"}, "--best-metric"),
        (predict, {"inputs": ()}, "missing argument INPUTS: name files"),
        (predict, {"shard": (1, 2), "devices": 2}, "use one of them"),
        (predict, {"format": "jpg"}, "--format"),
        (predict, {"alpha": 1.5}, "--alpha"),
        (predict, {"blur_px": -1.0}, "--blur-px"),
        (predict, {"max_pixels": 0}, "--max-pixels"),
        (classify, {"inputs": ()}, "missing argument INPUTS: name files"),
        (classify, {"model": ""}, "--model is empty"),
        (classify, {"top": 0}, "--top must be 1 or more, not 0"),
        (classify, {"format": "jsn"}, "Did you mean 'json'"),
        (classify, {"per_class": True}, "--per-class needs the true classes: add --truth"),
        (classify, {"shard": (1, 2), "nodes": 2}, "use one of them"),
        (gradcam, {"model": ""}, "--model is empty"),
        (gradcam, {"rank": ()}, "--rank 1, or --class"),
        (gradcam, {"fit": "pad"}, "--fit 'pad' is not one of crop, squash"),
        (gradcam, {"format": "jpg"}, "--format 'jpg' is not one of png16, png, colour"),
        (gradcam, {"save": ()}, "--save is empty: name one or more of map, overlay, panel, npy"),
        (gradcam, {"save": ("map", "overlays")}, "Did you mean 'overlay'"),
        (gradcam, {"alpha": -0.1}, "--alpha must be at least 0 and at most 1, not -0.1"),
        (gradcam, {"alpha": float("nan")}, "--alpha"),
        (evaluate, {"maps": None}, "either --maps DIR or --model REF"),
        (evaluate, {"model": "run"}, "not both"),
        (evaluate, {"protocol": "cat"}, "--protocol"),
        (evaluate, {"shuffled_images": 0}, "--shuffled-images"),
        (evaluate, {"sigma_px": -1.0}, "--sigma-px"),
        (sample, {"train": 0}, "--train"),
        (sample, {"val": 0}, "--val"),
        (sample, {"size": (32, 320)}, "--size 32x320"),
        (sample, {"sigma_px": 0.0}, "--sigma-px"),
    ],
)
def test_invalid_settings_are_refused(make: Callable[..., Config], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(**settings)


def test_an_unknown_device_is_refused_with_the_valid_devices() -> None:
    with pytest.raises(UsageError) as refused:
        ComputeConfig(device="zzz")
    assert str(refused.value) == "--device 'zzz' is not one of auto, cpu, cuda, mps, cuda:N."


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3", "mps"])
def test_valid_devices_are_accepted(device: str) -> None:
    assert ComputeConfig(device=device).device == device


@pytest.mark.parametrize(
    ("config", "out"),
    [
        (classify(), "classify/vgg16"),
        (classify(model="timm:vit_tiny_patch16_224.augreg_in21k"), "classify/timm-vit_tiny_patch16_224.augreg_in21k"),
        (classify(out="mine"), "mine"),
        (gradcam(), "gradcam/vgg16-rank1"),
        (gradcam(rank=(1, 3)), "gradcam/vgg16-rank1-3"),
        (gradcam(classes=("tiger cat", "243")), "gradcam/vgg16-class-tiger-cat-243"),
        (gradcam(out="mine"), "mine"),
    ],
)
def test_the_default_output_folder_is_named_after_the_command_and_the_model(
    config: ClassifyConfig | GradcamConfig, out: str
) -> None:
    assert config.folder == out


def test_default_folders_have_names_that_every_file_system_allows() -> None:
    assert folder_name("a b/c:d*e") == "a-b-c-d-e"
    assert folder_name("../../etc") == "etc"
    assert folder_name("..") == folder_name("") == folder_name("//") == "unnamed"


def test_classes_may_be_named_instead_of_ranks() -> None:
    assert gradcam(rank=(), classes=("281",)).classes == ("281",)


@pytest.mark.parametrize("model", sorted(SALIENCY_MODELS))
def test_the_default_metric_of_the_best_epoch_is_cc(model: str) -> None:
    assert train(model=model).best_metric == "cc"


@pytest.mark.parametrize("make", [ComputeConfig, TrainingConfig, train, predict, evaluate, sample, classify, gradcam])
def test_settings_are_frozen_and_plain(make: Callable[..., Config]) -> None:
    config = make()
    values = config.as_dict()
    assert set(values) == {field.name for field in fields(config)}
    json.dumps(values)
    with pytest.raises(FrozenInstanceError):
        config.device = "cpu"  # type: ignore[attr-defined]
