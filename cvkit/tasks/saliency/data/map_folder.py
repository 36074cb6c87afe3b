"""A folder of predicted maps, paired with the images of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvkit.data.images import read_map, resize_map
from cvkit.errors import DataError
from cvkit.tasks.saliency.data.ground_truth import Mismatch, same_shape
from cvkit.tasks.saliency.data.layout import MAP_SUFFIXES, Example


class MapFolder:
    """Finds the map of each image: by its path inside the data set, else by its stem where only one map has it.

    Raises DataError when the folder is not there, or holds no map for any of the examples.
    """

    def __init__(self, folder: Path, examples: Sequence[Example]) -> None:
        if not folder.is_dir():
            raise DataError(f"--maps {folder}: no such folder.")
        self.folder = folder
        found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in MAP_SUFFIXES and path.is_file()]
        found = [path for path in found if not path.name.endswith(".overlay.jpg")]
        self._by_path = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
        self._by_stem: dict[str, list[Path]] = {}
        for path in found:
            self._by_stem.setdefault(path.stem, []).append(path)
        if not any(self.find(example) for example in examples):
            raise DataError(
                f"no map in {folder} has the stem of an image: {len(found)} maps there, "
                f"{len(examples)} images such as {examples[0].key}{examples[0].image.suffix}."
            )

    def find(self, example: Example) -> Path | None:
        """Return the map of an image, or None."""
        names = [f"{example.split}/{example.key}", example.key]
        names += [name + example.image.suffix for name in names]
        for name in names:
            if name in self._by_path:
                return self._by_path[name]
        alone = self._by_stem.get(Path(example.key).name, [])
        return alone[0] if len(alone) == 1 else None

    def read(self, example: Example, size: tuple[int, int]) -> np.ndarray:
        """Return the map of an image as (H, W) float32 at ``size``; raises DataError for none or another shape."""
        path = self.find(example)
        if path is None:
            raise DataError(f"{example.image}: no map of its stem in {self.folder}.")
        values = read_map(path)
        if not same_shape(values.shape, size):
            raise Mismatch(
                f"{path}: the map is {values.shape[1]}x{values.shape[0]}, "
                f"its image {size[1]}x{size[0]} (another shape)."
            )
        return resize_map(values, size)
