import math
from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.tasks.attribution import faithfulness as module
from cvkit.tasks.attribution import imputation
from cvkit.tasks.attribution.faithfulness import PERCENTILES, Faithfulness, blur, faithfulness
from cvkit.tasks.attribution.imputation import impute

# pytorch-grad-cam converts tensors to numpy with a call that numpy 2 warns of.
OLD_NUMPY = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")


def red(images: Tensor) -> Tensor:
    """Return the mean of the first channel as the probability."""
    return images[:, 0].mean((1, 2)).clamp(0, 1)


def weighted(weights: list[list[float]]) -> Callable[[Tensor], Tensor]:
    """Return a function whose probability is a weighted sum of the first channel."""
    return lambda images: (images[:, 0] * torch.tensor(weights)).sum((1, 2))


def of_red(rows: list[list[float]]) -> Tensor:
    channel = torch.tensor(rows)
    return torch.stack((channel, torch.zeros_like(channel), -channel))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blob(height: int, width: int) -> Tensor:
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    return torch.exp(-4 * ((y - 0.1) ** 2 + (x + 0.2) ** 2))


def top(heat: Tensor, fraction: float) -> Tensor:
    """Return a mask (1, H, W) of the given fraction of pixels with the largest heat."""
    return (heat >= heat.flatten().quantile(1 - fraction))[None]


@pytest.fixture
def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOISE_SIGMA", 0.0)


IMAGE = of_red([[0.8, 0.4], [0.2, 0.2]])
HEAT = torch.tensor([[1.0, 0.5], [0.25, 0.0]])


def test_drop_and_deletion_by_hand() -> None:
    found = faithfulness(IMAGE, HEAT, red, steps=4)
    # p = 1.6 / 4; masked (0.8 + 0.2 + 0.05 + 0) / 4
    assert found.drop == pytest.approx((0.4 - 0.2625) / 0.4)
    assert found.increase == 0.0
    # p falls 0.4 0.2 0.1 0.05 0
    assert found.deletion == pytest.approx((0.2 + 0.2 + 0.1 + 0.05) / 4)


def test_the_increase_by_hand() -> None:
    # The pixels that lower p have heat 0: p of the masked image is 0.9 / 4, p of the whole image 0.4 / 4
    found = faithfulness(of_red([[0.9, 0.0], [0.0, -0.5]]), HEAT, red)
    assert (found.drop, found.increase) == (0.0, 1.0)


def test_the_insertion_by_hand() -> None:
    found = faithfulness(IMAGE, HEAT, red, steps=4)
    pixels = blur(IMAGE)[0].flatten().tolist()
    curve = [sum(pixels) / 4]
    for i, value in enumerate(IMAGE[0].flatten().tolist()):
        pixels[i] = value
        curve.append(sum(pixels) / 4)
    assert found.insertion == pytest.approx((sum(curve) - curve[0] / 2 - curve[-1] / 2) / 4)


@pytest.mark.usefixtures("no_noise")
def test_road_by_hand() -> None:
    # Of 5 pixels in a row, 4, 3, 2 and 1 are imputed from their neighbours. Only the hottest pixel changes p. If the
    # most relevant pixels are removed first, p is always 0; if the least relevant are removed first, p is 0.2, and 1
    # when the other four are imputed from the hottest one.
    image, heat = of_red([[1.0, 0.0, 0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.8, 0.6, 0.4, 0.2]])
    assert faithfulness(image, heat, red).road == pytest.approx((1 + 0.2 + 0.2 + 0.2) / 4 / 2, abs=1e-5)
    assert faithfulness(image, 1 - heat, red).road == pytest.approx(-0.2, abs=1e-5)


def test_the_area_under_a_constant_probability_is_the_probability() -> None:
    found = faithfulness(IMAGE, HEAT, lambda images: torch.full((len(images),), 0.3), steps=7)
    assert astuple(found) == pytest.approx((0.0, 0.0, 0.3, 0.3, 0.0))


def test_the_drop_is_zero_if_the_probability_is_zero() -> None:
    found = faithfulness(torch.zeros(3, 6, 6), blob(6, 6), lambda images: images.new_zeros(len(images)))
    assert astuple(found) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_pixels_of_equal_heat_are_removed_row_by_row() -> None:
    score = weighted([[0.1, 0.2], [0.3, 0.4]])
    flat = faithfulness(of_red([[1.0, 1.0], [1.0, 1.0]]), torch.full((2, 2), 0.5), score, steps=4)
    assert flat.deletion == pytest.approx((0.5 + 0.9 + 0.7 + 0.4) / 4)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_constant_map_has_finite_scores_and_road_is_zero(level: float) -> None:
    found = faithfulness(noise(3, 12, 10), torch.full((12, 10), level), lambda images: images.mean((1, 2, 3)).sigmoid())
    assert all(math.isfinite(value) for value in astuple(found))
    assert found.road == 0.0


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 1), (2, 5)])
def test_images_of_few_pixels_have_finite_scores(size: tuple[int, int]) -> None:
    found = faithfulness(noise(3, *size), blob(*size), lambda images: images.mean((1, 2, 3)).sigmoid(), steps=50)
    assert all(math.isfinite(value) for value in astuple(found))


def test_a_faithful_map_scores_better_than_its_opposite() -> None:
    heat = blob(32, 32)
    image = heat * torch.ones(3, 1, 1) + 0.05 * noise(3, 32, 32)

    def score(images: Tensor) -> Tensor:
        return (images * heat).mean((1, 2, 3)).mul(20).sub(2).sigmoid()

    good, bad = faithfulness(image, heat, score), faithfulness(image, 1 - heat, score)
    assert good.drop < bad.drop
    assert good.deletion < bad.deletion
    assert good.insertion > bad.insertion
    assert good.road > 0 > bad.road


def test_the_scores_do_not_depend_on_the_batch_size() -> None:
    image, heat = noise(3, 20, 24), blob(20, 24)
    sizes: list[int] = []

    def score(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images[:, 1].flatten(1)[:, ::7].mean(1).sigmoid()

    one = faithfulness(image, heat, score, batch_size=64)
    assert sizes == [64, 10]
    sizes.clear()
    other = faithfulness(image, heat, score, batch_size=5, steps=32)
    assert sizes == [5] * 14 + [4]
    assert astuple(other) == pytest.approx(astuple(one), abs=1e-7)


def test_noise_depends_on_the_seed_only_and_changes_removed_pixels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    image, heat = noise(3, 40, 40), blob(40, 40)

    def road_images(seed: int) -> Tensor:
        seen: list[Tensor] = []
        faithfulness(image, heat, lambda images: seen.append(images) or red(images), seed=seed)  # type: ignore[func-returns-value]
        return torch.cat(seen)[-2 * len(PERCENTILES) :]

    state = torch.get_rng_state()
    first, again, other = road_images(7), road_images(7), road_images(8)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    monkeypatch.setattr(module, "NOISE_SIGMA", 0.0)
    added = first - road_images(7)
    removed = (first != image).any(1, keepdim=True).expand_as(first)
    assert not added[~removed].any()
    assert added[removed].std().item() == pytest.approx(0.01, rel=0.03)
    # 80, 60, 40 and 20 percent, in both orders
    assert removed[:, 0].float().mean((1, 2)).tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2] * 2, abs=0.001)


def test_the_blur_equals_that_of_rise() -> None:
    from scipy.ndimage import gaussian_filter

    dot = np.zeros((11, 11))
    dot[5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(dot, 5)).float()
    image = noise(3, 21, 34)
    expected = F.conv2d(image[:, None], kernel[None, None], padding=5)[:, 0]
    assert torch.allclose(blur(image), expected, atol=1e-6)
    assert (
        kernel[5, 5] / kernel[0, 0] < 1.05 * 2
    )  # the kernel includes the tails; a truncated Gaussian would have exp(1) = 2.72 here


def test_one_removed_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = of_red([[1.0, 2.0, 3.0], [4.0, 99.0, 6.0], [7.0, 8.0, 19.0]])
    removed = torch.zeros(2, 3, 3, dtype=torch.bool)
    removed[0, 1, 1] = removed[1, 0, 0] = True
    filled = impute(image, removed)
    assert filled[0, :, 1, 1].tolist() == pytest.approx([20 / 6 + 30 / 12, 0.0, -20 / 6 - 30 / 12], rel=1e-5)
    # In the corner: 2 and 4 weigh 1/6 each, 99 weighs 1/12
    assert filled[1, 0, 0, 0].item() == pytest.approx((6 / 6 + 99 / 12) / (5 / 12), rel=1e-5)
    assert torch.equal(filled[0][:, ~removed[0]], image[:, ~removed[0]])


def test_removed_pixels_in_a_row_are_interpolated_linearly() -> None:
    filled = impute(of_red([[1.0, 50.0, -50.0, 4.0]]), torch.tensor([[[False, True, True, False]]]))
    assert filled[0, 0].tolist() == [pytest.approx([1.0, 2.0, 3.0, 4.0], abs=1e-4)]


@pytest.mark.parametrize("size", [(1, 30), (2, 31), (9, 4), (24, 31), (33, 16)])
@pytest.mark.parametrize("fraction", [0.2, 0.8, 0.97])
def test_imputed_pixels_solve_the_equations(size: tuple[int, int], fraction: float) -> None:
    image = noise(3, *size)
    removed = torch.cat((top(blob(*size), fraction), top(noise(*size, seed=1), fraction), top(-blob(*size), fraction)))
    filled = impute(image, removed).double()
    weights = torch.tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]], dtype=torch.float64)[None, None] / 12
    for mask, values in zip(removed, filled, strict=True):
        matrix = F.conv2d(torch.eye(mask.numel(), dtype=torch.float64).view(-1, 1, *size), weights, padding=1)
        matrix = matrix.flatten(1) / matrix.flatten(1).sum(1, keepdim=True)
        out, known = mask.flatten(), image.double().flatten(1)
        exact = torch.linalg.solve(
            torch.eye(int(out.sum()), dtype=torch.float64) - matrix[out][:, out],
            matrix[out][:, ~out] @ known[:, ~out].T,
        )
        assert (values.flatten(1)[:, out] - exact.T).abs().max() < 5e-5


def test_without_removed_pixels_the_image_is_unchanged() -> None:
    image = noise(3, 9, 8)
    assert torch.equal(impute(image, torch.zeros(2, 9, 8, dtype=torch.bool)), image.expand(2, -1, -1, -1))


def test_a_large_hole_needs_few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation, "MAX_ITERATIONS", 25)
    impute(noise(3, 224, 224), top(blob(224, 224), 0.8))
    monkeypatch.setattr(imputation, "MAX_ITERATIONS", 3)
    with pytest.raises(RuntimeError, match="did not converge"):
        impute(noise(3, 224, 224), top(blob(224, 224), 0.8))


@OLD_NUMPY
def test_imputed_images_equal_those_of_pytorch_grad_cam() -> None:
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    reference = road.NoisyLinearImputer(noise=0.0)
    image = F.interpolate(noise(1, 3, 16, 16), (120, 90), mode="bicubic")[0] + 0.2 * noise(3, 120, 90, seed=1)
    heat = blob(120, 90)
    removed = torch.cat([top(sign * heat, fraction) for sign in (1, -1) for fraction in (0.2, 0.8)])
    for mask, filled in zip(removed, impute(image, removed), strict=True):
        assert (filled - reference(image, (~mask).float())).abs().max() < 5e-5


@OLD_NUMPY
@pytest.mark.usefixtures("no_noise")
def test_road_equals_that_of_pytorch_grad_cam(monkeypatch: pytest.MonkeyPatch) -> None:
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    # ROAD of pytorch-grad-cam sets the noise of its imputer by the default argument only.
    monkeypatch.setattr(road.NoisyLinearImputer.__init__, "__defaults__", (0.0, road.neighbors_weights))
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1568, 4), torch.nn.Softmax(1)
    ).eval()
    # All values differ, because pytorch-grad-cam orders equal values differently, and 1 - heat is exact.
    heat = torch.randperm(1024, generator=torch.Generator().manual_seed(2)).view(32, 32) / 1024
    image = 3 * noise(3, 32, 32)
    expected = road.ROADCombined(list(PERCENTILES))(image[None], heat[None].numpy(), [lambda out: out[2]], model)
    assert abs(expected[0]) > 1e-3
    assert faithfulness(image, heat, lambda images: model(images)[:, 2]).road == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["image", "heat"])
def test_a_value_that_is_not_finite_makes_every_score_undefined(where: str, bad: float) -> None:
    image, heat = IMAGE.clone(), HEAT.clone()
    (image if where == "image" else heat)[..., 0, 0] = bad
    assert all(math.isnan(value) for value in astuple(faithfulness(image, heat, red)))


def test_a_probability_that_is_not_finite_makes_every_score_undefined() -> None:
    found = faithfulness(IMAGE, HEAT, lambda images: torch.full((len(images),), torch.nan))
    assert all(math.isnan(value) for value in astuple(found))


@pytest.mark.parametrize(
    ("image", "heat"),
    [
        (torch.zeros(1, 3, 4, 4), torch.zeros(4, 4)),
        (torch.zeros(1, 4, 4), torch.zeros(4, 4)),
        (torch.zeros(3, 4, 4), torch.zeros(4, 5)),
        (torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)),
        (torch.zeros(3, 0, 4), torch.zeros(0, 4)),
        (torch.zeros(3, 4, 4, dtype=torch.float64), torch.zeros(4, 4)),
        (torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8)),
    ],
)
def test_other_shapes_and_dtypes_are_refused(image: Tensor, heat: Tensor) -> None:
    with pytest.raises(ValueError, match="must be"):
        faithfulness(image, heat, red)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"batch_size": 0}])
def test_counts_below_one_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"need steps >= 1 and batch_size >= 1"):
        faithfulness(IMAGE, HEAT, red, **settings)


def test_a_score_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one probability per image, \(16,\), not \(16, 1\)"):
        faithfulness(IMAGE, HEAT, lambda images: red(images)[:, None])


def test_the_scores_are_computed_without_gradients() -> None:
    weight = torch.ones((), requires_grad=True)
    seen: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        seen.append(red(images) * weight)
        return seen[-1]

    assert isinstance(faithfulness(IMAGE, HEAT, score), Faithfulness)
    assert not any(part.requires_grad for part in seen)
