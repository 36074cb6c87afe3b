"""Test the layers of each network of cvkit against the tables of the sources."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from cvkit.catalog import CLASSIFIERS
from cvkit.tasks.classification.networks.alexnet import AlexNet2012, local_response_norm
from cvkit.tasks.classification.networks.build import build
from cvkit.tasks.classification.networks.lenet5 import LeNet5
from cvkit.tasks.classification.networks.xception_mini import Block, XceptionMini, same_max_pool
from tests.tasks.classification.networks.shapes import (
    Shape,
    conv,
    conv_norm,
    count_parameters,
    dense,
    on_meta,
    output_shapes,
)

# The shapes of the tables in the sources, at the default input size.
LAYERS: dict[str, dict[str, Shape]] = {
    "basic-cnn": {
        "conv1": (64, 28, 28),
        "conv2": (128, 14, 14),
        "conv3": (128, 14, 14),
        "conv4": (256, 7, 7),
        "conv5": (256, 7, 7),
        "dense1": (128,),  # of 256 x 3 x 3
        "dense2": (64,),
        "out": (10,),
    },
    "lenet5": {
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120, 1, 1),
        "f6": (84,),
        "out": (10,),
    },
    "alexnet-2012": {
        "c1": (96, 55, 55),
        "s2": (96, 27, 27),
        "c3": (256, 27, 27),
        "s4": (256, 13, 13),
        "c5": (384, 13, 13),
        "c6": (384, 13, 13),
        "c7": (256, 13, 13),
        "s8": (256, 6, 6),
        "f9": (4096,),
        "f10": (4096,),
        "out": (1000,),
    },
    "xception-mini": {
        "conv": (32, 176, 176),
        "blocks.0": (32, 88, 88),
        "blocks.1": (64, 44, 44),
        "blocks.2": (128, 22, 22),
        "blocks.3": (256, 11, 11),
        "blocks.4": (512, 6, 6),
        "out": (1,),
    },
}


def block(before: int, after: int) -> int:
    """Return the number of parameters of a block of xception-mini: two norms, four convolutions and the shortcut."""
    norms = 2 * before + 2 * after
    return norms + 9 * before + before * after + 9 * after + after * after + before * after


# By hand: the weights and biases of each layer in order.
PARAMETERS = {
    "basic-cnn": (
        conv(1, 64, 7) + conv(64, 128, 3) + conv(128, 128, 3) + conv(128, 256, 3) + conv(256, 256, 3)
        + dense(256 * 3 * 3, 128) + dense(128, 64) + dense(64, 10)
    ),
    "lenet5": conv(1, 6, 5) + conv(6, 16, 5) + conv(16, 120, 5) + dense(120, 84) + dense(84, 10),
    "alexnet-2012": (
        conv(3, 96, 11) + conv(96, 256, 5) + conv(256, 384, 3) + conv(384, 384, 3) + conv(384, 256, 3)
        + dense(256 * 6 * 6, 4096) + dense(4096, 4096) + dense(4096, 1000)
    ),
    "xception-mini": (
        3 * 5 * 5 * 32 + block(32, 32) + block(32, 64) + block(64, 128) + block(128, 256) + block(256, 512)
        + dense(512, 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_layer_shapes_and_parameters_equal_the_tables(name: str) -> None:
    facts = CLASSIFIERS[name]
    classes = LAYERS[name]["out"][0]
    network = on_meta(partial(build, name, classes, facts.size, facts.channels))
    shapes = output_shapes(network, (facts.channels, *facts.size))
    assert {layer: shapes[layer] for layer in LAYERS[name]} == LAYERS[name]
    assert count_parameters(network) == PARAMETERS[name]


def test_the_hand_computed_parameters_equal_the_published_numbers() -> None:
    # Keras' model.summary() prints the first and the last for the sources' listings (the trainable parameters), 61,706
    # is LeNet-5 with full C3, and 62,378,344 is AlexNet without groups.
    assert PARAMETERS == {
        "basic-cnn": 1_413_834, "lenet5": 61_706, "alexnet-2012": 62_378_344, "xception-mini": 718_849,
    }  # fmt: skip
    assert conv_norm(3, 8, 5) == 3 * 5 * 5 * 8 + 2 * 8


def test_lenet5_pads_images_of_28_pixels_as_its_first_layer_would_with_two_zeros() -> None:
    torch.manual_seed(0)
    small, padded = LeNet5(10, 1, (28, 28)).eval(), LeNet5(10, 1, (32, 32)).eval()
    padded.load_state_dict(small.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(small(images), padded(F.pad(images, (2, 2, 2, 2))))


def test_lenet5_equals_its_definition() -> None:
    torch.manual_seed(0)
    network = LeNet5(10, 1, (32, 32)).eval()
    images = torch.rand(2, 1, 32, 32)
    x = images
    for layer in (network.c1, network.s2, network.c3, network.s4, network.c5):
        x = layer(x).tanh()
    logits = network.out(network.f6(x.flatten(1)).tanh())
    assert torch.equal(network(images), logits)


def test_the_response_normalisation_equals_the_formula_of_the_source() -> None:
    r, alpha, beta, k = 5, 0.0001, 0.75, 2
    a = np.random.default_rng(0).uniform(0, 200, (2, 9, 3, 4))
    maps = a.shape[1]
    b = np.empty_like(a)
    for i in range(maps):
        first, last = max(0, i - r // 2), min(maps - 1, i + r // 2)
        total = sum(a[:, j] ** 2 for j in range(first, last + 1))
        b[:, i] = a[:, i] * (k + alpha * total) ** -beta
    result = local_response_norm(torch.from_numpy(a).float())
    np.testing.assert_allclose(result.numpy(), b, rtol=1e-5)
    divided = F.local_response_norm(torch.from_numpy(a), r, alpha, beta, k)  # torch divides alpha by r
    assert np.abs(divided.numpy() / b - 1).mean() > 0.5


def test_the_response_normalisation_does_not_overflow_in_half_precision() -> None:
    activations = torch.full((1, 6, 1, 1), 1000.0)
    result = local_response_norm(activations.half())
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), local_response_norm(activations), rtol=1e-3, atol=0)


def test_alexnet_normalises_after_c1_and_c3_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def record(x: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(x.shape[1:]), bool((x >= 0).all())))
        return x

    monkeypatch.setattr("cvkit.tasks.classification.networks.alexnet.local_response_norm", record)
    with torch.no_grad():
        AlexNet2012(2, 3, (67, 67)).eval()(torch.randn(1, 3, 67, 67))
    assert seen == [((96, 15, 15), True), ((256, 7, 7), True)]  # after the ReLUs


def pool_as_keras(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the maximum of each 3x3 window at stride 2 with TensorFlow's rule of "same" padding."""
    height, width = x.shape[-2:]
    rows, columns = -(-height // 2), -(-width // 2)
    top = max((rows - 1) * 2 + 3 - height, 0) // 2
    left = max((columns - 1) * 2 + 3 - width, 0) // 2
    y = np.empty((*x.shape[:2], rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            i0, j0 = 2 * i - top, 2 * j - left
            y[..., i, j] = x[..., max(i0, 0) : i0 + 3, max(j0, 0) : j0 + 3].max((-2, -1))
    return y


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 9), (1, 2), (11, 4)])
def test_the_max_pooling_pads_as_keras_does(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size) - 5  # below zero, so that padding with zeros would show
    np.testing.assert_array_equal(same_max_pool(x).numpy(), pool_as_keras(x.numpy()))


@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_a_block_of_xception_mini_equals_the_listing(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = Block(4, 6).eval()
    for norm in (layer.norm1, layer.norm2):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 4, *size)
    y = x
    for norm, separable in ((layer.norm1, layer.separable1), (layer.norm2, layer.separable2)):
        mean, deviation = norm.running_mean.view(-1, 1, 1), (norm.running_var + 1e-3).sqrt().view(-1, 1, 1)
        y = F.pad(((y - mean) / deviation).clamp_min(0), (1, 1, 1, 1))
        windows = y.unfold(2, 3, 1).unfold(3, 3, 1)
        depthwise = torch.einsum("nchwij,cij->nchw", windows, separable.depthwise.weight[:, 0])
        y = torch.einsum("nchw,dc->ndhw", depthwise, separable.pointwise.weight[:, :, 0, 0])
    shortcut = torch.einsum("nchw,dc->ndhw", x[:, :, ::2, ::2], layer.shortcut.weight[:, :, 0, 0])
    expected = torch.from_numpy(pool_as_keras(y.detach().numpy())) + shortcut
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_xception_mini_accepts_any_size_after_training() -> None:
    network = XceptionMini(3, 3).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 40, 61)).shape == network(torch.rand(2, 3, 21, 22)).shape == (2, 3)


@pytest.mark.parametrize("name", ["basic-cnn", "lenet5", "alexnet-2012", "xception-mini"])
def test_weights_start_with_the_variance_of_the_stated_initialisation(name: str) -> None:
    torch.manual_seed(0)
    facts = CLASSIFIERS[name]
    network = build(name, 10, (facts.min_size, facts.min_size), facts.channels)
    for layer_name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() > 1000:
            fan_in, fan_out = layer.weight[0].numel(), layer.weight.numel() // layer.weight.shape[1]
            he = name in ("basic-cnn", "alexnet-2012") and layer_name != "out"
            variance = 2 / fan_in if he or name == "alexnet-2012" else 2 / (fan_in + fan_out)
            assert layer.weight.var().item() == pytest.approx(variance, rel=0.15), layer_name
            assert layer.bias is None or not layer.bias.any()
