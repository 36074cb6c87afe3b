"""Measure the speed and memory of `cae-embed` on the images of Fashion-MNIST.

The script makes three comparisons, each in turn and several times, and prints ratios of medians:

- A training epoch of `cvkit` (which shuffles, schedules the learning rate, clips gradients, checks for NaN and saves)
  with a bare loop over a tensor in memory (shuffle, forward, loss, backward, step), and with a loop over a `DataLoader`
  that converts one image at a time to a float tensor, as torchvision's `FashionMNIST` with `ToTensor` does, without
  loading processes and with two.
- The embedding of all images with the bare encoder.
- The peak resident memory of a whole `cvkit cae-embed` with that of `import torch`.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from memory import PRINT_PEAK_MIB
from PIL import Image
from side_by_side import Row, faster, make_parser, publish, report, slower, throughput, time_rounds, values_row
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from cvkit.commands.cae_embed.measure import codes_of
from cvkit.commands.cae_embed.training import LR, TrainingRun, new_embedder, train
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection, ReadOptions, find_source, read_collection
from cvkit.data.image_set import ImageSet
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder
from cvkit.progress import ignore
from cvkit.tasks.embedding.embedder import Embedder

BATCH = 128


class OneByOne(Dataset):
    """Returns one image at a time as a float tensor, as torchvision's data set with ToTensor does."""

    def __init__(self, images: torch.Tensor) -> None:
        self.arrays = images[:, 0].numpy()

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> torch.Tensor:
        return to_tensor(Image.fromarray(self.arrays[index]))


def untrained(config: CaeEmbedConfig, collection: Collection, device: torch.device) -> Embedder:
    embedder = new_embedder(config, collection, device)
    embedder.model.train()
    return embedder


def cvkit_epoch(config: CaeEmbedConfig, collection: Collection, fabric: Fabric) -> None:
    with tempfile.TemporaryDirectory() as name:
        embedder = new_embedder(config, collection, fabric.device)
        train(TrainingRun(config, embedder, collection, RunFolder(Path(name)), "", {}), fabric, ignore)


def train_epoch(embedder: Embedder, batches, device: torch.device) -> None:
    """Train one epoch on an iterable of float batches."""
    model = embedder.model
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for clean in batches:
        loss = F.binary_cross_entropy_with_logits(model(clean, logits=True), clean)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize()


def resident_batches(images: torch.Tensor):
    order = torch.randperm(len(images), device=images.device)
    for chosen in order.split(BATCH):
        yield images[chosen].to(torch.float32, memory_format=torch.channels_last).div_(255)


def loader_batches(images: torch.Tensor, workers: int, device: torch.device):
    loader = DataLoader(
        OneByOne(images), BATCH, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda", drop_last=False
    )
    for batch in loader:
        yield batch.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)


def bare_codes(embedder: Embedder, images: torch.Tensor) -> torch.Tensor:
    model = embedder.model.eval()
    with torch.inference_mode():
        pixels = (
            part.to(embedder.device).to(torch.float32, memory_format=torch.channels_last).div_(255)
            for part in images.split(512)
        )
        return torch.cat([model.encode(part) for part in pixels]).cpu()


COMMAND = """
import sys
from cvkit.cli.main import main
sys.argv = ["cvkit", "cae-embed", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def peak_mib(code: str) -> float:
    """Return the peak resident memory of a Python process in MiB."""
    program = f"{code}\n{PRINT_PEAK_MIB}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def memory(data: str) -> Row:
    """Return the peak memory of a whole `cae-embed` above that of ``import torch``."""
    with tempfile.TemporaryDirectory() as name:
        arguments = ["--data", data, "--epochs", "1", "--out", f"{name}/r", "--quiet", "--device", "cpu"]
        alone, whole = peak_mib("import torch"), peak_mib(COMMAND.format(arguments=arguments))
    print(f"peak memory: import torch {alone:.0f} MiB, cae-embed {whole:.0f} MiB, {whole - alone:.0f} MiB more")
    claim = "peak resident memory of a whole `cae-embed`, one epoch"
    return values_row(claim, [whole - alone], "{:+.0f}", " MiB", "import torch")


def find_data(data: str, folder: Path) -> str:
    """Return the data set, or generated IDX files of the size of Fashion-MNIST if its folder does not exist."""
    if Path(data).is_dir():
        return data
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        coarse = rng.integers(0, 256, (count, 7, 7), dtype=np.uint8)
        images = coarse.repeat(4, axis=1).repeat(4, axis=2)
        header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)  # unsigned bytes, three dimensions
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return str(folder)


BARE, EPOCH, ENCODER, EMBEDDING = "bare loop, tensor in memory", "cvkit, one epoch", "bare encoder", "cvkit, embedding"


def measure_epochs(options: argparse.Namespace, whole: Collection, config: CaeEmbedConfig) -> list[Row]:
    """Return the rows of a training epoch."""
    pick = np.arange(min(options.images, len(whole.splits["train"])))
    parts = {"train": whole.splits["train"].subset(pick), "test": whole.splits["test"].subset(np.arange(256))}
    collection = Collection(splits=parts, classes=(), failures=[], remarks=[])
    fabric = start_fabric(config)
    device = fabric.device
    images = parts["train"].images
    resident = images.to(device)
    functions = {
        BARE: lambda: train_epoch(untrained(config, collection, device), resident_batches(resident), device),
        EPOCH: lambda: cvkit_epoch(config, collection, fabric),
    }
    loaders = {f"DataLoader + ToTensor, {count} workers": int(count) for count in options.loaders.split(",")}
    for label, workers in loaders.items():
        functions[label] = lambda workers=workers: train_epoch(
            untrained(config, collection, device), loader_batches(images, workers, device), device
        )
    times = time_rounds(functions, options.rounds)
    report(times, BARE, len(images))
    claim = f"an epoch of `cae-embed`, {len(images)} images of 28x28"
    return [slower(times, EPOCH, BARE, claim), *(faster(times, EPOCH, label, claim) for label in loaders)]


def measure_embedding(options: argparse.Namespace, whole: Collection, config: CaeEmbedConfig) -> list[Row]:
    """Return the row of the embedding of all images."""
    every = torch.cat([whole.splits[name].images for name in ("train", "test")])
    both = ImageSet(images=every, labels=None, names=[])
    embedder = new_embedder(config, whole, start_fabric(config).device)
    functions = {
        ENCODER: lambda: bare_codes(embedder, every),
        EMBEDDING: lambda: codes_of(embedder, both, "", ignore),
    }
    times = time_rounds(functions, options.rounds)
    report(times, ENCODER, len(every))
    return [throughput(times, EMBEDDING, ENCODER, f"embedding of {len(every)} images by `cae-embed`")]


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/fashion-mnist", rounds=3)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--loaders", default="0,2", help="numbers of loading processes of the DataLoader")
    parser.add_argument("--only-memory", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        data = find_data(options.data, Path(name) / "idx")
        if not options.only_memory:
            whole = read_collection(find_source(data), ReadOptions())
            config = CaeEmbedConfig(data=data, epochs=1, batch_size=BATCH, device=options.device, precision="fp32")
            rows += measure_epochs(options, whole, config) + measure_embedding(options, whole, config)
        publish([*rows, memory(data)], options.json)


if __name__ == "__main__":
    main()
