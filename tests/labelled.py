"""Write small labelled data sets for tests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 220), (200, 200, 40))


def write_classes(
    folder: Path, counts: Mapping[str, int], size: tuple[int, int] = (24, 20), suffix: str = ".png"
) -> Path:
    """Write noisy images whose colour depends on their class.

    Args:
        folder: Folder to create.
        counts: Number of images by folder: ``{"a": 3}`` or ``{"train/a": 3, "val/a": 1}``.
        size: (height, width) in pixels.
        suffix: Suffix of the files.
    """
    classes = sorted({name.split("/")[-1] for name in counts})
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        rng = np.random.default_rng(len(name) + count)
        for number in range(count):
            colour = np.array(COLOURS[classes.index(name.split("/")[-1]) % len(COLOURS)])
            pixels = np.clip(colour + rng.normal(0, 30, (*size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}{suffix}")
    return folder
