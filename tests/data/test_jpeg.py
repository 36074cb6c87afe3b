"""Test that the fast JPEG decoder gives Pillow's pixels, and leaves everything unusual to Pillow."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvkit.data import jpeg
from cvkit.data.images import read_image


def photograph(height: int, width: int) -> Image.Image:
    """Return smooth colours with some noise, which end in a dark corner."""
    rng = np.random.default_rng(height * width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noisy = np.clip(pixels + rng.integers(-20, 20, pixels.shape), 0, 255).astype(np.uint8)
    noisy[-16:, -16:] = 9
    return Image.fromarray(noisy)


def encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def fast(path: Path) -> np.ndarray | None:
    with Image.open(path) as image:
        return jpeg.decode_jpeg(image)


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("size", [(16, 16), (33, 17), (1, 1), (120, 161), (7, 300)])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0, "quality": 95},
        {"subsampling": 1, "quality": 50},
        {"subsampling": 2, "quality": 75},
        {"subsampling": "4:1:1"},
        {"progressive": True},
        {"restart_marker_blocks": 2},
        {"keep_rgb": True},
    ],
    ids=str,
)
def test_the_pixels_are_those_of_pillow(tmp_path: Path, size: tuple[int, int], options: dict[str, Any]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(photograph(*size), **options))
    pixels = fast(path)
    assert pixels is not None and np.array_equal(pixels, by_pillow(path))
    assert np.array_equal(read_image(path), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(photograph(40, 60), exif=exif))
    assert fast(path) is not None
    with Image.open(path) as image:
        from PIL import ImageOps

        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path), upright)


def test_the_first_image_of_several_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photograph(40, 60).save(path, "MPO", save_all=True, append_images=[photograph(40, 61)])
    assert np.array_equal(read_image(path), by_pillow(path))


def test_everything_else_is_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(photograph(64, 64))
    contents = {
        "grey.jpg": encode(photograph(32, 32).convert("L")),
        "cmyk.jpg": encode(photograph(32, 32).convert("CMYK")),
        "cut.jpg": whole[: len(whole) // 2],
        "ends-in-grey.jpg": encode(Image.new("RGB", (32, 32), (128, 128, 128))),
        "damaged.jpg": whole[:-200] + b"\xff\xd0\xff\xd5" + whole[-196:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert fast(tmp_path / name) is None, name
    photograph(16, 16).save(tmp_path / "a.png")
    assert fast(tmp_path / "a.png") is None
    (tmp_path / "whole.jpg").write_bytes(whole)
    monkeypatch.setattr(jpeg, "MAX_BYTES", 100)
    assert fast(tmp_path / "whole.jpg") is None
    assert np.array_equal(read_image(tmp_path / "whole.jpg"), by_pillow(tmp_path / "whole.jpg"))


@pytest.mark.shared
def test_the_pixels_of_photographs_are_those_of_pillow(shared: Path) -> None:
    folders = ("osie/images/val", "imagenet-samples", "ants-bees", "flowers5")
    paths = [path for folder in folders for path in sorted((shared / "data" / folder).rglob("*.jpg"))[:100]]
    decoded = {path: fast(path) for path in paths}
    assert len(paths) >= 300 and sum(pixels is None for pixels in decoded.values()) <= len(paths) // 10
    for path, pixels in decoded.items():
        assert pixels is None or np.array_equal(pixels, by_pillow(path)), path
