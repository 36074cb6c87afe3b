"""Compare AUC, shuffled AUC, NSS, SIM, KL and CC over fixation data with pysaliency.

Both score the same maps (the blurred brightness of the image times a Gaussian centre prior) with the same fixations and
human maps, which are in memory before the clock starts. The maps are float64, because pysaliency computes in the dtype
of its maps and its float32 scores differ by up to 4e-7; those of the AUCs are float32, which changes no rank. The time
of cvkit includes the counting of fixations per pixel for the AUCs; the time of pysaliency is that of ``AUC_per_image``
and of the functions of ``pysaliency.metrics``. pysaliency uses one thread, so cvkit uses one by default.

Run it in an environment of its own, because pysaliency requires an old setuptools:

    pip install cvkit pysaliency "setuptools<80"
    python benchmarks/metrics_speed.py --data ../shared/data/osie
"""

import argparse
import csv
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from cvkit.tasks.saliency.metrics.auc import auc, sauc
from cvkit.tasks.saliency.metrics.fixation import nss
from cvkit.tasks.saliency.metrics.similarity import cc, kl, sim

warnings.filterwarnings("ignore")
Points = tuple[np.ndarray, np.ndarray]
Timed = Callable[[], np.ndarray]


def read_data(folder: Path, split: str, count: int) -> tuple[np.ndarray, np.ndarray, list[Points]]:
    """Return images (N, H, W) uint8, maps (N, H, W) float32 and the x, y of the fixations of each image."""
    images, maps, fixations = [], [], []
    for path in sorted((folder / "images" / split).glob("*.jpg"))[:count]:
        image = np.asarray(Image.open(path).convert("L"))
        height, width = image.shape
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        blurred = gaussian_filter(image.astype(np.float32), 12)
        maps.append((blurred * np.exp(-2 * (x**2 + y**2))).astype(np.float32))
        images.append(image)
        with (folder / "fixations" / split / f"{path.stem}.csv").open(newline="") as file:
            points = np.array([(int(float(row["x"])), int(float(row["y"]))) for row in csv.DictReader(file)])
        fixations.append((points[:, 0], points[:, 1]))
    return np.stack(images), np.stack(maps), fixations


def with_cvkit(maps: np.ndarray, fixations: list[Points]) -> dict[str, tuple[float, np.ndarray]]:
    """Return the seconds and the values of AUC and shuffled AUC."""
    start = time.perf_counter()
    counts = np.zeros(maps.shape, np.uint8)
    for n, (x, y) in enumerate(fixations):
        np.add.at(counts[n], (y, x), 1)
    fixated, pred = torch.from_numpy(counts), torch.from_numpy(maps)
    first = auc(pred, fixated)
    middle = time.perf_counter()
    everyone = np.zeros(maps.shape[1:], np.int32)
    for x, y in fixations:
        np.add.at(everyone, (y, x), 1)
    second = sauc(pred, fixated, torch.from_numpy(everyone))
    end = time.perf_counter()
    return {"auc": (middle - start, first.numpy()), "sauc": (end - middle, second.numpy())}


def with_pysaliency(
    images: np.ndarray, maps: np.ndarray, fixations: list[Points]
) -> dict[str, tuple[float, np.ndarray]]:
    """Return the seconds and the values of AUC and shuffled AUC."""
    if not hasattr(np, "trapz"):  # pysaliency 0.2.22 calls the name that numpy 2.4 removed
        np.trapz = np.trapezoid
    import pysaliency

    class Stored(pysaliency.SaliencyMapModel):
        """Returns maps that were computed before."""

        def saliency_map(self, stimulus: object) -> np.ndarray:
            return maps[stimulus.index]

        def _saliency_map(self, stimulus: object) -> np.ndarray:
            raise NotImplementedError

    stimuli = pysaliency.Stimuli(list(images))
    xs, ys = (np.concatenate([points[axis] for points in fixations]) for axis in (0, 1))
    of_image = np.repeat(np.arange(len(fixations)), [len(x) for x, _ in fixations])
    points = pysaliency.Fixations.create_without_history(xs.astype(float), ys.astype(float), of_image)
    result = {}
    for name, against in (("auc", "uniform"), ("sauc", "shuffled")):
        start = time.perf_counter()
        values = Stored().AUC_per_image(stimuli, points, nonfixations=against)
        result[name] = (time.perf_counter() - start, np.array(values))
    return result


def read_human_maps(folder: Path, split: str, count: int) -> np.ndarray:
    """Return the human maps (N, H, W) float64 from 0 to 1."""
    paths = sorted((folder / "maps" / split).glob("*"))[:count]
    return np.stack([np.asarray(Image.open(path).convert("L"), dtype=np.float64) / 255 for path in paths])


def map_metrics(maps: np.ndarray, human: np.ndarray, fixations: list[Points]) -> dict[str, tuple[Timed, Timed]]:
    """Return the functions of cvkit and of pysaliency that compute NSS, SIM, KL and CC of all images."""
    from pysaliency import metrics as theirs

    counts = np.zeros(maps.shape, np.int16)
    for n, (x, y) in enumerate(fixations):
        np.add.at(counts[n], (y, x), 1)
    pred, target, fixated = map(torch.from_numpy, (maps, human, counts))
    pairs = list(zip(maps, human, strict=True))
    return {
        "nss": (
            lambda: nss(pred, fixated, repeats=True, correction=0).numpy(),
            lambda: np.array([theirs.NSS(one, x, y).mean() for one, (x, y) in zip(maps, fixations, strict=True)]),
        ),
        "sim": (
            lambda: sim(pred, target, stretch=False).numpy(),
            lambda: np.array([theirs.SIM(one, other) for one, other in pairs]),
        ),
        "kl": (
            lambda: kl(pred, target).numpy(),
            lambda: np.array([theirs.MIT_KLDiv(one, other) for one, other in pairs]),
        ),
        "cc": (
            lambda: cc(pred, target).numpy(),
            lambda: np.array([theirs.CC(one, other) for one, other in pairs]),
        ),
    }


def timed(function: Timed) -> tuple[float, np.ndarray]:
    """Return the seconds of a call, and its values."""
    start = time.perf_counter()
    values = function()
    return time.perf_counter() - start, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/osie"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=100, help="number of images")
    parser.add_argument("--rounds", type=int, default=5, help="number of timed rounds; one more warms up")
    parser.add_argument("--threads", type=int, default=1, help="threads of cvkit")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, maps, fixations = read_data(options.data, options.split, options.count)
    number = sum(len(x) for x, _ in fixations)
    print(f"{len(maps)} maps of {maps.shape[2]}x{maps.shape[1]}, {number} fixations, ", end="")
    print(f"{torch.get_num_threads()} threads, numpy {np.__version__}, torch {torch.__version__}")
    human = read_human_maps(options.data, options.split, options.count)
    with_pysaliency(images[:2], maps[:2], fixations[:2])  # compiles its loops
    functions = map_metrics(maps.astype(np.float64), human, fixations)
    seconds: dict[str, list[tuple[float, float]]] = {}
    worst: dict[str, float] = {}
    for round_number in range(options.rounds + 1):
        ours, theirs = with_cvkit(maps, fixations), with_pysaliency(images, maps, fixations)
        rows = {name: (ours[name], theirs[name]) for name in ours}
        rows |= {name: (timed(mine), timed(other)) for name, (mine, other) in functions.items()}
        for name, ((mine, values), (other, reference)) in rows.items():
            worst[name] = float(np.abs(values - reference).max())
            if round_number:
                seconds.setdefault(name, []).append((mine, other))
    for name, pairs in seconds.items():
        report(name, pairs, worst[name])


def report(name: str, pairs: list[tuple[float, float]], worst: float) -> None:
    """Print the medians with their ranges, and the ratio of the medians."""
    cells = []
    for side, label in enumerate(("cvkit", "pysaliency")):
        values = [pair[side] for pair in pairs]
        cells.append(f"{label} {statistics.median(values):.3f} s ({min(values):.3f}..{max(values):.3f})")
    mine, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"{name:5} {'  '.join(cells)}  ratio of medians {other / mine:.1f}  largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
