"""Test that batch norms are folded into convolutions only where this changes nothing but rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.folding import fold_batch_norms

SHAPE = (1, 3, 8, 8)


def with_statistics(network: nn.Module) -> nn.Module:
    """Give all batch norms statistics as after a training."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return network.eval()


def norms_in(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def check_same(network: nn.Module, folded: nn.Module, shape: tuple[int, ...] = SHAPE) -> None:
    images = torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), folded(images)
    assert float((expected - found).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_the_folded_weights_are_those_of_the_formula() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)).eval()
    conv, norm = network
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.bias is not None
    assert norm.running_mean is not None and norm.running_var is not None
    for tensor, value in zip((conv.weight, conv.bias, norm.weight, norm.bias), (3.0, 5.0, 4.0, 7.0), strict=True):
        nn.init.constant_(tensor, value)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(3.0)
    folded = fold_batch_norms(network, (1, 1, 2, 2))
    assert isinstance(folded, nn.Sequential) and isinstance(folded[0], nn.Conv2d) and folded[0].bias is not None
    # ((3 x + 5) - 1) / sqrt(3 + 1) * 4 + 7 = 6 x + 15
    assert (folded[0].weight.item(), folded[0].bias.item()) == (6.0, 15.0)
    assert isinstance(folded[1], nn.Identity)
    assert conv.weight.item() == 3.0 and network[1] is norm  # the network itself has not changed


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:resnet10t", "timm:tf_efficientnet_lite0", "googlenet"])
def test_classifiers_give_the_same_scores(name: str) -> None:
    from cvkit.tasks.classification import specification

    network = with_statistics(specification.make(name))
    folded = fold_batch_norms(network, (1, 3, 64, 64))
    assert norms_in(network) > 0 and norms_in(folded) == 0
    check_same(network, folded, (1, 3, 64, 64))
    shared = {id(tensor) for tensor in network.parameters()}
    assert any(id(tensor) in shared for tensor in folded.parameters())  # the weights of dense layers are not copied


def conv_and_norm(norm: nn.Module | None = None) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.Conv2d(3, 3, 3, padding=1, bias=False), "norm": norm or nn.BatchNorm2d(3)})


class Used(nn.Module):
    """A network of one convolution and one batch norm, used as ``mode`` says."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.layers = conv_and_norm(nn.BatchNorm2d(3, track_running_stats=mode != "batch statistics"))

    def forward(self, images: Tensor) -> Tensor:
        conv, norm = self.layers["conv"], self.layers["norm"]
        values = conv(images)
        if self.mode == "twice":
            return norm(values) + values
        if self.mode == "norm twice":
            return norm(norm(values))
        if self.mode == "convolution twice":
            return norm(conv(values))
        if self.mode == "in between":
            return norm(F.relu(values))
        if self.mode == "in place":
            return norm(values.mul_(2))
        if self.mode == "other weight":
            return norm(F.conv2d(images, conv.weight * 2, padding=1))
        if self.mode == "reads values":
            return norm(values) * float(values.mean())
        return norm(values)


@pytest.mark.parametrize(
    "mode",
    [
        "twice",
        "norm twice",
        "convolution twice",
        "in between",
        "in place",
        "other weight",
        "batch statistics",
        "reads values",
    ],
)
def test_a_batch_norm_whose_convolution_has_other_uses_stays(mode: str) -> None:
    network = with_statistics(Used(mode))
    assert fold_batch_norms(network, SHAPE) is network


def test_the_layers_to_keep_and_other_norms_stay() -> None:
    network = with_statistics(Used("alone"))
    assert fold_batch_norms(network, SHAPE, keep=("layers.conv",)) is network
    folded = fold_batch_norms(network, SHAPE)
    assert norms_in(folded) == 0
    check_same(network, folded)
    other = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    assert fold_batch_norms(other, SHAPE) is other


def test_the_activation_behind_a_folded_batch_norm_keeps_its_name() -> None:
    from cvkit.tasks.classification import specification

    network = with_statistics(specification.make("timm:tf_efficientnet_lite0"))
    names = [name for name, _ in network.named_modules() if name.endswith(".act")]
    folded = fold_batch_norms(network, (1, 3, 64, 64))
    assert names and all(folded.get_submodule(name) is not None for name in names)
