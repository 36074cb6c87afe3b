"""Gaussian noise that depends on the index of an image, and not on its batch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_SIZE = 64  # images whose noise is drawn together


def image_noise(indices: NDArray[np.int64], shape: tuple[int, ...], seed: int) -> Tensor:
    """Return standard normal noise for images, a function of (seed, index) only.

    Args:
        indices: Index of each image in its split, (N,) int64.
        shape: Shape of an image, (C, H, W).
        seed: Seed of the noise.

    Returns:
        (N, *shape) float32 on the CPU.
    """
    noise = torch.empty((len(indices), *shape))
    blocks = indices // BLOCK_SIZE
    for block in np.unique(blocks):
        state = np.random.SeedSequence((seed, int(block))).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
        drawn = torch.randn((BLOCK_SIZE, *shape), generator=generator)
        members = np.flatnonzero(blocks == block)
        noise[torch.from_numpy(members)] = drawn[torch.from_numpy(indices[members] % BLOCK_SIZE)]
    return noise


def add_noise(images: Tensor, indices: Tensor, sigma: float, seed: int) -> Tensor:
    """Add Gaussian noise to images; each image always gets the same noise.

    Args:
        images: (N, C, H, W) float32 in 0..1.
        indices: Index of each image in its split, (N,) int64.
        sigma: Standard deviation of the noise in units of the pixel values; 0 returns the images themselves.
        seed: Seed of the noise.

    Returns:
        (N, C, H, W) float32, which may leave 0..1.
    """
    if not sigma:
        return images
    return images + sigma * image_noise(indices.cpu().numpy(), tuple(images.shape[1:]), seed).to(images.device)
