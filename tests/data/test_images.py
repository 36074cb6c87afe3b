"""Test reading of images and maps, and the errors for other files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvkit.data.arrays import read_array
from cvkit.data.images import image_size, open_image, read_image, read_map, resize_image, resize_map
from cvkit.errors import DataError
from cvkit.render.jpeg import encode_jpeg

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [80, 80, 80], [200, 200, 200]]], np.uint8)


def png(width: int, height: int, kind: int, depth: int, data: bytes, extra: bytes = b"") -> bytes:
    """Build a PNG by hand (PNG specification, section 5)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, CORNERS),
        (2, CORNERS[:, ::-1]),
        (3, CORNERS[::-1, ::-1]),
        (4, CORNERS[::-1]),
        (5, CORNERS.transpose(1, 0, 2)),
        (6, np.rot90(CORNERS, 1)),  # stored turned counterclockwise by 90 degrees
        (7, CORNERS[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(CORNERS, -1)),
    ],
)
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, stored: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), CORNERS)
    assert image_size(path) == (2, 3)


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [(b"\x01\x0e\x00\x02", b"\x01\x0e\x00\x05"), (b"MM\x00*", b"XX\x00*"), (b"\x01\x12\x00\x03", b"\x01\x12\x00\x02")],
)
def test_an_image_with_damaged_exif_data_is_read(tmp_path: Path, whole: bytes, damaged: bytes) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = 3
    Image.fromarray(CORNERS).save(tmp_path / "e.jpg", exif=exif)
    content = (tmp_path / "e.jpg").read_bytes()
    assert whole in content
    (tmp_path / "e.jpg").write_bytes(content.replace(whole, damaged))
    assert read_image(tmp_path / "e.jpg").shape == (2, 3, 3) and image_size(tmp_path / "e.jpg") == (2, 3)


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_a_transparent_palette_is_blended_with_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "p.gif", transparency=0)
    image.save(tmp_path / "p.png", transparency=0)
    for name in ("p.gif", "p.png"):
        assert read_image(tmp_path / name).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_alpha_is_blended_with_white(tmp_path: Path) -> None:
    pixels = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[100, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_grey_with_alpha_is_blended_with_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[7, 255], [0, 0]]], np.uint8)).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").tolist() == [[[7, 7, 7], [255, 255, 255]]]


def test_sixteen_bit_grey_is_scaled_by_its_depth(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    for name in ("g.png", "g.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert read_image(tmp_path / name)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 200]], np.uint16)).save(tmp_path / "dark.png")
    assert read_image(tmp_path / "dark.png")[0, :, 0].tolist() == [0, 1]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "c.jpg")[8, 8]
    assert red > 245 and green < 10 and blue < 10


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").tolist() == [[[255] * 3, [0] * 3]]


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "two.gif")[0, 0].tolist() == [255, 0, 0]


def test_a_float_image_is_clipped_and_its_nan_values_are_black(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 100.0, 300.0, np.nan]], np.float32)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif")[0, :, 0].tolist() == [0, 100, 255, 0]


def test_truncated_jpeg_is_damaged(tmp_path: Path) -> None:
    whole = encode_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg: damaged image"):
        read_image(tmp_path / "cut.jpg")
    with pytest.raises(DataError, match="damaged image"):
        read_map(tmp_path / "cut.jpg")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"hello, I am text\n", "text"), (b"", "an empty file"), (b"\x00\x01\xfe" * 30, "unknown content")],
)
def test_the_error_for_a_file_that_is_no_image_describes_its_content(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "x.png").write_bytes(content)
    for read in (read_image, read_map, image_size):
        with pytest.raises(DataError, match=rf"x\.png: not an image \({words}\)"):
            read(tmp_path / "x.png")


def test_image_without_pixels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.ppm").write_bytes(b"P6 0 0 255\n")
    (tmp_path / "zero.png").write_bytes(png(0, 0, 2, 8, zlib.compress(b"")))
    for name in ("zero.ppm", "zero.png"):
        with pytest.raises(DataError, match="zero"):
            read_image(tmp_path / name)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not an image"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "none.png")


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    # A header of 60000 x 60000 pixels with little data; decoding the image would need 10 GB.
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 2, 8, zlib.compress(bytes(1000))))
    for read in (read_image, read_map, image_size):
        with pytest.raises(DataError, match=r"60000x60000 has 3,600,000,000 pixels, more than the limit of 178"):
            read(tmp_path / "bomb.png")


def test_an_image_of_exactly_max_pixels_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (4, 5)).save(tmp_path / "i.png")
    assert read_image(tmp_path / "i.png", max_pixels=20).shape == (5, 4, 3)
    with pytest.raises(DataError, match="allows"):
        read_image(tmp_path / "i.png", max_pixels=19)


def test_opening_does_not_decode(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(png(8, 8, 2, 8, b"no pixels at all"))
    with open_image(tmp_path / "cut.png", 100) as image:
        assert image.size == (8, 8)
    with pytest.raises(DataError, match="damaged"):
        read_image(tmp_path / "cut.png")


def test_maps_of_eight_and_sixteen_bits_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(np.array([[0, 13107, 65535]], np.uint16)).save(tmp_path / "16.png")
    for name in ("8.png", "16.png"):
        values = read_map(tmp_path / name)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, [[0, 0.2, 1]], atol=1e-7)


def test_colour_map_becomes_luma(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / "c.png")
    # ITU-R 601: 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    np.testing.assert_allclose(read_map(tmp_path / "c.png"), [[124 / 255]], atol=1e-6)


def test_map_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "t.png", exif=exif)
    assert read_map(tmp_path / "t.png").tolist() == [[1, 0]]


def test_maps_of_floats_keep_their_scale(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25, 3.0], [1.0, 0.5, 0.0]], np.float32)
    Image.fromarray(values).save(tmp_path / "f.tif")
    np.save(tmp_path / "f.npy", values)
    np.save(tmp_path / "channel.npy", values[None])
    np.save(tmp_path / "last.npy", values[..., None])
    for name in ("f.tif", "f.npy", "channel.npy", "last.npy"):
        np.testing.assert_array_equal(read_map(tmp_path / name), values)


def test_narrow_array_stays_a_map(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.ones((1, 1)))
    assert read_map(tmp_path / "n.npy").shape == (1, 1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2, 3)), "two dimensions"),
        (np.zeros(5), "two dimensions"),
        (np.zeros((0, 4)), "two dimensions"),
        (np.array([[1.0, -0.1]]), "finite values of 0 or more"),
        (np.array([[1.0, np.nan]]), "finite values of 0 or more"),
        (np.array([[1e300]]), "finite values of 0 or more"),
        (np.array([["a"]]), "no array of numbers"),
        (np.array([[1j]]), "no array of numbers"),
    ],
)
def test_arrays_that_are_no_maps_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(DataError, match=words):
        read_map(tmp_path / "m.npy")


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil\.npy: not a readable \.npy array"):
        read_array(tmp_path / "evil.npy")
    (tmp_path / "junk.npy").write_bytes(b"junk")
    with pytest.raises(DataError, match="not a readable"):
        read_array(tmp_path / "junk.npy")
    with pytest.raises(DataError, match="no such file"):
        read_array(tmp_path / "none.npy")


def test_resizing_keeps_a_constant_and_the_mean(tmp_path: Path) -> None:
    del tmp_path
    image = np.full((4, 6, 3), 77, np.uint8)
    resized = resize_image(image, (2, 3))
    assert resized.shape == (3, 2, 3) and set(resized.flatten().tolist()) == {77}
    values = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    assert abs(resize_map(values, (20, 30)).mean() - values.mean()) < 2e-3
    assert resize_map(values, (40, 60)) is values


def test_an_image_of_the_requested_size_keeps_its_pixels_and_is_writable(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "one.png")
    tensor = resize_image(read_image(tmp_path / "one.png"), (1, 1))
    tensor += 1
    assert tensor.flatten().tolist() == [2, 3, 4]
