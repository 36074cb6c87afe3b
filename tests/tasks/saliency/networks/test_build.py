"""Test the properties of all saliency networks: parameters, grids, sizes, freezing and precision."""

import copy

import pytest
import torch
from torch import nn

from cvkit.catalog import SALIENCY_MODELS
from cvkit.errors import DataError, UsageError, WeightsError
from cvkit.tasks.saliency.losses import mlnet_loss
from cvkit.tasks.saliency.networks.build import SaliencyModel, SaliencySpec, build


def conv(before: int, after: int, side: int = 3) -> int:
    return before * after * side * side + after


TO_CONV4_1 = (
    conv(3, 64) + conv(64, 64) + conv(64, 128) + conv(128, 128) + conv(128, 256) + 2 * conv(256, 256) + conv(256, 512)
)
TO_CONV5_3 = TO_CONV4_1 + 5 * conv(512, 512)
DECODER_TO_9 = 6 * conv(512, 512) + conv(512, 256) + 2 * conv(256, 256) + conv(256, 128) + conv(128, 128)
PARAMETERS = {
    "mlnet": (TO_CONV4_1, conv(896, 64) + conv(64, 1, 1)),
    "mlnet-paper": (TO_CONV5_3, conv(1280, 64) + conv(64, 1, 1) + 6 * 8),
    "encoder-decoder": (TO_CONV5_3, DECODER_TO_9 + conv(128, 512) + conv(512, 512) + conv(512, 1, 1)),
    "salgan": (TO_CONV5_3, DECODER_TO_9 + conv(128, 64) + conv(64, 64) + conv(64, 1, 1)),
}


def on_meta(spec: SaliencySpec) -> SaliencyModel:
    with torch.device("meta"):
        return build(spec)


@pytest.mark.parametrize("name", SALIENCY_MODELS)
def test_the_number_of_parameters_by_hand(name: str) -> None:
    model = on_meta(SaliencySpec.of(name))
    counts = tuple(
        sum(value.numel() for value in part) for part in (model.backbone_parameters(), model.head_parameters())
    )
    assert counts == PARAMETERS[name]
    assert sum(counts) == sum(value.numel() for value in model.parameters())


def test_the_number_of_parameters_equals_that_of_the_docs() -> None:
    assert {name: sum(counts) for name, counts in PARAMETERS.items()} == {
        "mlnet": 3_431_873, "mlnet-paper": 15_452_145, "encoder-decoder": 34_626_881, "salgan": 31_787_009,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("mlnet", (240, 320), (60, 80)),
        ("mlnet", (243, 325), (60, 81)),
        ("mlnet-paper", (480, 640), (60, 80)),
        ("mlnet-paper", (97, 39), (12, 4)),
        ("encoder-decoder", (224, 224), (224, 224)),
        ("encoder-decoder", (33, 47), (33, 47)),
        ("salgan", (192, 256), (192, 256)),
        ("salgan", (100, 70), (100, 70)),
    ],
)
def test_the_output_grid_of_each_network(name: str, size: tuple[int, int], grid: tuple[int, int]) -> None:
    model = on_meta(SaliencySpec.of(name))
    assert model(torch.empty(2, 3, *size, device="meta")).shape == (2, 1, *grid)
    assert model.stride == {"mlnet": 4, "mlnet-paper": 8}.get(name, 1)


@pytest.mark.parametrize("name", SALIENCY_MODELS)
def test_a_new_network_gives_a_finite_varying_map_at_the_smallest_size(name: str) -> None:
    torch.manual_seed(0)
    model = build(SaliencySpec.of(name)).eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 32, 35))
    assert maps.dtype == torch.float32 and torch.isfinite(maps).all()
    assert (maps > 0).float().mean() > 0.9
    assert maps.std() > 0
    with pytest.raises(DataError, match=f"{name} needs images of at least 32x32 pixels, not 31x40"):
        model(torch.zeros(1, 3, 31, 40))


@pytest.mark.parametrize("name", ["mlnet", "salgan"])
def test_the_map_is_float32_under_autocast(name: str) -> None:
    model = build(SaliencySpec.of(name)).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        exact = model(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(images)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


def test_a_map_that_is_zero_everywhere_gets_a_gradient_in_training() -> None:
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100", dropout=0.0))
    model.freeze_backbone()
    with torch.no_grad():
        model.output.bias.fill_(-100.0)  # type: ignore[union-attr, operator]
    images, target = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 16, 16)
    assert model(images).max() == 0
    optimizer = torch.optim.Adam(model.head_parameters(), lr=1.0)
    for _ in range(120):
        optimizer.zero_grad()
        mlnet_loss(model(images), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if model(images).detach().amax((1, 2, 3)).min() > 0:
            return
    pytest.fail("the map stayed zero")


def test_every_parameter_of_mlnet_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", prior=True))
    (model(torch.randn(1, 3, 32, 32)).square().mean() + model.penalty()).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, name


def test_the_prior_weights_positions_and_is_penalised() -> None:
    model = build(SaliencySpec.of("mlnet", prior=True, dropout=0.0)).eval()
    images = torch.randn(1, 3, 24 * 4, 32 * 4)
    with torch.no_grad():
        before = model(images)
        assert model.penalty().item() == 0
        model.prior.weight[0, 0, 2, 3] = 0.5  # type: ignore[union-attr, index, operator]
        after = model(images)
        ratio = (after / before)[0, 0]
    assert model.penalty().item() == pytest.approx(0.25 / 48)
    # each cell covers 4x4 of the 24x32 map; bilinear: its centre rows and columns hold (1 - 1/8)^2 of the weight
    assert ratio[9, 13].item() == pytest.approx(1 + 0.5 * 0.875**2, rel=1e-4)
    assert ratio[0, 0].item() == pytest.approx(1) and ratio[23, 31].item() == pytest.approx(1)


def test_a_prior_below_minus_one_never_makes_a_map_negative() -> None:
    model = build(SaliencySpec.of("mlnet", prior=True)).eval()
    with torch.no_grad():
        model.prior.weight.fill_(-3)  # type: ignore[union-attr, operator]
        assert model(torch.randn(1, 3, 32, 32)).min() == 0


def test_without_a_prior_the_penalty_is_zero() -> None:
    for name in ("mlnet", "salgan"):
        assert on_meta(SaliencySpec.of(name)).penalty().shape == ()
    assert build(SaliencySpec.of("mlnet")).penalty().item() == 0
    assert not on_meta(SaliencySpec.of("mlnet-paper", prior=False)).state_dict().keys() & {"prior.weight"}


def test_dropout_is_applied_in_training_only() -> None:
    model = build(SaliencySpec.of("mlnet"))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        model.eval()
        assert torch.equal(model(images), model(images))


def test_a_frozen_backbone_and_its_norms_stay_fixed_until_it_is_unfrozen() -> None:
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.training for norm in norms)
    model.freeze_backbone()
    model.train()
    assert model.training and model.dropout.training  # type: ignore[union-attr]
    assert not any(norm.training for norm in norms)
    before = copy.deepcopy(model.backbone.state_dict())
    model(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(value.grad is None for value in model.backbone_parameters())
    assert all(value.grad is not None for value in model.head_parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    model.unfreeze_backbone()
    assert all(norm.training for norm in norms)
    assert all(value.requires_grad for value in model.parameters())


def test_fixed_norms_stay_fixed_in_training_and_are_recorded_in_the_spec() -> None:
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    model.fix_norm()
    model.eval().train()
    assert not any(part.training for part in model.backbone.modules() if isinstance(part, nn.BatchNorm2d))
    assert model.backbone.training and all(value.requires_grad for value in model.parameters())
    again = build(SaliencySpec.from_dict(model.spec.as_dict()))
    assert not any(part.training for part in again.backbone.modules() if isinstance(part, nn.BatchNorm2d))


def test_spec_round_trip_takes_defaults_from_the_catalog() -> None:
    spec = SaliencySpec.of("mlnet-paper")
    assert spec.as_dict() == {
        "name": "mlnet-paper", "backbone": "vgg16", "dropout": 0.5, "prior": True, "fixed_norm": False,
    }  # fmt: skip
    assert SaliencySpec.from_dict(spec.as_dict()) == spec
    assert SaliencySpec.of("mlnet", dropout=0.0, prior=True) == SaliencySpec(name="mlnet", prior=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "mlnett"}, "Did you mean 'mlnet'"),
        ({"name": "salgan", "backbone": "resnet18"}, "salgan is built on VGG16"),
        ({"name": "salgan", "prior": True}, "cannot have a learned prior"),
        ({"name": "mlnet", "dropout": 1.0}, "dropout probability must be"),
    ],
)
def test_invalid_specs_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SaliencySpec(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{}, {"name": "mlnet", "depth": 3}, {"name": "mlnet", "prior": "yes"}])
def test_specs_with_unknown_fields_or_wrong_types_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        SaliencySpec.from_dict(values)
