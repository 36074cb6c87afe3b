"""Test the properties that all networks of cvkit share: names, sizes, channels, seeds, gradients and precision."""

import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS
from cvkit.errors import UsageError
from cvkit.models.published.libraries import torchvision_names
from cvkit.tasks.classification.networks.build import build
from tests.tasks.classification.networks.shapes import on_meta


def smallest(name: str, channels: int | None = None, classes: int = 4) -> tuple[nn.Module, torch.Tensor]:
    """Build a network for images of its smallest size, with a batch of three images."""
    facts = CLASSIFIERS[name]
    channels = facts.channels if channels is None else channels
    size = (facts.min_size, facts.min_size)
    torch.manual_seed(0)
    return build(name, classes, size, channels), torch.randn(3, channels, *size)


def test_names_are_those_of_no_other_model() -> None:
    for name, facts in CLASSIFIERS.items():
        assert name == facts.name
        assert name not in torchvision_names() and name not in SALIENCY_MODELS
    assert all(facts.summary and facts.source for facts in CLASSIFIERS.values())
    assert all(min(facts.size) >= facts.min_size for facts in CLASSIFIERS.values())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_mean_and_deviation_apply_to_the_default_channels(name: str) -> None:
    facts = CLASSIFIERS[name]
    assert len(facts.mean) == len(facts.std) and len(facts.mean) in (1, facts.channels) and min(facts.std) > 0


def test_an_unknown_name_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no network 'lenet' in cvkit. Did you mean 'lenet5'"):
        build("lenet", 10, (32, 32))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_images_that_are_too_small_are_an_error_with_the_smallest_size(name: str) -> None:
    least = CLASSIFIERS[name].min_size
    with pytest.raises(
        UsageError, match=f"{name} needs images of at least {least}x{least} pixels, not 300x{least - 1}"
    ):
        build(name, 10, (300, least - 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_sizes_and_channels_give_one_logit_per_class(name: str, channels: int) -> None:
    least = CLASSIFIERS[name].min_size
    for size in ((least, least), (least, least + 9), (224, 180), (97, 131)):
        network = on_meta(partial(build, name, 7, size, channels))
        assert network(torch.empty(2, channels, *size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", [name for name, facts in CLASSIFIERS.items() if facts.channels == 1])
def test_a_network_of_grey_images_converts_colour_images(name: str) -> None:
    network, images = smallest(name)
    network.eval()
    red, green, blue = torch.randn(3, 2, *images.shape[2:])
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601
    with torch.no_grad():
        torch.testing.assert_close(network(torch.stack([red, green, blue], 1)), network(grey[:, None]))
        torch.testing.assert_close(network(images.repeat(1, 3, 1, 1)), network(images))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_only_networks_of_fixed_size_refuse_another_size(name: str) -> None:
    facts = CLASSIFIERS[name]
    network = on_meta(partial(build, name, 7, facts.size, facts.channels))
    images = torch.empty(2, facts.channels, facts.size[0] + 64, facts.size[1] + 64, device="meta")
    if facts.fixed_size:
        with pytest.raises(RuntimeError, match=re.escape("must have same reduction dim")):
            network(images)
    else:
        assert network(images).shape == (2, 7)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_seed_determines_weights_and_outputs_and_a_state_dict_restores_them(name: str) -> None:
    first, images = smallest(name)
    second, _ = smallest(name)
    for value, again in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(value, again)
    with torch.no_grad():
        logits = first.eval()(images)
        assert torch.equal(second.eval()(images), logits)
        assert logits.std() > 0
        for value in second.state_dict().values():
            value.zero_()
        assert not torch.equal(second(images), logits)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second(images), logits)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_gradients_reach_every_parameter(name: str) -> None:
    network, images = smallest(name)
    F.cross_entropy(network.train()(images), torch.tensor([0, 1, 3])).backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, parameter


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_are_float32_under_autocast_and_sum_to_no_probability(name: str) -> None:
    network, images = smallest(name)
    network.eval()
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(images)
    assert rounded.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05 * exact.abs().max().item())
    assert not torch.allclose(exact.sum(1), torch.ones(3))  # no softmax


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_last_layer_is_called_out(name: str) -> None:
    network = on_meta(partial(build, name, 4, CLASSIFIERS[name].size))
    last_name, last = list(network.named_modules())[-1]
    assert last_name == "out" and isinstance(last, nn.Linear) and last.out_features == 4
