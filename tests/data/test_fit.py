"""Test the conversion of photographs to classifier inputs, and the placement of maps on photographs."""

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.catalog import Preprocessing
from cvkit.data import fit
from cvkit.data.fit import Window, fit_crop, fit_squash, place_map

# Height and width: landscape, portrait, square, as large as a resize or a crop, odd, small, a line, a single pixel.
SIZES = [(375, 500), (501, 333), (256, 256), (224, 224), (232, 700), (223, 225), (7, 5), (60, 1), (1, 47), (1, 1)]
VARIANTS = [
    Preprocessing(resize=256, crop=(224, 224)),
    Preprocessing(resize=232, crop=(224, 224), interpolation="bicubic"),
    Preprocessing(resize=224, crop=(224, 224), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0)),
    Preprocessing(resize=342, crop=(299, 299)),
    Preprocessing(resize=195, crop=(224, 224), interpolation="bicubic"),  # larger than the image: padded
    Preprocessing(resize=64, crop=(71, 71)),
]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def name(preprocessing: Preprocessing) -> str:
    return f"{preprocessing.resize}-{preprocessing.crop[0]}-{preprocessing.interpolation}"


@pytest.mark.parametrize("preprocessing", VARIANTS, ids=name)
def test_the_pixels_equal_those_of_the_transform_of_torchvision(preprocessing: Preprocessing) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F
    from torchvision.transforms._presets import ImageClassification

    assert isinstance(preprocessing.resize, int)
    preset = ImageClassification(
        crop_size=preprocessing.crop[0],
        resize_size=preprocessing.resize,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=InterpolationMode(preprocessing.interpolation),
    )
    for size in SIZES:
        image = noise(*size)
        ours, _ = fit_crop(image, preprocessing)
        picture = Image.fromarray(image)
        resized = F.resize(
            picture, [preprocessing.resize], interpolation=InterpolationMode(preprocessing.interpolation)
        )
        assert ours.dtype == torch.uint8
        assert ours.is_contiguous()
        assert torch.equal(ours, F.pil_to_tensor(F.center_crop(resized, list(preprocessing.crop)))), size
        ready = F.normalize(
            F.convert_image_dtype(ours, torch.float32), list(preprocessing.mean), list(preprocessing.std)
        )
        assert torch.allclose(ready, preset(picture), rtol=0, atol=1e-6), size


@pytest.mark.parametrize(
    "model",
    [
        "resnet18",  # 235 to 224, bicubic
        "beit3_base_patch16_224",  # all of the shorter side
        "inception_resnet_v2",  # 299
        "volo_d4_448",  # 389 to 448: padded
        "dm_nfnet_f0",  # squashed, then cropped
        "efficientnet_b5",  # squashed to the whole input
        "test_vit",
    ],
)
def test_the_pixels_equal_those_of_the_evaluation_transform_of_timm(model: str) -> None:
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg
    from torchvision.transforms import functional as F

    from cvkit.models.published.pretrained import facts

    entry = facts(f"timm:{model}")
    setting = get_pretrained_cfg(model, allow_unregistered=False)
    assert setting is not None
    assert setting.tag == entry.tag
    preprocessing = entry.preprocessing
    transform = create_transform(**resolve_data_config({}, pretrained_cfg=setting.to_dict()), is_training=False)
    for size in ((375, 500), (501, 333), (224, 224), (31, 30), (19, 1), (1, 1)):
        image = noise(*size)
        ready = F.normalize(fit_crop(image, preprocessing)[0] / 255, list(preprocessing.mean), list(preprocessing.std))
        assert torch.allclose(ready, transform(Image.fromarray(image)), rtol=0, atol=1e-6), size


@pytest.mark.parametrize("size", [(375, 500), (501, 333), (90, 91)])
@pytest.mark.parametrize(
    "preprocessing",
    [*VARIANTS, Preprocessing(resize=(213, 213), crop=(192, 192)), Preprocessing(resize=224, crop=(200, 160))],
)
def test_the_window_is_the_position_of_the_crop(preprocessing: Preprocessing, size: tuple[int, int]) -> None:
    height, width = size
    middle = (height // 2 + 11, width // 2 - 17)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[middle[0] - 4 : middle[0] + 5, middle[1] - 4 : middle[1] + 5] = 255
    pixels, window = fit_crop(image, preprocessing)
    seen = pixels[0].double()
    found = []
    for side, (start, stop) in ((1, (window.top, window.bottom)), (0, (window.left, window.right))):
        weight = seen.sum(side)
        centre = float((weight * (torch.arange(len(weight)) + 0.5)).sum() / weight.sum())
        found.append(start + centre / len(weight) * (stop - start))
    assert found == pytest.approx([middle[0] + 0.5, middle[1] + 0.5], abs=0.1)


def test_the_window_of_a_crop_by_hand() -> None:
    # 300x400 becomes 256x341; of 341 columns 117 are left over, 58 of them (117 / 2, rounded to even) on the left.
    _, window = fit_crop(noise(300, 400), Preprocessing(resize=256, crop=(224, 224)))
    assert (window.top, window.bottom) == (16 * 300 / 256, 240 * 300 / 256)
    assert (window.left, window.right) == (58 * 400 / 341, 282 * 400 / 341)
    assert window.box == (19, 68, 281, 331)


def test_the_window_of_a_padded_crop_exceeds_the_photograph() -> None:
    pixels, window = fit_crop(np.full((100, 200, 3), 255, dtype=np.uint8), Preprocessing(resize=64, crop=(71, 71)))
    assert window.box == (-5, 44, 106, 155)
    # 7 rows are missing: 3 above, 4 below.
    assert pixels[:, :3].sum() == 0
    assert pixels[:, 67:].sum() == 0
    assert (pixels[:, 3:67] == 255).all()


def test_squash_resizes_the_whole_image_to_the_input_size() -> None:
    preprocessing = Preprocessing(resize=256, crop=(224, 200), interpolation="bicubic")
    image = noise(300, 401)
    pixels, window = fit_squash(image, preprocessing)
    assert window.box == (0, 0, 300, 401)
    whole = np.asarray(Image.fromarray(image).resize((200, 224), Image.Resampling.BICUBIC))
    assert torch.equal(pixels, torch.from_numpy(whole.copy()).permute(2, 0, 1))


def test_an_image_of_the_input_size_is_unchanged() -> None:
    image = noise(224, 224)
    image.setflags(write=False)  # like the arrays of Pillow
    for pixels, window in (fit_crop(image, VARIANTS[2]), fit_squash(image, VARIANTS[2])):
        assert torch.equal(pixels, torch.from_numpy(image.copy()).permute(2, 0, 1))
        assert window.box == (0, 0, 224, 224)


@pytest.mark.parametrize("size", [(300, 23), (23, 300), (90, 90)])
@pytest.mark.parametrize("preprocessing", [VARIANTS[0], VARIANTS[1], VARIANTS[4]], ids=name)
def test_only_the_middle_of_very_long_images_is_resized(
    monkeypatch: pytest.MonkeyPatch, preprocessing: Preprocessing, size: tuple[int, int]
) -> None:
    image = np.asarray(Image.fromarray(noise(9, 9)).resize(size[::-1], Image.Resampling.BICUBIC))  # smooth
    whole, window = fit_crop(image, preprocessing)
    monkeypatch.setattr(fit, "_MAX_RESIZED_PIXELS", 0)
    part, same = fit_crop(image, preprocessing)
    assert same == window
    assert (part.int() - whole.int()).abs().max() <= 2


def test_a_strip_of_the_maximum_length_of_a_jpeg_is_not_resized_as_a_whole() -> None:
    pixels, window = fit_crop(
        noise(65_000, 1), VARIANTS[0]
    )  # resized as a whole, it would have 256 x 16,640,000 pixels
    assert pixels.shape == (3, 224, 224)
    assert window.box == (32_500, 0, 32_501, 1)


WHOLE = Window(top=0, left=0, bottom=4, right=4)
CORNERS = np.array([[0.0, 1.0], [2.0, 3.0]], dtype=np.float32)
# Bilinear to twice the size: the positions are -0.25 (the edge: 0), 0.25, 0.75 and 1.25 (the edge: 1).
STEPS = np.array([0, 0.25, 0.75, 1])
ENLARGED = (STEPS[None, :] + 2 * STEPS[:, None]) / 3


def test_a_map_is_interpolated_bilinearly() -> None:
    placed = place_map(CORNERS, WHOLE, (4, 4))
    assert placed.dtype == np.float32
    assert np.allclose(placed, ENLARGED, atol=1e-6)


def test_the_map_is_zero_outside_of_the_window() -> None:
    placed = place_map(CORNERS + 5, Window(top=1, left=2.4, bottom=5, right=5.6), (7, 9))
    assert placed.shape == (7, 9)
    assert np.allclose(placed[1:5, 2:6], ENLARGED, atol=1e-6)
    assert placed.min() == 0
    assert placed.max() == 1
    placed[1:5, 2:6] = 0
    assert not placed.any()


def test_the_part_of_the_window_outside_of_the_photograph_is_cut_off() -> None:
    placed = place_map(CORNERS, Window(top=-1, left=-2, bottom=3, right=2), (3, 5))
    assert np.allclose(placed[:, :2], ENLARGED[1:, 2:], atol=1e-6)
    assert not placed[:, 2:].any()
    placed = place_map(CORNERS, Window(top=1, left=3, bottom=5, right=7), (3, 5))
    assert np.allclose(placed[1:, 3:], ENLARGED[:2, :2], atol=1e-6)
    assert not placed[:1].any()
    assert not placed[:, :3].any()


@pytest.mark.parametrize("size", [(57, 91), (300, 400), (3, 2)])
def test_a_map_ranges_from_exactly_0_to_exactly_1_inside_the_window(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(30, 0.7, (7, 7))
    for kind in (np.float64, np.float32, np.float16):
        placed = place_map(values.astype(kind), Window(top=0, left=0, bottom=size[0], right=size[1]), size)
        assert placed.min() == 0
        assert placed.max() == 1


def test_a_constant_map_is_all_zeros() -> None:
    for value in (0.0, 0.7, -3.0):
        placed = place_map(np.full((7, 7), value), Window(top=1, left=1, bottom=9, right=7), (10, 8))
        assert placed.shape == (10, 8)
        assert not placed.any()


def test_a_window_smaller_than_a_pixel_is_one_pixel() -> None:
    for top, bottom in ((2.1, 2.3), (1.8, 2.2), (1.6, 2.4)):
        window = Window(top=top, left=0, bottom=bottom, right=4)
        assert window.box == (2, 0, 3, 4)
        placed = place_map(CORNERS, window, (4, 4))
        assert np.allclose(placed[2], STEPS, atol=1e-6)
        assert not placed[[0, 1, 3]].any()
    # One pixel is constant.
    assert not place_map(CORNERS, Window(top=2.1, left=1.1, bottom=2.2, right=1.2), (4, 4)).any()
