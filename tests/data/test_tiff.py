"""Test TIFF files that Pillow cannot read or reads wrongly."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from cvkit.data.images import image_size, read_image, read_map
from cvkit.errors import DataError

GREY, RGB, PALETTE = 1, 2, 3
STRAIGHT, PREMULTIPLIED = 2, 1
SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
TIFF_TYPES = {"H": 3, "I": 4}


def write_tiff(
    path: Path,
    samples: np.ndarray,
    *,
    photometric: int | None = None,
    planar: bool = False,
    compression: int = 1,
    extra: int | None = None,
    orientation: int = 1,
    size: tuple[int, int] | None = None,
) -> Path:
    """Write (H, W, C) samples as a TIFF file by hand (TIFF 6.0): one strip, or one for each channel if ``planar``."""
    height, width, channels = samples.shape
    strips = [samples[..., k] for k in range(channels)] if planar else [samples]
    data = [np.ascontiguousarray(strip).tobytes() for strip in strips]
    if compression == 8:  # zlib
        data = [zlib.compress(strip) for strip in data]
    height, width = size or (height, width)
    offsets = [8 + sum(map(len, data[:k])) for k in range(len(data))]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8 * samples.itemsize] * channels),
        259: ("H", [compression]),
        262: ("H", [photometric if photometric is not None else RGB if channels >= 3 else GREY]),
        273: ("I", offsets),
        274: ("H", [orientation]),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in data]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [SAMPLE_FORMATS[samples.dtype.kind]] * channels),
    }
    if extra is not None:
        tags[338] = ("H", [extra])
    body = b"".join(data)
    directory = 8 + len(body)
    more_at = directory + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"<{len(values)}{kind}", *values)
        if len(content) > 4:
            more, content = more + content, struct.pack("<I", more_at + len(more))
        entries += struct.pack("<HHI", tag, TIFF_TYPES[kind], len(values)) + content.ljust(4, b"\0")
    path.write_bytes(
        b"II*\0" + struct.pack("<I", directory) + body + struct.pack("<H", len(tags)) + entries + bytes(4) + more
    )
    return path


def row(*pixels: object, kind: str = "u2") -> np.ndarray:
    """Return one row of pixels as samples (1, W, C)."""
    samples = np.array([pixels], dtype=f"<{kind}")
    return samples[..., None] if samples.ndim == 2 else samples


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_float_colour_of_unit_range_is_scaled_by_255(tmp_path: Path, kind: str) -> None:
    path = write_tiff(tmp_path / "f.tif", row([0, 0.5, 1], [-3, 1.25, np.nan], kind=kind))
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    assert read_image(path).tolist() == [[[0, 128, 255], [0, 255, 0]]]


def test_float_colour_above_unit_range_is_taken_as_0_to_255(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "f.tif", row([0, 0.5, 1], [100, 254.6, 300], kind="f4"))
    assert read_image(path).tolist() == [[[0, 1, 1], [100, 255, 255]]]


def test_an_infinite_value_does_not_change_the_scale(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "f.tif", row([0, 0.5, np.inf], [1, 1, -np.inf], kind="f4"))
    assert read_image(path).tolist() == [[[0, 128, 255], [255, 255, 0]]]


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_float_greyscale_of_unit_range_is_scaled_by_255(tmp_path: Path, kind: str) -> None:
    path = write_tiff(tmp_path / "f.tif", row(0, 0.5, 1, kind=kind))
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("u4", (0, 100, 255), [0, 100, 255]),  # 8-bit values in a wide type
        ("u4", (0, 257, 65535), [0, 1, 255]),  # 16-bit values
        ("u4", (0, 2**31, 2**32 - 1), [0, 128, 255]),
        ("i4", (0, 2**30, 2**31 - 1), [0, 128, 255]),
        ("i4", (-5, 100, 255), [0, 100, 255]),
    ],
)
def test_wide_integers_are_scaled_by_their_largest_value(
    tmp_path: Path, kind: str, values: tuple[int, ...], expected: list[int]
) -> None:
    grey = write_tiff(tmp_path / "grey.tif", row(*values, kind=kind))
    colour = write_tiff(tmp_path / "colour.tif", row(*([value] * 3 for value in values), kind=kind))
    assert read_image(grey)[0, :, 0].tolist() == expected
    assert read_image(colour)[0].tolist() == [[level] * 3 for level in expected]


@pytest.mark.parametrize("compression", [1, 8])
def test_sixteen_bit_colour_stored_plane_by_plane(tmp_path: Path, compression: int) -> None:
    samples = row([0, 257 * 7, 65535], [257 * 200, 0, 257])
    path = write_tiff(tmp_path / "p.tif", samples, planar=True, compression=compression)
    assert read_image(path).tolist() == [[[0, 7, 255], [200, 0, 1]]]
    assert image_size(path) == (1, 2)


def test_sixteen_bit_colour_stored_pixel_by_pixel(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "c.tif", row([0, 257 * 7, 65535], [257 * 200, 0, 257]))
    assert read_image(path).tolist() == [[[0, 7, 255], [200, 0, 1]]]


def test_sixteen_bit_greyscale_with_alpha_is_blended_with_white(tmp_path: Path) -> None:
    pixels = row([0, 65535], [0, 13107], [257 * 51, 0])  # alpha 1, 0.2, 0
    straight = write_tiff(tmp_path / "s.tif", pixels, extra=STRAIGHT)
    assert read_image(straight)[0, :, 0].tolist() == [0, 204, 255]
    premultiplied = write_tiff(tmp_path / "p.tif", pixels[:, :2], extra=PREMULTIPLIED)
    assert read_image(premultiplied)[0, :, 0].tolist() == [0, 204]
    neither = write_tiff(tmp_path / "n.tif", pixels, extra=0)
    assert read_image(neither)[0, :, 0].tolist() == [0, 0, 51]


@pytest.mark.parametrize("kind", ["u2", "f8"])
def test_white_is_zero_is_inverted(tmp_path: Path, kind: str) -> None:
    white = 65535 if kind == "u2" else 1
    path = write_tiff(tmp_path / "w.tif", row(0, white, kind=kind), photometric=0)
    assert read_image(path)[0, :, 0].tolist() == [255, 0]
    if kind == "u2":
        assert read_map(path).tolist() == [[1, 0]]


@pytest.mark.parametrize("orientation", range(1, 10))
def test_orientation_is_applied_as_by_pillow(tmp_path: Path, orientation: int) -> None:
    bytes_ = np.arange(18, dtype="<u1").reshape(2, 3, 3) * 14
    by_pillow = write_tiff(tmp_path / "8.tif", bytes_, orientation=orientation)
    by_imageio = write_tiff(tmp_path / "f.tif", bytes_ / np.float32(255), orientation=orientation)
    np.testing.assert_array_equal(read_image(by_imageio), read_image(by_pillow))
    assert image_size(by_imageio) == image_size(by_pillow) == read_image(by_pillow).shape[:2]


def test_maps_keep_floats_and_scale_integers(tmp_path: Path) -> None:
    assert read_map(write_tiff(tmp_path / "f.tif", row(0, 0.25, 3, kind="f8"))).tolist() == [[0, 0.25, 3]]
    assert read_map(write_tiff(tmp_path / "i.tif", row([0, 9], [65535, 9]), extra=0)).tolist() == [[0, 1]]


def test_a_float_colour_map_becomes_luma(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "c.tif", row([2, 1, 0.5], kind="f4"))
    np.testing.assert_allclose(read_map(path), [[0.299 * 2 + 0.587 + 0.114 * 0.5]], rtol=1e-6)
    with pytest.raises(DataError, match="finite values of 0 or more"):
        read_map(write_tiff(tmp_path / "n.tif", row([-1, -1, -1], kind="f4")))


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "bomb.tif", row([0, 0, 0], kind="f4"), size=(60_000, 50_000))
    for read in (read_image, read_map, image_size):
        with pytest.raises(DataError, match=r"50000x60000 has 3,000,000,000 pixels, more than the limit of 178"):
            read(path)


@pytest.mark.parametrize(("photometric", "channels"), [(PALETTE, 1), (RGB, 5), (GREY, 9)])
def test_other_colour_spaces_and_many_channels_are_refused(tmp_path: Path, photometric: int, channels: int) -> None:
    path = write_tiff(tmp_path / "x.tif", np.zeros((2, 2, channels), "<f4"), photometric=photometric)
    with pytest.raises(DataError, match=f"{channels} channels and colour space {photometric} is not supported"):
        read_image(path)


def test_an_unsupported_compression_is_named(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "lzw.tif", row([0, 0.5, 1], kind="f4"), compression=5)
    if not _has_imagecodecs():
        with pytest.raises(DataError, match=r"cannot be decoded .*LZW.*'imagecodecs' package"):
            read_image(path)


def _has_imagecodecs() -> bool:
    from importlib.util import find_spec

    return find_spec("imagecodecs") is not None


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("kind", ["u1", "u2", "f2", "f4"])
def test_a_file_cut_off_anywhere_is_reported(tmp_path: Path, kind: str, compression: int, planar: bool) -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(1, 255, (4, 5, 3)).astype(f"<{kind}")
    whole = write_tiff(tmp_path / "whole.tif", samples, planar=planar, compression=compression).read_bytes()
    expected = read_image(tmp_path / "whole.tif")
    cut = tmp_path / "cut.tif"
    for length in range(8, len(whole)):
        cut.write_bytes(whole[:length])
        try:
            pixels = read_image(cut)
        except DataError as error:
            assert "cut.tif: " in str(error) and "\n" not in str(error)
        else:
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_missing_pixels_are_reported_as_damage(tmp_path: Path, kind: str) -> None:
    content = write_tiff(tmp_path / "x.tif", row([1, 2, 3], [4, 5, 6], kind=kind), planar=True).read_bytes()
    (directory,) = struct.unpack("<I", content[4:8])
    pixels = content[8:directory]
    # The directory moves to the front, and the last strip ends behind the end of the file.
    strips = struct.pack("<3I", *(len(content) - 4 + k * len(pixels) // 3 for k in range(3)))
    old = struct.pack("<3I", *(8 + k * len(pixels) // 3 for k in range(3)))
    assert content.count(old) == 1
    (tmp_path / "x.tif").write_bytes(content.replace(old, strips))
    with pytest.raises(DataError, match="damaged image"):
        read_image(tmp_path / "x.tif")


def test_only_the_error_is_printed(tmp_path: Path) -> None:
    write_tiff(tmp_path / "many.tif", np.zeros((2, 2, 9), "<u2"))
    (tmp_path / "cut.tif").write_bytes(write_tiff(tmp_path / "f.tif", row([1, 2, 3], kind="f4")).read_bytes()[:30])
    code = (
        "import sys; from pathlib import Path\n"
        "from cvkit.data.images import read_image; from cvkit.errors import DataError\n"
        "for name in sys.argv[1:]:\n"
        "    try: read_image(Path(name))\n"
        "    except DataError: print('refused')\n"
    )
    names = [str(tmp_path / name) for name in ("many.tif", "cut.tif")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\nrefused\n", "")


def test_imageio_is_not_imported_for_files_that_pillow_reads(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "p.tif")
    code = (
        "import sys; from pathlib import Path; from cvkit.data.images import read_image\n"
        "read_image(Path(sys.argv[1])); print('imageio' in sys.modules or 'tifffile' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.tif")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
