"""Test that augmentation changes image, map and fixations alike."""

import numpy as np
import pytest
import torch

from cvkit.tasks.saliency.data.augment import MIN_SCALE, _enlarge_counts, augment


def sample(height: int = 48, width: int = 64) -> dict[str, torch.Tensor]:
    """Return a sample with a bright spot at column 15, row 10, in image, map and fixations."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spot = torch.exp(-((x - 15.0) ** 2 + (y - 10.0) ** 2) / 18)
    counts = torch.zeros((1, height, width), dtype=torch.int16)
    counts[0, 10, 15] = 3
    return {"image": (spot * 255).to(torch.uint8).expand(3, -1, -1).clone(), "target": spot[None], "counts": counts}


def test_a_flip_mirrors_image_map_and_fixations_or_none() -> None:
    original = sample()
    seen = set()
    for seed in range(8):
        out = augment(original, "flip", np.random.default_rng(seed))
        flipped = bool(out["counts"][0, 10, 64 - 1 - 15] == 3)
        seen.add(flipped)
        for name, value in original.items():
            assert torch.equal(out[name], value.flip(-1) if flipped else value)
    assert seen == {True, False}


@pytest.mark.parametrize("seed", range(12))
def test_a_crop_keeps_shapes_dtypes_range_and_alignment(seed: int) -> None:
    original = sample()
    out = augment(original, "full", np.random.default_rng(seed))
    for name, value in original.items():
        assert out[name].shape == value.shape and out[name].dtype == value.dtype
    assert float(out["target"].max()) == pytest.approx(1) and out["target"].min() >= 0
    if out["counts"].any():
        row, column = np.argwhere(out["counts"][0].numpy())[0]
        for name in ("target", "image"):
            top = int(out[name][0].float().argmax())
            assert abs(top // 64 - row) <= 2 and abs(top % 64 - column) <= 2


def test_augmentation_does_not_change_its_input() -> None:
    original = sample()
    before = {name: value.clone() for name, value in original.items()}
    augment(original, "full", np.random.default_rng(0))
    assert all(torch.equal(original[name], before[name]) for name in original)


def test_a_crop_never_excludes_the_whole_target() -> None:
    original = sample()
    original["target"] = torch.zeros_like(original["target"])
    original["target"][0, 0, 0] = 1.0  # the upper left corner, which most crops exclude
    for seed in range(30):
        out = augment(original, "full", np.random.default_rng(seed))
        assert out["target"].max() == 1


def test_a_sample_without_counts_is_augmented() -> None:
    original = sample()
    del original["counts"]
    assert augment(original, "full", np.random.default_rng(1)).keys() == {"image", "target"}


def test_counts_move_with_their_pixel() -> None:
    counts = torch.zeros((1, 3, 3), dtype=torch.int16)
    counts[0, 0, 0], counts[0, 2, 1] = 2, 5
    # From 3 to 4 pixels the centres 0.5, 1.5, 2.5 go to 0.67, 2.0, 3.33: pixels 0, 2, 3.
    moved = _enlarge_counts(counts, (4, 4))
    assert moved[0, 0, 0] == 2 and moved[0, 3, 2] == 5 and moved.sum() == 7 and moved.dtype == torch.int16


def test_enlarging_never_loses_a_fixation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = (int(rng.integers(round(side * MIN_SCALE), side + 1)) for side in (48, 64))
        counts = torch.from_numpy(rng.integers(0, 3, (1, height, width)).astype(np.int16))
        assert _enlarge_counts(counts, (48, 64)).sum() == counts.sum()
