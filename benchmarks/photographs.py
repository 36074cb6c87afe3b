"""Make JPEG files that are like photographs, so that benchmarks need no data set."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (800, 600)  # width and height in pixels
OCTAVES = (2, 4, 8, 16, 32, 64, 128, 256)  # cells of noise along the shorter side
QUALITY = 90
GRAIN = 5.0  # standard deviation of the noise of single pixels, which brings a file to the size of a photograph's
SUFFIXES = (".jpg", ".jpeg")


def photograph(seed: int) -> Image.Image:
    """Return an RGB image of 800x600 pixels: coloured noise whose amplitude falls with its frequency, and objects.

    The noise has about the spectrum of natural images (amplitude 1/f). Colour, contrast and spectrum vary from image to
    image, as those of photographs do.
    """
    rng = np.random.default_rng(seed)
    width, height = SIZE
    slope, contrast, colour = rng.uniform(0.4, 1.8), rng.uniform(20, 250), rng.uniform(10, 245, 3)
    total = np.zeros((height, width, 3), np.float32)
    for cells in OCTAVES:
        grid = rng.integers(0, 256, (cells, cells * width // height, 3), dtype=np.uint8)
        layer = Image.fromarray(grid).resize(SIZE, Image.Resampling.BICUBIC)
        total += (np.asarray(layer, np.float32) - 128) / cells**slope
    levels = colour + contrast * total / np.abs(total).max() + rng.normal(0, GRAIN, total.shape)
    image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 24))):
        x, y = int(rng.integers(0, width - 200)), int(rng.integers(0, height - 150))
        size = rng.integers(40, 200, 2)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + int(size[0]), y + int(size[1])), fill=colour)
    return image


def make_photographs(folder: Path, count: int) -> list[Path]:
    """Write ``count`` distinct JPEG files into a folder, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]

    def write(number: int) -> None:
        photograph(number).save(paths[number], quality=QUALITY)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(count)))
    return paths


def find_photographs(data: str | None, folder: Path, count: int) -> list[Path]:
    """Return JPEG files of a data set, or generated ones.

    Args:
        data: Folder with photographs, searched recursively; None, or a folder that does not exist, generates them.
        folder: Folder for generated photographs.
        count: Largest number of files.
    """
    if data is not None and Path(data).is_dir():
        found = sorted(path for path in Path(data).rglob("*") if path.suffix.lower() in SUFFIXES)
        if found:
            return [path.resolve() for path in found[:count]]
    return make_photographs(folder, count)


def repeat_photographs(photographs: list[Path], folder: Path, count: int) -> list[Path]:
    """Link or copy photographs into a folder, repeated up to ``count`` files, and return the paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        source = photographs[number % len(photographs)]
        try:
            os.link(source, path)
        except OSError:  # another file system, or one without links
            shutil.copy(source, path)
    return paths
