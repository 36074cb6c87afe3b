import math

import pytest
import torch
from torch import Tensor, nn

from cvkit.tasks.saliency.networks.build import SaliencySpec, build
from cvkit.tasks.saliency.predictor import SaliencyPredictor, gaussian_blur


class Brightness(nn.Module):
    """Returns the positive part of the mean of the normalised channels at half the size."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images.mean(1, keepdim=True), 2).relu()


PLAIN = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_normalisation_resizing_and_scaling_by_hand() -> None:
    predictor = SaliencyPredictor(Brightness(), (2, 4), normalisation=PLAIN)
    images = torch.zeros(1, 3, 2, 4, dtype=torch.uint8)
    images[..., 2:] = 255  # normalised: -2 and +2
    torch.testing.assert_close(predictor.forward(images), torch.tensor([[[[0.0, 2.0]]]]))
    (result,) = predictor(images, [(1, 4)])
    # bilinear interpolation with align_corners=False: weights 0, .25, .75, 1
    torch.testing.assert_close(result, torch.tensor([[0.0, 0.25, 0.75, 1.0]]))


def test_an_all_zero_map_stays_zero_and_a_constant_one_becomes_one() -> None:
    predictor = SaliencyPredictor(Brightness(), (4, 4), normalisation=PLAIN)
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[1] = 200
    dark, flat = predictor(images, [(5, 7), (3, 3)], blur_px=1.5)
    assert dark.shape == (5, 7) and dark.abs().max() == 0
    torch.testing.assert_close(flat, torch.ones(3, 3))


def test_batch_size_and_grouping_do_not_change_results() -> None:
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    predictor = SaliencyPredictor(model, (48, 64))
    images = torch.randint(0, 256, (4, 3, 48, 64), dtype=torch.uint8)
    sizes = [(30, 40), (50, 20), (30, 40), (48, 64)]
    together = predictor(images, sizes, blur_px=2.0)
    assert model.training  # unchanged
    for i, size in enumerate(sizes):
        (alone,) = predictor(images[i : i + 1], [size], blur_px=2.0)
        assert alone.shape == size and alone.dtype == torch.float32
        assert alone.min() >= 0 and alone.max() == 1
        torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-4)


def test_lower_precision_is_close_and_still_float32() -> None:
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_100"))
    images = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    (exact,) = SaliencyPredictor(model, (48, 64))(images, [(48, 64)])
    (rounded,) = SaliencyPredictor(model, (48, 64), dtype=torch.bfloat16)(images, [(48, 64)])
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_every_image_needs_an_output_size() -> None:
    predictor = SaliencyPredictor(Brightness(), (4, 4))
    with pytest.raises(ValueError, match="2 images, but 1 output sizes"):
        predictor(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [(4, 4)])


def test_the_blur_of_a_point_is_a_gaussian() -> None:
    maps = torch.zeros(1, 1, 41, 41)
    maps[0, 0, 20, 20] = 1
    blurred = gaussian_blur(maps, 2.0)[0, 0]
    assert blurred.sum().item() == pytest.approx(1, rel=1e-5)
    assert (blurred[20, 23] / blurred[20, 20]).item() == pytest.approx(math.exp(-9 / 8), rel=1e-4)
    assert (blurred[22, 21] / blurred[20, 20]).item() == pytest.approx(math.exp(-5 / 8), rel=1e-4)


def test_a_blur_may_be_wider_than_the_map() -> None:
    torch.testing.assert_close(gaussian_blur(torch.ones(2, 1, 3, 5), 50.0), torch.ones(2, 1, 3, 5))
    assert gaussian_blur(torch.full((1, 1, 1, 1), 0.5), 3.0).item() == 0.5
