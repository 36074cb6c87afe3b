"""Test that images whose data ends early are refused, and that whole images are not."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvkit.data.images import read_image, read_map
from cvkit.errors import DataError
from tests.corpus import by_pillow, encode, noise, png

JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart in each block": {"restart_marker_blocks": 1},
    "restart in each row": {"restart_marker_rows": 1},
    "progressive with restart": {"progressive": True, "restart_marker_rows": 1},
}


def resized_header(jpeg: bytes, height: int, width: int) -> bytes:
    """Return a JPEG whose header gives another size."""
    frame = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_header_promises_more_than_its_data_is_refused(
    tmp_path: Path, mode: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "x.jpg"
    jpeg = encode(Image.fromarray(noise(64, 64)).convert(mode), "JPEG", quality=90, **options)
    path.write_bytes(jpeg)
    assert read_image(path).shape == (64, 64, 3)
    for height, width in ((65, 64), (72, 64), (80, 64), (2000, 64), (64, 65), (64, 80)):
        path.write_bytes(resized_header(jpeg, height, width))
        for read in (read_image, read_map):
            with pytest.raises(DataError, match=r"x\.jpg: damaged image \(the data ends before the last pixel\)"):
                read(path)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_whole_jpeg_that_ends_with_grey_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = noise(64, 64).copy()
    for begin in (0, 40):
        pixels[begin:] = 128
        content = encode(Image.fromarray(pixels), "JPEG", **options)
        (tmp_path / "x.jpg").write_bytes(content + b"a thumbnail behind the image" * 100)
        np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), by_pillow(content))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_whole_png_that_ends_with_black_is_read(tmp_path: Path, mode: str) -> None:
    black = np.zeros((5, 9), np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(black)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "x.png")
    read_image(tmp_path / "x.png")


def test_a_png_with_too_few_rows_is_refused(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + line.tobytes() for line in noise())
    for count, extra in ((0, 0), (1, 1), (0, 3)):
        data = zlib.compress(rows[: len(rows) - count])
        (tmp_path / "x.png").write_bytes(png((noise().shape[0] + extra, noise().shape[1]), 2, 8, data))
        if count or extra:
            with pytest.raises(DataError, match="damaged image"):
                read_image(tmp_path / "x.png")
        else:
            np.testing.assert_array_equal(read_image(tmp_path / "x.png"), noise())


def test_an_interlaced_png_with_too_little_data_is_refused(tmp_path: Path) -> None:
    # Adam7: passes 1 and 2 of an 8x8 image have one pixel each, then 1x2, 2x2, 2x4, 4x4 and 4x8 pixels.
    sizes = ((1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8))
    passes = [b"".join(b"\0" + b"\x63" * width for _ in range(height)) for height, width in sizes]
    for count in range(5, 8):
        content = bytearray(png((8, 8), 0, 8, zlib.compress(b"".join(passes[:count]))))
        content[28] = 1
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        (tmp_path / "x.png").write_bytes(content)
        if count == 7:
            assert (read_image(tmp_path / "x.png") == 0x63).all()
        else:
            with pytest.raises(DataError, match="damaged image"):
                read_image(tmp_path / "x.png")


def test_the_check_decodes_only_the_first_picture_of_a_file(tmp_path: Path) -> None:
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    buffer = io.BytesIO()
    grey.save(buffer, "MPO", save_all=True, append_images=[grey])
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    assert (read_image(tmp_path / "x.jpg") == 128).all()
