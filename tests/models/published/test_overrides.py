"""Test the preprocessing that options change, against timm's own arithmetic and transforms."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.catalog import Preprocessing
from cvkit.config import PreprocessingConfig
from cvkit.data.fit import fit_crop, place_map
from cvkit.errors import UsageError
from cvkit.models.published.libraries import published_crop_pct, timm_entries, timm_names
from cvkit.models.published.overrides import resize_for, with_overrides
from cvkit.models.published.pretrained import facts

SIZES = ((375, 500), (501, 333), (224, 224), (31, 30), (19, 1), (1, 1), (700, 224))
OPTIONS: tuple[dict[str, Any], ...] = (
    {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    {"crop_pct": 0.95},
    {"input_size": (192, 192), "interpolation": "bicubic"},
    {"input_size": (160, 224)},
    {"input_size": (256, 128), "crop_pct": 1.0},
    {"crop_mode": "squash", "crop_pct": 0.9},
    {"crop_mode": "border", "crop_pct": 1.0},
    {"crop_mode": "border", "crop_pct": 0.875, "mean": (0.1, 0.5, 0.9)},
    {"crop_mode": "border", "input_size": (128, 240)},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("model", ["mobilenetv2_100", "efficientnet_b5", "tf_efficientnet_b1"])
def test_the_pixels_equal_those_of_timm_with_the_same_settings(model: str, options: dict[str, Any]) -> None:
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg
    from torchvision.transforms import functional as F

    entry = facts(f"timm:{model}")
    setting = get_pretrained_cfg(model)
    assert setting is not None
    size = options.get("input_size")
    arguments = options | ({"input_size": (3, *size)} if size else {})
    transform = create_transform(**resolve_data_config(arguments, pretrained_cfg=setting.to_dict()), is_training=False)
    steps = with_overrides(entry.preprocessing, PreprocessingConfig(**options), published_crop_pct(entry))
    for shape in SIZES:
        image = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), dtype=np.uint8)
        ready = F.normalize(fit_crop(image, steps)[0] / 255, list(steps.mean), list(steps.std))
        assert torch.allclose(ready, transform(Image.fromarray(image)), rtol=0, atol=1e-6), shape


def test_without_options_nothing_changes() -> None:
    for model in timm_names(classifiers=True):
        for entry in timm_entries(model):
            assert with_overrides(entry.preprocessing, PreprocessingConfig()) == entry.preprocessing


def test_repeating_the_published_sizes_changes_nothing() -> None:
    for name in ("inception_v3", "vit_b_16", "timm:tf_efficientnet_b1", "timm:resnet18", "timm:volo_d4_448"):
        entry = facts(name)
        size = PreprocessingConfig(input_size=entry.preprocessing.crop, crop_mode=entry.preprocessing.mode)
        assert with_overrides(entry.preprocessing, size, published_crop_pct(entry)) == entry.preprocessing
        assert with_overrides(entry.preprocessing, size) == entry.preprocessing


def test_the_crop_fraction_is_that_of_timm_at_another_size() -> None:
    entry = facts("timm:tf_efficientnet_b1")  # 0.882 of 240: 272
    changed = with_overrides(entry.preprocessing, PreprocessingConfig(input_size=(288, 288)), published_crop_pct(entry))
    assert (entry.preprocessing.resize, changed.resize, changed.crop) == (272, 326, (288, 288))


def test_an_image_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"--crop-pct 0\.001 resizes images to 224000x224000 pixels.*larger --crop-pct"
    ):
        resize_for((224, 224), 0.001, "center")


def test_a_border_has_the_colour_of_the_mean_and_maps_leave_it_out() -> None:
    steps = Preprocessing(resize=(100, 100), crop=(100, 100), mean=(0.2, 0.4, 0.6), crop_mode="border")
    pixels, window = fit_crop(np.full((50, 200, 3), 255, dtype=np.uint8), steps)
    # 50x200 becomes 25x100; of 75 rows of border 37 lie above.
    assert pixels[:, 0, 0].tolist() == pixels[:, 99, 99].tolist() == [51, 102, 153]
    assert (pixels[:, 37:62] == 255).all()
    assert window.box == (-74, 0, 126, 200)
    values = np.zeros((100, 100), dtype=np.float32)
    values[37:62, 50:] = 1
    placed = place_map(values, window, (50, 200))
    assert placed[:, :95].max() == 0
    assert placed[5:45, 105:].min() == 1


def test_a_preprocessing_without_a_crop_mode_is_written_as_before() -> None:
    assert "crop_mode" not in Preprocessing(resize=256, crop=(224, 224)).as_dict()
    border = Preprocessing(resize=(9, 9), crop=(9, 9), crop_mode="border")
    assert Preprocessing(**border.as_dict()) == border
