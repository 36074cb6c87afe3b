"""Test that the networks of torchvision and timm are those of the sources, by parameters, shapes and definition."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from cvkit.tasks.classification.specification import make
from tests.tasks.classification.networks.shapes import (
    conv,
    conv_norm,
    count_parameters,
    dense,
    on_meta,
    output_shapes,
)


def resnet34() -> int:
    """Count ResNet-34 of He et al. 2015, table 1: 3, 4, 6, 3 units of two 3x3 convolutions, 1x1 ones at stride 2."""
    total, before = conv_norm(3, 64, 7), 64
    for filters in [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3:
        total += conv_norm(before, filters, 3) + conv_norm(filters, filters, 3)
        total += conv_norm(before, filters, 1) if filters != before else 0
        before = filters
    return total + dense(512, 1000)


def vgg16() -> int:
    """Count VGG-16 of Simonyan and Zisserman 2015, table 1, column D."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(conv(before, after, 3) for before, after in pairwise(widths))
    return convolutions + dense(512 * 7 * 7, 4096) + dense(4096, 4096) + dense(4096, 1000)


def googlenet() -> int:
    """Count GoogLeNet of Szegedy et al. 2015, table 1, with batch norms and 3x3 in place of 5x5 convolutions."""
    modules = [  # input, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    ]
    total = conv_norm(3, 64, 7) + conv_norm(64, 64, 1) + conv_norm(64, 192, 3)
    for before, one, reduce3, three, reduce5, five, pool in modules:
        total += conv_norm(before, one, 1) + conv_norm(before, reduce3, 1) + conv_norm(reduce3, three, 3)
        total += conv_norm(before, reduce5, 1) + conv_norm(reduce5, five, 3) + conv_norm(before, pool, 1)
    return total + dense(1024, 1000)


def separable(before: int, after: int) -> int:
    return 9 * before + before * after + 2 * after


def xception() -> int:
    """Count Xception of Chollet 2017, figure 5."""
    total = conv_norm(3, 32, 3) + conv_norm(32, 64, 3)
    for before, middle, after in ((64, 128, 128), (128, 256, 256), (256, 728, 728), (728, 728, 1024)):
        total += separable(before, middle) + separable(middle, after) + conv_norm(before, after, 1)
    total += 8 * 3 * separable(728, 728)
    return total + separable(1024, 1536) + separable(1536, 2048) + dense(2048, 1000)


def senet154() -> int:
    """Count SENet-154 of Hu et al. 2018, appendix: 64x4d ResNeXt-152 with three 3x3 stem convolutions."""
    total, before = conv_norm(3, 64, 3) + conv_norm(64, 64, 3) + conv_norm(64, 128, 3), 128
    for stage, (width, units) in enumerate(((64, 3), (128, 8), (256, 36), (512, 3))):
        after = 4 * width
        for unit in range(units):
            total += conv_norm(before, 2 * width, 1) + conv_norm(2 * width, after, 3, groups=64)
            total += conv_norm(after, after, 1) + dense(after, after // 16) + dense(after // 16, after)
            total += conv_norm(before, after, 3 if stage else 1) if unit == 0 else 0
            before = after
    return total + dense(2048, 1000)


BY_HAND = {
    "resnet34": resnet34(),
    "vgg16": vgg16(),
    "googlenet": googlenet(),
    "timm:legacy_xception": xception(),
    "timm:legacy_senet154": senet154(),
}


def test_the_hand_computed_parameters_equal_the_published_numbers() -> None:
    assert BY_HAND == {
        "resnet34": 21_797_672,
        "vgg16": 138_357_544,
        "googlenet": 6_624_904,
        "timm:legacy_xception": 22_855_952,
        "timm:legacy_senet154": 115_088_984,
    }


@pytest.mark.parametrize("name", BY_HAND)
def test_library_networks_have_the_parameters_of_the_sources(name: str) -> None:
    assert count_parameters(on_meta(partial(make, name, 1000))) == BY_HAND[name]


def test_resnet34_has_the_feature_maps_of_the_source() -> None:
    shapes = output_shapes(on_meta(partial(make, "resnet34", 10)), (3, 224, 224))
    stages = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc")
    assert [shapes[stage] for stage in stages] == [
        (64, 112, 112), (64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7), (10,),
    ]  # fmt: skip


@pytest.mark.parametrize(("unit", "strides"), [("layer1.0", 1), ("layer2.0", 2), ("layer2.1", 1)])
def test_a_residual_unit_of_resnet34_equals_the_listing_of_the_source(unit: str, strides: int) -> None:
    """The unit is activation(main(x) + skip(x)), and skip is a 1x1 convolution and a norm where the stride is 2."""
    torch.manual_seed(0)
    layer = make("resnet34", 10).get_submodule(unit)
    filters = layer.conv2.out_channels  # type: ignore[union-attr]
    before = filters // strides
    main = nn.Sequential(
        nn.Conv2d(before, filters, 3, strides, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.Conv2d(filters, filters, 3, padding=1, bias=False),
        nn.BatchNorm2d(filters),
    )
    skip = nn.Sequential()
    if strides > 1:
        skip = nn.Sequential(nn.Conv2d(before, filters, 1, strides, bias=False), nn.BatchNorm2d(filters))
    # Both count the parameters in this order.
    values = layer.state_dict().values()
    state = nn.ModuleList([main, skip]).state_dict()
    nn.ModuleList([main, skip]).load_state_dict(dict(zip(state, values, strict=True)))
    x = torch.randn(2, before, 9, 12)
    assert torch.equal(layer(x), torch.relu(main(x) + skip(x)))
