"""Make a generated data set in the documented layout."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvkit import files, render
from cvkit.config import SampleFixationsConfig
from cvkit.errors import OutputError
from cvkit.processes import cpu_count
from cvkit.progress import Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.saliency.data.fixations import Fixations, blur_counts, count_map, default_sigma
from cvkit.tasks.saliency.data.popout import Display, display


@dataclass(frozen=True)
class SampleDataResult:
    """Where the data set is, and how many displays each split has."""

    folder: Path
    train: int
    val: int


def sample_fixations(config: SampleFixationsConfig, listen: Reporter = ignore) -> SampleDataResult:
    """Write pop-out displays: ``images/SPLIT/*.png``, ``maps/SPLIT/*.png`` and ``fixations/SPLIT/*.csv``.

    Raises OutputError for a folder that holds something already (unless ``overwrite``).
    """
    folder = Path(config.out)
    if folder.is_dir() and any(folder.iterdir()) and not config.overwrite:
        raise OutputError(f"{folder} is not empty: name another folder, or add --overwrite.")
    files.make_folder(folder)
    splits = ["train"] * config.train + ["val"] * config.val

    def make(index: int) -> None:
        _write(folder, splits[index], f"{index:05d}", display(config.seed, index, config.size), config.sigma_px)

    listen(Stage("displays", len(splits)))
    pool = ThreadPoolExecutor(cpu_count())
    try:
        for done, _ in enumerate(pool.map(make, range(len(splits))), start=1):
            listen(Step(done))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for the displays still to come
    listen(StageEnd())
    return SampleDataResult(folder, config.train, config.val)


def _write(folder: Path, split: str, name: str, shown: Display, sigma_px: float | None) -> None:
    size = (shown.image.shape[0], shown.image.shape[1])
    points = Fixations(x=shown.fixations[:, 0], y=shown.fixations[:, 1])
    values = blur_counts(count_map(points, size, size), sigma_px or default_sigma(size))
    files.write_atomic(folder / "images" / split / f"{name}.png", render.encode_png(shown.image))
    files.write_atomic(folder / "maps" / split / f"{name}.png", render.encode_png(values))
    text = io.StringIO()
    np.savetxt(text, shown.fixations, fmt="%d", delimiter=",", header="x,y,duration_ms,subject", comments="")
    files.write_atomic(folder / "fixations" / split / f"{name}.csv", text.getvalue())
