"""Generate a data set in the documented layout."""

import io
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvkit import files, render
from cvkit.config import SampleFixationsConfig
from cvkit.engine.result_folder import claim_folder
from cvkit.processes import cpu_count
from cvkit.progress import Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.saliency.data.fixations import Fixations, blur_counts, count_map, default_sigma
from cvkit.tasks.saliency.data.popout import Display, display

FOLDERS = IMAGES, MAPS, FIXATIONS = "images", "maps", "fixations"


@dataclass(frozen=True)
class SampleDataResult:
    """The folder of the data set, and the number of displays per split."""

    folder: Path
    train: int
    val: int


def sample_fixations(config: SampleFixationsConfig, report: Reporter = ignore) -> SampleDataResult:
    """Write pop-out displays: ``images/SPLIT/*.png``, ``maps/SPLIT/*.png`` and ``fixations/SPLIT/*.csv``.

    If it is interrupted, it removes what it wrote to a folder that was empty, so that the same command can start again.

    Raises:
        OutputError: If the folder is not empty and ``overwrite`` is not set.
    """
    folder = Path(config.out)
    claim_folder(folder, "files", reuse=config.overwrite, remedy="--overwrite", option="")
    splits = ["train"] * config.train + ["val"] * config.val

    def write(index: int) -> None:
        shown = display(config.seed, index, config.size)
        _write_display(folder, splits[index], f"{index:05d}", shown, config.sigma_px)

    report(Stage("displays", len(splits)))
    try:
        _write_all(write, len(splits), report)
    except BaseException:
        if not config.overwrite:  # else the same command would refuse the folder, which was empty
            for name in FOLDERS:
                shutil.rmtree(folder / name, ignore_errors=True)
        raise
    report(StageEnd())
    return SampleDataResult(folder, config.train, config.val)


def _write_all(write: Callable[[int], None], count: int, report: Reporter) -> None:
    """Write displays in threads."""
    pool = ThreadPoolExecutor(cpu_count())
    try:
        for done, _ in enumerate(pool.map(write, range(count)), start=1):
            report(Step(done))
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the remaining displays


def _write_display(folder: Path, split: str, name: str, shown: Display, sigma_px: float | None) -> None:
    size = (shown.image.shape[0], shown.image.shape[1])
    points = Fixations(x=shown.fixations[:, 0], y=shown.fixations[:, 1])
    values = blur_counts(count_map(points, size, size), sigma_px or default_sigma(size))
    files.write_atomic(folder / IMAGES / split / f"{name}.png", render.encode_png(shown.image))
    files.write_atomic(folder / MAPS / split / f"{name}.png", render.encode_png(values))
    text = io.StringIO()
    np.savetxt(text, shown.fixations, fmt="%d", delimiter=",", header="x,y,duration_ms,subject", comments="")
    files.write_atomic(folder / FIXATIONS / split / f"{name}.csv", text.getvalue())
