import copy
import warnings

import pytest
import torch

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD
from cvkit.errors import UsageError
from cvkit.models.backbones import library_backbone, normalisation
from cvkit.tasks.saliency.networks.build import SaliencySpec, build


@pytest.mark.parametrize(
    ("name", "first", "strides", "channels"),
    [
        # expansion of block 3, of block 7, of block 14, and the last convolution of MobileNetV2: 24, 32, 96 times 6
        ("mobilenet_v2", 4, [4, 8, 16, 32], [144, 192, 576, 1280]),
        ("resnet18", 8, [8, 16, 32], [128, 256, 512]),
        ("timm:mobilenetv3_small_100", 4, [4, 8, 16, 32], [16, 24, 48, 576]),
    ],
)
def test_levels_are_the_last_of_each_stride(name: str, first: int, strides: list[int], channels: list[int]) -> None:
    backbone = library_backbone(name, first_stride=first).eval()
    assert (backbone.strides, backbone.channels, backbone.min_size) == (strides, channels, 32)
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 70, 97))
    for level, stride, count in zip(levels, strides, channels, strict=True):
        assert level.shape == (1, count, -(-70 // stride), -(-97 // stride))


@pytest.mark.parametrize(("model", "grid"), [("mlnet", (16, 24)), ("mlnet-paper", (8, 12))])
def test_mlnet_runs_on_another_backbone(model: str, grid: tuple[int, int]) -> None:
    network = build(SaliencySpec.of(model, backbone="timm:mobilenetv3_small_100"))
    maps = network(torch.randn(2, 3, 64, 96))
    assert maps.shape == (2, 1, *grid) and maps.min() >= 0 and maps.std() > 0
    maps.mean().backward()
    assert all(value.grad is not None for value in network.parameters())  # DDP requires that every parameter is used


def test_a_copy_computes_the_same_in_the_same_mode() -> None:
    network = build(SaliencySpec.of("mlnet", backbone="mobilenet_v3_small", dropout=0.0))
    network.freeze_backbone()
    twin = copy.deepcopy(network)
    assert [part.training for part in twin.modules()] == [part.training for part in network.modules()]
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(twin(images), network(images))
    twin.unfreeze_backbone()
    assert not any(value.requires_grad for value in network.backbone_parameters())


def test_the_minimum_size_is_the_smallest_at_which_the_backbone_runs() -> None:
    backbone = library_backbone("alexnet", first_stride=4)
    assert backbone.min_size == 64
    assert backbone.strides == [4, 8, 16, 32]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v22", "torchvision has no network 'mobilenet_v22'. Did you mean 'mobilenet_v2'"),
        ("timm:resnet1888", "timm has no network 'resnet1888'. Did you mean 'resnet"),
        ("vit_b_32", "vit_b_32 cannot be used"),
        ("timm:vit_tiny_patch16_224", "cannot be used: .* Take a convolutional network"),
        ("timm:swin_tiny_patch4_window7_224", "cannot be used"),
        ("swin_t", r"no \(N, C, H, W\) features at 1/8"),
    ],
)
def test_unknown_and_unusable_backbones_are_refused(name: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), pytest.raises(UsageError, match=message) as caught:
        library_backbone(name, first_stride=4)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_normalisation_is_that_of_the_pretrained_weights() -> None:
    assert normalisation("vgg16") == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalisation("timm:resnet18") == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalisation("timm:inception_v3.tf_in1k") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
