"""Test the memory and the threads of a process that streams images."""

import subprocess
import sys

import pytest
import torch

from cvkit.engine.streaming.resources import torch_threads

FAULTS = """
import resource
import numpy as np
from cvkit.engine.streaming.resources import keep_freed_memory
def faults():
    blocks = [np.ones(1_000_000, np.uint8) for _ in range(8)]  # as of decoded images
    del blocks
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [np.ones(1_000_000, np.uint8) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
default = faults()
keep_freed_memory()
print(default, faults())
"""


def test_the_threads_of_torch_are_restored() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="stop"), torch_threads(1):
        assert torch.get_num_threads() == 1
        raise ValueError("stop")
    assert torch.get_num_threads() == before
    with torch_threads(None):
        assert torch.get_num_threads() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept * 5 < default
