import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.errors import UsageError
from cvkit.models.summary import Layer, summarise


def test_the_costs_of_a_convolution_by_hand() -> None:
    # 200 filters of 5x5 on 3 channels: 5 * 5 * 3 * 200 + 200 parameters, 200 * 150 * 100 * 75 products,
    # 200 * 150 * 100 * 4 bytes
    summary = summarise(lambda: nn.Sequential(nn.Conv2d(3, 200, 5, padding=2)), (1, 3, 150, 100))
    assert summary.layers == (
        Layer(
            name="0",
            kind="Conv2d",
            output=(1, 200, 150, 100),
            parameters=15_200,
            multiply_adds=225_000_000,
            activation_bytes=12_000_000,
        ),
    )
    assert (summary.parameters, summary.multiply_adds) == (15_200, 225_000_000)
    assert (summary.training_bytes, summary.inference_bytes) == (12_000_000, 12_000_000)


def test_costs_scale_with_the_batch_and_the_bytes_per_value() -> None:
    summary = summarise(lambda: nn.Conv2d(3, 200, 5, padding=2), (100, 3, 150, 100), bytes_per_value=2)
    (layer,) = summary.layers
    assert (layer.name, layer.output, layer.parameters) == ("", (100, 200, 150, 100), 15_200)
    assert layer.multiply_adds == 22_500_000_000
    assert layer.activation_bytes == 600_000_000


@pytest.mark.parametrize(
    ("layer", "products"),
    [
        # each of 16 * 10 * 10 outputs sees 3 * 3 positions in 8 / 4 channels
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), 16 * 100 * 9 * 2),
        # depthwise, at every second position
        (nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8), 8 * 25 * 9),
        # each of 8 * 10 * 10 inputs spreads to 4 * 2 * 2 outputs
        (nn.ConvTranspose2d(8, 4, 2, stride=2), 8 * 100 * 16),
        # each of 8 * 10 positions is a token of 10 numbers
        (nn.Linear(10, 6), 80 * 10 * 6),
        (nn.BatchNorm2d(8), 0),
        (nn.MaxPool2d(2), 0),
        (nn.GELU(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_multiply_adds_by_hand(layer: nn.Module, products: int) -> None:
    assert summarise(lambda: layer, (1, 8, 10, 10)).multiply_adds == products


class Tokens(nn.Module):
    """Applies ``attention`` to the 16 positions of a 4x4 image and a class token, as tokens of 8 values."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 1)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 17, 8))
        self.attention = attention

    def forward(self, images: Tensor) -> Tensor:
        x = self.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.positions
        if isinstance(self.attention, nn.MultiheadAttention):
            return self.attention(x, x, x)[0]
        return self.attention(x)


class ByFunctions(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v)
        return (q @ k.transpose(1, 2)).softmax(-1) @ v


@pytest.mark.parametrize("fused", [True, False])
def test_attention_by_functions_counts_for_the_module_it_runs_in(fused: bool) -> None:
    with torch.device("meta"):
        network = Tokens(ByFunctions(fused))
    summary = summarise(lambda: network, (2, 3, 4, 4))
    rows = {layer.name: layer for layer in summary.layers}
    assert list(rows) == ["proj", "attention.qkv", "attention", ""]
    assert rows["attention.qkv"].multiply_adds == 2 * 17 * 8 * 24
    assert rows["attention"].multiply_adds == 2 * 2 * 17 * 17 * 8
    assert (rows["attention"].kind, rows["attention"].parameters) == ("ByFunctions", 0)
    assert rows["attention"].output == (2, 17, 8)
    assert summary.multiply_adds == sum(layer.multiply_adds for layer in summary.layers)


def test_the_parameters_of_multihead_attention_and_of_tokens_have_a_row() -> None:
    summary = summarise(lambda: Tokens(nn.MultiheadAttention(8, 2, batch_first=True)), (1, 3, 4, 4))
    rows = {layer.name: layer for layer in summary.layers}
    assert list(rows) == ["proj", "attention", ""]
    assert rows["attention"].parameters == 4 * (8 * 8 + 8)
    # queries, keys, values, outputs; then the two products of 17 by 17 tokens
    assert rows["attention"].multiply_adds == 4 * 17 * 8 * 8 + 2 * 17 * 17 * 8
    assert (rows[""].kind, rows[""].parameters) == ("Tokens", 8 + 17 * 8)
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    # the tensor that the forward method itself creates: the 17 tokens with their position embedding
    assert rows[""].activation_bytes == 17 * 8 * 4


def test_layers_that_work_in_place_or_return_their_input_have_no_activations() -> None:
    summary = summarise(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
        ),
        (1, 3, 8, 8),
    )
    assert [layer.activation_bytes for layer in summary.layers] == [4 * 64 * 4, 0, 0, 2 * 64 * 4, 2 * 64 * 4, 0]
    assert summary.training_bytes == (4 + 2 + 2) * 64 * 4
    assert summary.inference_bytes == (4 + 2) * 64 * 4


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.unused = nn.Linear(5, 5)
        self.skip = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x)) + self.skip(x)


def test_a_module_that_runs_twice_has_two_rows_and_its_parameters_once() -> None:
    summary = summarise(Twice, (1, 3, 5, 5))
    assert [(layer.name, layer.parameters, layer.multiply_adds) for layer in summary.layers] == [
        ("conv", 12, 225),
        ("conv", 0, 225),
        ("", 0, 0),
    ]
    assert summary.layers[-1].activation_bytes == 75 * 4  # the sum
    assert summary.parameters == 12 + 30


@pytest.mark.parametrize(
    ("name", "giga"),
    # The values that torchvision publishes with the weights (`_ops`)
    [
        ("vgg16", 15.47),
        ("resnet50", 4.089),
        ("mobilenet_v2", 0.301),
        ("vit_b_16", 17.564),
        ("swin_t", 4.491),
        ("convnext_tiny", 4.456),
        ("regnet_x_400mf", 0.414),
    ],
)
def test_published_multiply_adds_and_parameters(name: str, giga: float) -> None:
    from torchvision import models

    summary = summarise(lambda: models.get_model(name, weights=None), (1, 3, 224, 224))
    assert summary.multiply_adds / 1e9 == pytest.approx(giga, abs=6e-4)
    assert summary.parameters == models.get_model_weights(name).IMAGENET1K_V1.meta["num_params"]
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.training_bytes == sum(layer.activation_bytes for layer in summary.layers)


def test_activations_of_vgg16_by_hand() -> None:
    from torchvision import models

    summary = summarise(lambda: models.get_model("vgg16", weights=None), (1, 3, 224, 224))
    # 2, 2, 3, 3, 3 convolutions and one pooling per stage, ReLUs in place; the 7x7 average pooling allocates new memory
    maps = [(64, 224, 2), (128, 112, 2), (256, 56, 3), (512, 28, 3), (512, 14, 3)]
    values = sum(c * s * s * n + c * (s // 2) ** 2 for c, s, n in maps) + 512 * 49 + 4096 + 4096 + 1000
    assert summary.training_bytes == values * 4
    assert summary.inference_bytes == 2 * 64 * 224 * 224 * 4


def test_summarising_does_not_change_the_network() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = torch.random.get_rng_state()
    assert summarise(lambda: network, (1, 3, 8, 8)).parameters == 4 * 27 + 4 + 8
    assert network.training and not network[0].weight.is_meta and network[0].weight.requires_grad
    assert not network[0]._forward_hooks and not network[0]._forward_pre_hooks
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_network_that_reads_tensor_values_while_it_is_built_is_summarised() -> None:
    def build() -> nn.Module:
        widths = torch.linspace(4, 8, 2).int().tolist()
        return nn.Sequential(nn.Conv2d(3, widths[0], 1), nn.Conv2d(widths[0], widths[1], 1))

    before = torch.random.get_rng_state()
    assert summarise(build, (1, 3, 2, 2)).multiply_adds == 4 * (12 + 32)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("vgg16", 16, "cannot process images of 16x16 pixels: .*too small. Use another image size"),
        ("vit_b_16", 256, "256x256 pixels: Wrong image height! Expected 224 but got 256!. Use another image size"),
    ],
)
def test_an_image_size_that_the_network_cannot_process_is_an_error(name: str, side: int, message: str) -> None:
    from torchvision import models

    with pytest.raises(UsageError, match=message) as caught:
        summarise(lambda: models.get_model(name, weights=None), (1, 3, side, side))
    assert "\n" not in str(caught.value)
