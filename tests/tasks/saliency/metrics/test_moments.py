import pytest
import torch

from cvkit.tasks.saliency.metrics import maps
from cvkit.tasks.saliency.metrics.moments import deviation_products, mean_and_deviation


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("pixels", [7, 64])
def test_blocks_give_the_moments_of_the_whole(offset: float, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(2, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + offset
    other = torch.rand(2, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    monkeypatch.setattr(maps, "CPU_PIXELS", pixels)
    mean, std = mean_and_deviation(rows, correction=1)
    expected = torch.std_mean(rows, dim=1, keepdim=True)
    # The values of a row around 1e6 have 10 digits behind the point, whatever the formula.
    assert torch.allclose(mean, expected[1], rtol=1e-14, atol=0)
    assert torch.allclose(std, expected[0], rtol=1e-13 if offset < 1e6 else 1e-9, atol=0)
    product, first, second = deviation_products(rows, other)
    a, b = (each - each.mean(1, keepdim=True) for each in (rows, other))
    for got, want in ((product, a * b), (first, a * a), (second, b * b)):
        assert torch.allclose(got, want.sum(1, keepdim=True), rtol=1e-9, atol=1e-12)


def test_a_small_variation_keeps_its_digits() -> None:
    rows = 1 + 1e-9 * torch.arange(1000, dtype=torch.float64)[None]
    _, std = mean_and_deviation(rows, correction=0)
    assert std.item() == pytest.approx(torch.std(rows - 1, correction=0).item(), rel=1e-9)
