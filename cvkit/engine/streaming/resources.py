"""Set the threads of a process that sends many images through a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set the number of threads of torch's operations for the block; None leaves it as it is.

    If another runtime computes the network, what is left for torch is small. Its threads would wait by spinning, and
    take the cores from those that read and write images.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
