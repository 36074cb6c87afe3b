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
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from side_by_side import median_seconds, report
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
        train(TrainingRun(config, embedder, collection, RunFolder(Path(name)), ""), fabric, ignore)


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
    # getrusage is not used, because the peak that it reports for a new process includes that of its parent.
    program = f"{code}\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) / 1024


def memory(data: str) -> None:
    """Print the peak memory of ``import torch`` and of a whole `cae-embed`."""
    with tempfile.TemporaryDirectory() as name:
        arguments = ["--data", data, "--epochs", "1", "--out", f"{name}/r", "--quiet", "--device", "cpu"]
        alone, whole = peak_mib("import torch"), peak_mib(COMMAND.format(arguments=arguments))
    print(f"peak memory: import torch {alone:.0f} MiB, cae-embed {whole:.0f} MiB, {whole - alone:.0f} MiB more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/fashion-mnist")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--loaders", default="0,2", help="numbers of loading processes of the DataLoader")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--only-memory", action="store_true")
    options = parser.parse_args()
    if options.only_memory:
        return memory(options.data)
    whole = read_collection(find_source(options.data), ReadOptions())
    pick = np.arange(min(options.images, len(whole.splits["train"])))
    parts = {"train": whole.splits["train"].subset(pick), "test": whole.splits["test"].subset(np.arange(256))}
    collection = Collection(splits=parts, classes=(), failures=[], remarks=[])
    config = CaeEmbedConfig(data=options.data, epochs=1, batch_size=BATCH, device=options.device, precision="fp32")
    fabric = start_fabric(config)
    device = fabric.device
    images = parts["train"].images
    resident = images.to(device)
    functions = {
        "bare loop, tensor in memory": lambda: train_epoch(
            untrained(config, collection, device), resident_batches(resident), device
        ),
        "cvkit, one epoch": lambda: cvkit_epoch(config, collection, fabric),
    }
    for workers in map(int, options.loaders.split(",")):
        functions[f"DataLoader + ToTensor, {workers} workers"] = lambda workers=workers: train_epoch(
            untrained(config, collection, device), loader_batches(images, workers, device), device
        )
    report(median_seconds(functions, options.rounds), "bare loop, tensor in memory", len(images))
    every = torch.cat([whole.splits[name].images for name in ("train", "test")])
    both = ImageSet(images=every, labels=None, names=[])
    embedder = new_embedder(config, collection, device)
    report(
        median_seconds(
            {
                "bare encoder": lambda: bare_codes(embedder, every),
                "cvkit, embedding": lambda: codes_of(embedder, both, "", ignore),
            },
            options.rounds,
        ),
        "bare encoder",
        len(every),
    )
    if not options.no_memory:
        memory(options.data)
    return None


if __name__ == "__main__":
    main()
