"""Compare JPEG decoding on the GPU with the reader of cvkit: speed and pixels."""

import itertools
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cvkit.data.images import read_image
from cvkit.processes import cpu_count
from gpu_checks.lab import Lab
from gpu_checks.report import Row

BATCH = 64
ROUNDS = 5


def measure_decoding(lab: Lab) -> list[Row]:
    """Return images per second of three decoders, and the difference of their pixels from those of cvkit's reader."""
    chosen = lab.photographs[:BATCH]
    expected = [read_image(path) for path in chosen]
    decoded = {
        f"cvkit's reader, {cpu_count()} threads": lambda: read_in_threads(chosen),
        f"torchvision.io.decode_jpeg on {lab.device.type}": lambda: decode(chosen, lab.device),
    }
    rows = []
    for name, function in decoded.items():
        images = function()
        apart = [
            np.abs(one.astype(np.int16) - other.astype(np.int16)) for one, other in zip(images, expected, strict=True)
        ]
        rate = decoding_rate(lab, chosen, gpu=name.startswith("torchvision"))
        rows.append(
            {
                "decoder": name,
                "images/s": rate,
                "largest pixel difference": max(int(each.max()) for each in apart),
                "mean pixel difference": float(np.mean([each.mean() for each in apart])),
            }
        )
    return rows


def decoding_rate(lab: Lab, chosen: list[Path], *, gpu: bool) -> float:
    """Return the largest number of images per second over some rounds, with reading of the files."""
    count = len(chosen) if lab.quick else 4 * BATCH
    files = list(itertools.islice(itertools.cycle(chosen), count))
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        if gpu:
            for first in range(0, count, BATCH):
                tensors_of(files[first : first + BATCH], lab.device)
            lab.synchronise()
        else:
            read_in_threads(files)
        seconds.append(time.perf_counter() - began)
    return count / min(seconds)


def read_in_threads(files: list[Path]) -> list[np.ndarray]:
    """Read files with cvkit, in one thread per core."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(read_image, files))


def decode(files: list[Path], device: torch.device) -> list[np.ndarray]:
    """Return (H, W, 3) uint8 images that torchvision decoded on a device."""
    return [image.permute(1, 2, 0).cpu().numpy() for image in tensors_of(files, device)]


def tensors_of(files: list[Path], device: torch.device) -> list[Tensor]:
    """Return (3, H, W) uint8 images on a device; files are read on the processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision about its future
        from torchvision.io import ImageReadMode, decode_jpeg

        data = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in files]
        return list(decode_jpeg(data, mode=ImageReadMode.RGB, device=device))
