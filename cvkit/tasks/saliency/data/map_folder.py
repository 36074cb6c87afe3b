"""Pair a folder of predicted maps with the images of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvkit.data.images import read_map, resize_map
from cvkit.errors import DataError
from cvkit.files import is_folder
from cvkit.inputs import search_folder, shorten, without_suffix
from cvkit.tasks.saliency.data.ground_truth import Mismatch, same_shape
from cvkit.tasks.saliency.data.layout import MAP_SUFFIXES, Example


def _is_map(name: str) -> bool:
    return Path(name).suffix.lower() in MAP_SUFFIXES and not name.endswith(".overlay.jpg")


class MapFolder:
    """A folder with the predicted map of each image.

    The map of an image has the image's path inside the data set, or its stem if only one map has that stem.

    Args:
        folder: Folder with map files.
        examples: Images to find maps for.

    Raises:
        DataError: If the folder does not exist, or holds no map of any example.
    """

    def __init__(self, folder: Path, examples: Sequence[Example]) -> None:
        if not is_folder(str(folder)):
            raise DataError(f"{folder}: no such folder.")
        self.folder = folder
        self._by_path: dict[str, Path] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self._unsearched: list[Path] = []
        for found in search_folder(folder, _is_map, hidden=True, results=True):
            if found.is_folder:
                self._unsearched.append(found.path)
                continue
            name = shorten(without_suffix(found.relative))  # as ``predict`` names its files
            self._by_path[name] = found.path
            self._by_stem.setdefault(name.rpartition("/")[2], []).append(found.path)
        if not any(self.find(example) for example in examples):
            raise DataError(
                f"no map in {folder} has the stem of an image; the folder has {len(self._by_path)} maps, the data set "
                f"{len(examples)} images such as {examples[0].key}{examples[0].image.suffix}."
            )

    def find(self, example: Example) -> Path | None:
        """Return the path of the map of an image, None if there is none."""
        names = [f"{example.split}/{example.key}", example.key]
        names += [name + example.image.suffix for name in names]
        for name in map(shorten, names):
            if name in self._by_path:
                return self._by_path[name]
        same_stem = self._by_stem.get(shorten(Path(example.key).name), [])
        return same_stem[0] if len(same_stem) == 1 else None

    def read(self, example: Example, size: tuple[int, int]) -> np.ndarray:
        """Read the map of an image.

        Args:
            example: The image.
            size: (height, width) to which the map is resized: that of the image.

        Returns:
            (H, W) float32.

        Raises:
            DataError: If there is no map, or it has another aspect ratio than the image.
        """
        path = self.find(example)
        if path is None:
            missed = f" ({self._unsearched[0]} cannot be searched)" if self._unsearched else ""
            raise DataError(f"{example.image}: no map of its stem in {self.folder}{missed}.")
        values = read_map(path)
        if not same_shape(values.shape, size):
            raise Mismatch(
                f"{path}: the map is {values.shape[1]}x{values.shape[0]}, "
                f"its image {size[1]}x{size[0]} (another aspect ratio)."
            )
        return resize_map(values, size)
