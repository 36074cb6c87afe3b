import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX, VGG16, VGG16_LAYERS, same_pool


def test_same_pool_by_hand() -> None:
    x = torch.tensor([[1.0, 5.0, 2.0], [0.0, -3.0, -4.0]]).view(1, 1, 2, 3)
    assert same_pool(x)[0, 0].tolist() == [[5.0, 5.0, 2.0], [0.0, -3.0, -4.0]]


def test_same_pool_pads_with_minus_infinity_not_zero() -> None:
    assert same_pool(torch.full((1, 1, 2, 2), -1.0)).flatten().tolist() == [-1.0] * 4


def test_the_layers_have_their_positions_in_torchvision() -> None:
    # positions in vgg16().features of torchvision, counted by hand
    assert list(TORCHVISION_INDEX.values()) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(TORCHVISION_INDEX) == [name for name in VGG16_LAYERS if name.startswith("conv")]


# (channels, side) of each layer for a 224x224 image, as in VGG16 (arXiv 1409.1556).
SHAPES = {
    "conv1_1": (64, 224), "conv1_2": (64, 224), "pool1": (64, 112),
    "conv2_1": (128, 112), "conv2_2": (128, 112), "pool2": (128, 56),
    "conv3_1": (256, 56), "conv3_2": (256, 56), "conv3_3": (256, 56), "pool3": (256, 28),
    "conv4_1": (512, 28), "conv4_2": (512, 28), "conv4_3": (512, 28), "pool4": (512, 14),
    "conv5_1": (512, 14), "conv5_2": (512, 14), "conv5_3": (512, 14),
}  # fmt: skip


def test_the_shape_of_every_named_layer() -> None:
    with torch.device("meta"):
        vgg = VGG16(tuple(SHAPES))
        levels = vgg(torch.empty(2, 3, 224, 224))
    for (name, (channels, side)), level in zip(SHAPES.items(), levels, strict=True):
        assert level.shape == (2, channels, side, side), name
    assert vgg.channels == [channels for channels, _ in SHAPES.values()]


def test_only_the_required_layers_are_built() -> None:
    with torch.device("meta"):
        vgg = VGG16(("pool2", "pool3", "conv4_1"), ("pool3",))
    assert [name for name, _ in vgg.named_children()] == [
        "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1",
    ]  # fmt: skip


@pytest.mark.parametrize("dense", [False, True])
def test_the_output_equals_that_of_a_plain_stack_of_layers(dense: bool) -> None:
    vgg = VGG16(("pool1", "conv2_2"), ("pool1",) if dense else ())
    layers = [nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)]
    for layer, name in zip(layers, ("conv1_1", "conv1_2"), strict=True):
        layer.load_state_dict(vgg.get_submodule(name).state_dict())
    images = torch.randn(1, 3, 9, 8)

    x: Tensor = F.relu(layers[1](F.relu(layers[0](images))))
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2, stride=1) if dense else F.max_pool2d(x, 2)
    torch.testing.assert_close(vgg(images)[0], x)
