"""Compare AUC and shuffled AUC over fixation data with pysaliency.

Both score the same float32 maps (the blurred brightness of the image times a Gaussian centre prior) with the same
fixations, which are in memory before the clock starts. The time of cvkit includes the counting of fixations per pixel;
the time of pysaliency is that of ``AUC_per_image`` with uniform and with shuffled non-fixations. pysaliency uses one
thread, so cvkit uses one by default.

Run it in an environment of its own, because pysaliency requires an old setuptools:

    pip install cvkit pysaliency "setuptools<80"
    python benchmarks/auc_speed.py --data ../shared/data/osie
"""

import argparse
import csv
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from cvkit.tasks.saliency.metrics.auc import auc, sauc

warnings.filterwarnings("ignore")
Points = tuple[np.ndarray, np.ndarray]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/osie"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=100, help="number of images")
    parser.add_argument("--rounds", type=int, default=5, help="number of timed rounds")
    parser.add_argument("--threads", type=int, default=1, help="threads of cvkit")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, maps, fixations = read_data(options.data, options.split, options.count)
    print(
        f"{len(maps)} maps of {maps.shape[2]}x{maps.shape[1]}, {sum(len(x) for x, _ in fixations)} fixations, ", end=""
    )
    print(f"{torch.get_num_threads()} threads, numpy {np.__version__}, torch {torch.__version__}")
    with_pysaliency(images[:2], maps[:2], fixations[:2])  # compiles its loops
    with_cvkit(maps[:2], fixations[:2])
    seconds: dict[str, list[tuple[float, float]]] = {"auc": [], "sauc": [], "both": []}
    for round_number in range(options.rounds):
        ours, theirs = with_cvkit(maps, fixations), with_pysaliency(images, maps, fixations)
        for name in ("auc", "sauc"):
            seconds[name].append((ours[name][0], theirs[name][0]))
        seconds["both"].append(
            (seconds["auc"][-1][0] + seconds["sauc"][-1][0], seconds["auc"][-1][1] + seconds["sauc"][-1][1])
        )
        print(
            f"round {round_number + 1}: cvkit {seconds['both'][-1][0]:.3f} s, pysaliency {seconds['both'][-1][1]:.3f} s"
        )
    for name, pairs in seconds.items():
        mine, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        print(f"{name:5} cvkit {mine:.3f} s  pysaliency {other:.3f} s  ratio of medians {other / mine:.1f}")
    for name in ("auc", "sauc"):
        print(f"largest difference of {name}: {np.abs(ours[name][1] - theirs[name][1]).max():.1e}")


if __name__ == "__main__":
    main()
