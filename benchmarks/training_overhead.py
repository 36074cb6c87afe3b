"""Compare a training epoch of `train-saliency` with a hand-written loop over the same model, loss and data.

Both train `mlnet` on a backbone with random weights, with batches of 8 decoded images in memory, AdamW and gradient
clipping. The hand-written loop has its batches ready; it normalises, runs the forward and the backward pass and steps
the optimizer. `cvkit` also shuffles, augments, loads in worker processes, schedules the learning rate, checks for NaN
and saves. The script times the training part of an epoch, one epoch of each in turn. `history.csv` gives the fraction
of time in which the model is busy, which means that it does not wait for data.
"""

import csv
import tempfile
import time
from pathlib import Path

import torch
from side_by_side import make_parser, publish, report, slower, values_row
from torch import nn

from cvkit.commands.sample_data import sample_fixations
from cvkit.commands.train_saliency import train_saliency
from cvkit.config import SampleFixationsConfig, TrainSaliencyConfig
from cvkit.tasks.saliency.data.dataset import SampleSpec, read_sample
from cvkit.tasks.saliency.data.layout import read_layout
from cvkit.tasks.saliency.data.selection import train_val_split
from cvkit.tasks.saliency.losses import make_loss, resize_like
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

BATCH, LR = 8, 1e-4


def bare_epoch(samples: list[dict[str, torch.Tensor]], backbone: str, size: tuple[int, int]) -> float:
    """Train one epoch by hand and return its seconds."""
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", backbone=backbone)).train()
    normalise = SaliencyPredictor(model, size).normalise
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    loss_of = make_loss("kl-cc-nss")
    batches = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
    ready = [{name: torch.stack([s[name] for s in part]) for name in part[0]} for part in batches]
    began = time.perf_counter()
    for batch in ready:
        maps = model(normalise(batch["image"])).float()
        counts = resize_like(batch["counts"], maps, counts=True)
        loss = loss_of(maps, resize_like(batch["target"].float(), maps), counts)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def cvkit_epoch(data: str, backbone: str, size: tuple[int, int], limit: int) -> tuple[float, float]:
    """Train one epoch with the command; return its seconds and the fraction of time in which the model was busy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        config = TrainSaliencyConfig(
            data=data, backbone=backbone, weights="none", size=size, limit=limit, epochs=1, lr=LR, samples=0,
            batch_size=BATCH, out=str(folder),
        )  # fmt: skip
        train_saliency(config)
        with (folder / "history.csv").open() as stream:
            row = next(csv.DictReader(stream))
    return float(row["seconds"]), float(row["busy"])


def find_data(data: str, folder: Path, limit: int) -> str:
    """Return the data set, or a generated one if its folder does not exist."""
    if Path(data).is_dir():
        return data
    sample_fixations(SampleFixationsConfig(out=str(folder), train=limit, val=16))
    return str(folder)


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/osie")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--size", default="240x320")
    parser.add_argument("--limit", type=int, default=160)
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    times: dict[str, list[float]] = {"bare loop": [], "cvkit epoch": []}
    busy = []
    with tempfile.TemporaryDirectory() as name:
        data = find_data(options.data, Path(name) / "displays", options.limit)
        train = train_val_split(read_layout(Path(data)), 0.1, 0).train
        samples = [read_sample(example, SampleSpec(size=(height, width))) for example in train[: options.limit]]
        for number in range(options.rounds + 1):
            one = bare_epoch(samples, options.backbone, (height, width))
            two, fraction = cvkit_epoch(data, options.backbone, (height, width), options.limit)
            if number:  # the first round warms up
                times["bare loop"].append(one)
                times["cvkit epoch"].append(two)
                busy.append(100 * fraction)
    report(times, "bare loop", len(samples))
    network = f"mlnet on {options.backbone}, {options.size}"
    rows = [
        slower(times, "cvkit epoch", "bare loop", f"a training epoch of `train-saliency`, {network}"),
        values_row(f"time in which `train-saliency` does not wait for data, {network}", busy, "{:.1f}", " %", "–"),
    ]
    publish(rows, options.json)


if __name__ == "__main__":
    main()
