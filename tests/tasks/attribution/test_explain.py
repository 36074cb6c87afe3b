"""Test the explanations of a network, and that the explainer restores the state of the network."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.models.scaling import min_max
from cvkit.tasks.attribution import METHODS, Explainer
from cvkit.tasks.attribution.capture import to_grid

from .conftest import Tiny

IMAGE = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])


def both(logits: Tensor) -> Tensor:
    return torch.arange(2, device=logits.device).expand(len(logits), -1)


def best(logits: Tensor) -> Tensor:
    return logits.argmax(1, keepdim=True)


def test_gradcam_of_a_tiny_network_by_hand(tiny: Tiny) -> None:
    found = Explainer(tiny, TargetLayer(name="relu"))(IMAGE, both)
    # activations after the ReLU: [[1, 2], [3, 0]] and [[0, 0], [0, 4]]
    # class 0: y = 1*1 + 2*2 + 0*3 + 1*0 - 4 = 1; alpha = (1 + 2 + 0 + 1) / 4 = 1 and -1
    # map: relu([[1, 2], [3, 0]] - [[0, 0], [0, 4]]) = [[1, 2], [3, 0]], divided by 3
    # class 1: y = 9 + 0 = 9; alpha = (3 + 1) / 4 = 1 and 4 / 4 = 1: [[1, 2], [3, 4]] scaled from 1..4
    assert torch.equal(found.logits, torch.tensor([[1.0, 9.0]]))
    assert torch.allclose(found.maps[0, 0], torch.tensor([[1.0, 2.0], [3.0, 0.0]]) / 3)
    assert torch.allclose(found.maps[0, 1], torch.tensor([[0.0, 1.0], [2.0, 3.0]]) / 3)


def test_an_in_place_relu_after_the_target_does_not_change_the_map(tiny: Tiny) -> None:
    found = Explainer(tiny, TargetLayer(name="features"), method="hirescam")(IMAGE, both)
    # at the convolution, before the ReLU: gradients are zero where it is negative, the activation keeps its sign
    # class 1: A_0 = [[1, 2], [3, -4]], G_0 = [[0, 0], [3, 0]]; A_1 = -A_0, G_1 = [[0, 0], [0, 0]] but for the last: 0
    assert torch.allclose(found.maps[0, 1], torch.tensor([[0.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize("method", METHODS)
def test_a_target_with_relu_equals_the_relu_module(tiny: Tiny, method: str) -> None:
    after = Explainer(tiny, TargetLayer(name="features", relu=True), method=method)(IMAGE, both)
    same = Explainer(tiny, TargetLayer(name="relu"), method=method)(IMAGE, both)
    assert torch.equal(after.maps, same.maps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_the_state_of_the_network_is_restored(method: str, training: bool) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 5)
    ).train(training)
    network[1].eval()  # a module in another mode than the network
    network[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    wants = [parameter.requires_grad for parameter in network.parameters()]
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = images.clone()
    explainer = Explainer(network, TargetLayer(name="2"), method=method, smooth=method == "gradcam")
    with torch.no_grad() if training else contextlib.nullcontext():
        found = explainer(images, lambda logits: logits.topk(2).indices)
        assert torch.is_grad_enabled() is not training
    assert found.maps.shape[:2] == (2, 2)
    assert not found.maps.requires_grad
    assert not found.logits.requires_grad
    assert torch.equal(images, kept)
    assert [part.training for part in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wants
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in network.modules())


def test_the_state_of_a_failing_network_is_restored(tiny: Tiny) -> None:
    tiny.train()
    with pytest.raises(RuntimeError):
        Explainer(tiny, TargetLayer(name="relu"))(torch.zeros(1, 1, 3, 3), best)
    assert tiny.training
    assert all(parameter.requires_grad for parameter in tiny.parameters())
    assert not any(part._forward_hooks for part in tiny.modules())
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_image_gives_a_map_of_zeros_and_no_nan(method: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    found = Explainer(network, TargetLayer(name="1"), method=method)(torch.zeros(2, 3, 6, 6), best)
    assert torch.equal(found.maps, torch.zeros_like(found.maps))


@pytest.mark.parametrize("method", METHODS)
def test_several_classes_have_the_maps_of_single_classes(method: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    images = torch.randn(2, 3, 8, 8)
    explainer = Explainer(network, TargetLayer(name="1"), method=method)
    together = explainer(images, lambda logits: logits.argsort(1, descending=True)[:, :3])
    for position in range(3):
        alone = explainer(images, lambda _, position=position: together.classes[:, position : position + 1])
        assert torch.allclose(alone.maps[:, 0], together.maps[:, position], atol=1e-5)


def test_a_layer_without_batched_gradients_is_explained_class_by_class() -> None:
    class Strange(torch.autograd.Function):
        @staticmethod
        def forward(context: object, values: Tensor) -> Tensor:
            del context
            return values * 2

        @staticmethod
        def backward(context: object, *gradients: Tensor) -> Tensor:
            del context
            return torch.from_numpy(gradients[0].numpy() * 2)  # numpy cannot look into a batch of gradients

    class Doubled(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            result: Tensor = Strange.apply(values)
            return result

    torch.manual_seed(0)
    parts = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 7)
    images = torch.randn(2, 3, 8, 8)
    plain = Explainer(nn.Sequential(*parts[:2], nn.Identity(), *parts[2:]), TargetLayer(name="1"))
    strange = Explainer(nn.Sequential(*parts[:2], Doubled(), *parts[2:]), TargetLayer(name="1"))
    classes = torch.arange(6).expand(2, -1)  # more than one block of classes
    expected = plain(images, lambda _: classes).maps
    assert torch.allclose(strange(images, lambda _: classes).maps, expected, atol=1e-5)


def test_smoothing_averages_six_variants(tiny: Tiny) -> None:
    plain = Explainer(tiny, TargetLayer(name="relu"))
    views = []
    for flipped in (False, True):
        for contrast in (0.9, 1.0, 1.1):
            view = (IMAGE.flip(3) if flipped else IMAGE) * contrast
            maps = plain(view, lambda _: torch.tensor([[1]])).maps
            views.append(maps.flip(3) if flipped else maps)
    smooth = Explainer(tiny, TargetLayer(name="relu"), smooth=True)(IMAGE, lambda _: torch.tensor([[1]]))
    assert torch.allclose(smooth.maps, torch.stack(views).mean(0))
    assert torch.equal(smooth.logits, plain(IMAGE, best).logits)


def test_scorecam_weighs_channels_by_the_scores_of_masked_images(tiny: Tiny) -> None:
    found = Explainer(tiny, TargetLayer(name="relu"), method="scorecam")(IMAGE, both)
    first = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    second = torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    with torch.no_grad():
        scores = tiny(torch.stack([IMAGE[0] * first / 3, IMAGE[0] * second / 4]))
    weights = scores.softmax(0)
    for position in range(2):
        expected = (weights[0, position] * first + weights[1, position] * second).relu()
        assert torch.allclose(found.maps[0, position], min_max(expected), atol=1e-5)


def test_guided_backprop_stops_negative_gradients_at_every_relu() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    torch.manual_seed(3)
    images = torch.rand(1, 3, 2, 2)
    hidden = network[1](images.flatten(1))
    upper, lower = network[3].weight[0], network[1].weight
    expected = ((upper.clamp_min(0) * (hidden[0] > 0)) @ lower).view(3, 2, 2).abs().amax(0)
    found = Explainer(network, TargetLayer(name="2"), method="guided-backprop")(images, lambda _: torch.tensor([[0]]))
    ceiling = expected.flatten().quantile(0.99)
    assert torch.allclose(found.maps[0, 0], min_max(expected.minimum(ceiling)), atol=1e-5)


def test_guided_gradcam_is_guided_backprop_times_the_map() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 5))
    images = torch.randn(1, 3, 8, 8)
    target = TargetLayer(name="1")
    cam = Explainer(network, target)(images, best).maps
    guided = Explainer(network, target, method="guided-gradcam")(images, best).maps
    up = F.interpolate(cam, size=(8, 8), mode="bilinear", align_corners=False)
    assert guided.shape == (1, 1, 8, 8)
    assert not guided[up == 0].any()
    assert guided.max() == 1


def test_tokens_and_channels_last_become_a_grid_of_features() -> None:
    values = torch.arange(2 * 6 * 3.0).view(1, 2, 3, 6)
    assert torch.equal(to_grid(values, TargetLayer(name="x", layout="nhwc")), values.permute(0, 3, 1, 2))
    tokens = torch.cat([torch.full((1, 2, 6), -1.0), values.flatten(1, 2)], 1)
    target = TargetLayer(name="x", layout="tokens", grid=(2, 3), prefix=2)
    assert torch.equal(to_grid(tokens, target), values.permute(0, 3, 1, 2))


def test_layers_after_the_target_compute_in_float32() -> None:
    seen: list[tuple[bool, torch.dtype]] = []

    class Watch(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            seen.append((torch.is_autocast_enabled("cpu"), values.dtype))
            return values

    parts = nn.Conv2d(3, 4, 3), Watch(), nn.ReLU(), Watch(), nn.Flatten(), nn.Linear(4 * 36, 5), Watch()
    explainer = Explainer(
        nn.Sequential(*parts), TargetLayer(name="2"), autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    explainer(torch.randn(1, 3, 8, 8), best)
    assert seen == [(True, torch.bfloat16), (False, torch.float32), (False, torch.float32)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_maps_and_logits_are_float32_under_autocast(tiny: Tiny, dtype: torch.dtype) -> None:
    def autocast() -> torch.autocast:
        return torch.autocast("cpu", dtype=dtype)

    for method in METHODS:
        found = Explainer(tiny, TargetLayer(name="relu"), method=method, autocast=autocast)(IMAGE, both)
        full = Explainer(tiny, TargetLayer(name="relu"), method=method)(IMAGE, both)
        assert found.maps.dtype == found.logits.dtype == torch.float32
        assert torch.allclose(found.maps, full.maps, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


def test_an_unknown_method_and_a_layer_without_influence_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(UsageError, match=r"no explanation method 'gradcam\+'. Did you mean 'gradcam\+\+'"):
        Explainer(network, TargetLayer(name="0"), method="gradcam+")
    network.add_module("aside", nn.Identity())

    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.unused, self.skipped = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            self.unused(images)
            return self.seen(images).mean((2, 3))

    images = torch.rand(1, 3, 2, 2)
    with pytest.raises(UsageError, match="does not depend on this layer"):
        Explainer(Blind(), TargetLayer(name="unused"))(images, best)
    with pytest.raises(UsageError, match="--layer skipped: the network does not run this layer"):
        Explainer(Blind(), TargetLayer(name="skipped"))(images, best)
