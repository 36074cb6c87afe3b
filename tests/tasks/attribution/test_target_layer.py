from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.tasks.attribution.target_layer import default_target, list_target_layers, named_target


def make(name: str) -> Callable[[], nn.Module]:
    """Return a function that builds a network of torchvision ("vgg16") or timm ("timm:resnet18")."""

    def build() -> nn.Module:
        if name.startswith("timm:"):
            import timm

            return timm.create_model(name.removeprefix("timm:"), pretrained=False)
        from torchvision import models

        extra = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        return models.get_model(name, weights=None, **extra)

    return build


def spatial(name: str, grid: tuple[int, int], layout: str = "nchw", *, relu: bool = False) -> TargetLayer:
    return TargetLayer(name=name, relu=relu, layout=layout, grid=grid, prefix=0)


def tokens(name: str, grid: tuple[int, int], prefix: int) -> TargetLayer:
    return TargetLayer(name=name, relu=False, layout="tokens", grid=grid, prefix=prefix)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("vgg16", (224, 224), spatial("features.29", (14, 14))),
        ("alexnet", (224, 224), spatial("features.11", (13, 13))),
        ("resnet50", (224, 224), spatial("layer4", (7, 7))),
        ("squeezenet1_0", (224, 224), spatial("features.12", (13, 13))),
        ("densenet121", (224, 224), spatial("features.norm5", (7, 7), relu=True)),
        ("inception_v3", (299, 299), spatial("Mixed_7c", (8, 8))),
        ("googlenet", (224, 224), spatial("inception5b", (7, 7))),
        ("mobilenet_v2", (224, 224), spatial("features.18", (7, 7))),
        ("mobilenet_v3_small", (224, 224), spatial("features.12", (7, 7))),
        ("mnasnet0_5", (224, 224), spatial("layers.16", (7, 7))),
        ("shufflenet_v2_x0_5", (224, 224), spatial("conv5", (7, 7))),
        ("efficientnet_b0", (224, 224), spatial("features.8", (7, 7))),
        ("regnet_x_400mf", (224, 224), spatial("trunk_output", (7, 7))),
        ("convnext_tiny", (224, 224), spatial("features.7", (7, 7))),
        ("swin_t", (224, 224), spatial("norm", (7, 7), "nhwc")),
        ("maxvit_t", (224, 224), spatial("blocks.3", (7, 7))),
        ("vit_b_16", (224, 224), tokens("encoder.layers.encoder_layer_11.ln_1", (14, 14), 1)),
        ("timm:resnet18", (224, 224), spatial("layer4", (7, 7))),
        ("timm:mobilenetv3_small_100", (224, 224), spatial("blocks", (7, 7))),
        ("timm:efficientnet_b0", (224, 224), spatial("bn2", (7, 7))),
        ("timm:convnext_atto", (224, 224), spatial("stages", (7, 7))),
        ("timm:vit_tiny_patch16_224", (224, 224), tokens("blocks.11.norm1", (14, 14), 1)),
        ("timm:deit_tiny_distilled_patch16_224", (224, 224), tokens("blocks.11.norm1", (14, 14), 2)),
        ("timm:swin_tiny_patch4_window7_224", (224, 224), spatial("norm", (7, 7), "nhwc")),
        ("timm:regnetx_002", (224, 224), spatial("s4", (7, 7))),
        ("timm:densenet121", (224, 224), spatial("features.norm5", (7, 7))),
        ("timm:xception41", (299, 299), spatial("blocks", (10, 10))),
        ("timm:vgg11", (224, 224), spatial("features.19", (14, 14))),
        # attention modules with other class names; a class token added late; stages with fewer tokens
        ("timm:convit_tiny", (224, 224), tokens("blocks.11.norm1", (14, 14), 1)),
        ("timm:pit_ti_224", (224, 224), tokens("transformers.2.blocks.3.norm1", (7, 7), 1)),
        ("timm:levit_128", (224, 224), tokens("stages.2.blocks.2", (4, 4), 0)),
        # no attention at all; attention that only pools
        ("timm:mixer_s16_224", (224, 224), tokens("norm", (14, 14), 0)),
        ("timm:resnet50_clip", (224, 224), spatial("stages", (7, 7))),
        # images that are not square
        ("resnet18", (96, 192), spatial("layer4", (3, 6))),
        ("vgg11", (192, 256), spatial("features.19", (12, 16))),
        ("inception_v3", (299, 480), spatial("Mixed_7c", (8, 13))),
        ("swin_t", (128, 224), spatial("norm", (4, 7), "nhwc")),
        ("timm:xcit_nano_12_p16_224", (96, 160), tokens("cls_attn_blocks.1.norm1", (6, 10), 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_default_layer_of_common_architectures(name: str, size: tuple[int, int], expected: TargetLayer) -> None:
    assert default_target(make(name), (1, 3, *size), 1000) == expected


class Small(nn.Module):
    """Two convolutions with a kind of ReLU, a kind of pooling and a linear classifier."""

    def __init__(self, relu: str, pooling: str = "function") -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=relu == "shared in place")
        self.last = nn.ReLU(inplace=relu == "in place")
        self.kind = relu
        self.drop = nn.Dropout()
        self.pool = nn.MaxPool2d(2)
        self.pooling = pooling
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).relu_() if self.kind == "function in place" else self.relu(self.one(x))
        x = self.two(x)
        if self.kind.startswith("function"):
            x = F.relu(x, inplace=self.kind.endswith("in place"))
        else:
            x = self.relu(x) if self.kind.startswith("shared") else self.last(x)
        x = F.max_pool2d(x, 2) if self.pooling == "function" else self.pool(x)
        return self.head(self.drop(x).mean((2, 3)))


@pytest.mark.parametrize("pooling", ["function", "module"])
@pytest.mark.parametrize(
    ("relu", "name", "bare"),
    [
        ("module", "last", False),
        ("in place", "last", False),
        ("shared", "two", True),
        ("shared in place", "two", True),
        ("function", "two", True),
        ("function in place", "two", True),
    ],
)
def test_the_default_layer_is_the_last_relu_before_the_pooling(relu: str, name: str, bare: bool, pooling: str) -> None:
    build = lambda: Small(relu, pooling)  # noqa: E731
    expected = spatial(name, (8, 12), relu=bare)
    assert default_target(build, (2, 3, 8, 12), 10) == expected
    assert named_target(build, (2, 3, 8, 12), name + "+relu" * bare) == expected
    assert (name + "+relu" * bare, (2, 6, 8, 12), "nchw") in list_target_layers(build, (2, 3, 8, 12))


def maps_of_classes() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 10, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def test_a_layer_with_one_map_per_class_is_not_the_default() -> None:
    assert default_target(maps_of_classes, (1, 3, 8, 8), 10) == spatial("1", (8, 8))


def test_a_layer_with_as_many_channels_as_classes_is_the_default_before_a_classifier() -> None:
    build = lambda: nn.Sequential(*maps_of_classes(), nn.Linear(10, 10))  # noqa: E731
    assert default_target(build, (1, 3, 8, 8), 10) == spatial("3", (8, 8))


class Transformer(nn.Module):
    """Patches of 4 pixels, two prefix tokens (the first is the class token) and the encoder layers of PyTorch."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.prefix = nn.Parameter(torch.zeros(1, 2, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.prefix.expand(len(x), -1, -1), x), 1)
        return self.head(self.encoder(x)[:, 0])


@pytest.mark.parametrize(("norm_first", "name"), [(True, "encoder.layers.1.norm1"), (False, "encoder.layers.0")])
def test_the_default_layer_of_a_transformer_is_the_input_of_the_last_attention(norm_first: bool, name: str) -> None:
    build = lambda: Transformer(norm_first)  # noqa: E731
    assert default_target(build, (1, 3, 12, 20), 10) == tokens(name, (3, 5), 2)
    network = build().eval()
    found: list[Tensor] = []
    network.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: found.append(output))
    score = network(torch.randn(1, 3, 12, 20))[0, 3]
    (gradient,) = torch.autograd.grad(score, found)
    assert (gradient[:, 2:] != 0).all()  # every patch has a gradient


def test_a_network_without_a_spatial_grid_is_refused() -> None:
    build = lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))  # noqa: E731
    with pytest.raises(
        UsageError, match=r"No layer of the network has a spatial grid for images of 8x8 pixels\. Use larger"
    ):
        default_target(build, (1, 3, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("features.92", "--layer features.92: the network has no layer 'features.92'. Did you mean 'features.9'?"),
        ("Features.29", "no layer 'Features.29'. Did you mean 'features.29'?"),
        ("layer4", "no layer 'layer4'. `cvkit models show NAME` lists"),
        ("", "--layer : the network has no layer ''"),
        ("+relu", "no layer ''"),
        ("classifier.0", r"the output \(1, 4096\) of this layer has no spatial grid. `cvkit models show NAME` lists"),
        ("features.28+relu", r"applies no ReLU function to 'features.28'; leave out '\+relu'"),
    ],
)
def test_names_of_other_layers_are_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as caught:
        named_target(make("vgg16"), (1, 3, 224, 224), name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layer4.1.relu", "--layer layer4.1.relu: the network runs this layer 2 times; use a layer that contains it"),
        ("avgpool", r"the output \(1, 512, 1, 1\) of this layer has no spatial grid"),
        ("fc+relu", "no spatial grid"),
        ("layer4+relu", "applies no ReLU function to 'layer4'"),
    ],
)
def test_layers_without_a_spatial_grid_are_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named_target(make("resnet18"), (1, 3, 64, 64), name)


def test_a_layer_that_only_training_runs_is_refused() -> None:
    with pytest.raises(UsageError, match="--layer aux1: the network does not run this layer for a prediction"):
        named_target(make("googlenet"), (1, 3, 64, 64), "aux1")


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("vgg16", "features.30", spatial("features.30", (7, 7))),  # a pooling may be named
        ("vgg16", "features", spatial("features", (7, 7))),
        ("resnet18", "layer4.1.bn1+relu", spatial("layer4.1.bn1", (7, 7), relu=True)),
        ("swin_t", "features.5", spatial("features.5", (14, 14), "nhwc")),
        ("swin_t", "permute", spatial("permute", (7, 7))),
        ("vit_b_16", "conv_proj", spatial("conv_proj", (14, 14))),
        ("vit_b_16", "encoder.ln", tokens("encoder.ln", (14, 14), 1)),
    ],
)
def test_layers_are_found_by_name(name: str, layer: str, expected: TargetLayer) -> None:
    assert named_target(make(name), (1, 3, 224, 224), layer) == expected


def test_every_listed_layer_can_be_named() -> None:
    build, shape = make("squeezenet1_1"), (1, 3, 64, 96)
    listed = list_target_layers(build, shape)
    names = [name for name, _, _ in listed]
    assert names[0] == "features.0" and "features.12" in names and len(names) == len(set(names))
    assert "classifier.0" not in names  # dropout returns its input
    for name, size, layout in listed[::6]:
        assert named_target(build, shape, name) == spatial(name, size[2:], layout)


def test_attention_heads_and_weights_are_not_listed() -> None:
    listed = list_target_layers(make("timm:vit_tiny_patch16_224"), (1, 3, 224, 224))
    assert [name for name, _, layout in listed if layout != "tokens"] == ["patch_embed.proj"]
    assert ("blocks.11.norm1", (1, 197, 192), "tokens") in listed
