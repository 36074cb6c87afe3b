"""Test that a file is opened by its content, as one of the supported formats only."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from cvkit.catalog import IMAGE_FORMATS
from cvkit.data.arrays import read_array
from cvkit.data.images import image_size, read_image, read_map
from cvkit.errors import DataError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%LanguageLevel: 2\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program ``gs`` on PATH, and return the file that it writes when it runs."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for the program once
    return tmp_path / "ran"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".eps"])
def test_postscript_does_not_start_ghostscript(tmp_path: Path, ghostscript: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(POSTSCRIPT)
    for read in (read_image, read_map, image_size):
        with pytest.raises(DataError, match=r"not an image \(text\); JPEG, PNG, .* are read"):
            read(path)
    assert not ghostscript.exists()
    with Image.open(path) as image, pytest.raises((OSError, subprocess.CalledProcessError)):
        image.load()
    assert ghostscript.exists()  # Pillow alone runs it


@pytest.mark.parametrize("form", IMAGE_FORMATS)
def test_supported_formats_are_read_whatever_the_suffix(tmp_path: Path, form: str) -> None:
    Image.new("L", (3, 2), 200).save(tmp_path / "x", form, quality=100)
    for suffix in (".jpg", ".png", ".txt", ""):
        path = (tmp_path / "x").rename(tmp_path / f"x{suffix}")
        assert np.abs(read_image(path).astype(int) - 200).max() <= 1
        path.rename(tmp_path / "x")


def test_a_jpeg_of_several_pictures_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (3, 2))])
    assert read_image(tmp_path / "two.jpg").shape == (2, 3, 3)


@pytest.mark.parametrize("form", ["ICO", "PCX", "TGA", "SGI", "JPEG2000"])
def test_other_formats_are_refused(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png", form)
    with pytest.raises(DataError, match="not an image"):
        read_image(tmp_path / "x.png")


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def test_an_array_that_claims_more_than_the_file_has_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for shape, message in (((10, 10), "the array is cut off"), ((2**40, 2**20), "pixels, more than the limit of 178")):
        path.write_bytes(npy(shape))
        with pytest.raises(DataError, match=message):
            read_map(path)
    path.write_bytes(npy((2, 2), bytes(16)))
    assert read_array(path).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="2x2 has 4 pixels, more than --max-pixels 3 allows"):
        read_map(path, max_pixels=3)
