"""Gaussian noise that belongs to an image's number, and not to the batch it comes in."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 64  # images whose noise is drawn together


def noise_of(indices: NDArray[np.int64], shape: tuple[int, ...], seed: int) -> Tensor:
    """Return standard normal noise (N, *shape) float32 for the images of these numbers: always the same for each."""
    noise = torch.empty((len(indices), *shape))
    blocks = indices // BLOCK
    for block in np.unique(blocks):
        state = np.random.SeedSequence((seed, int(block))).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
        drawn = torch.randn((BLOCK, *shape), generator=generator)
        members = np.flatnonzero(blocks == block)
        noise[torch.from_numpy(members)] = drawn[torch.from_numpy(indices[members] % BLOCK)]
    return noise
