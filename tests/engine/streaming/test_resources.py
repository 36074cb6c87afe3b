"""Test the memory and the threads of a process that streams images."""

import subprocess
import sys

import pytest
import torch

from cvkit.engine.streaming.resources import torch_threads

FAULTS = """
import resource, sys
import numpy as np
from cvkit.engine.streaming.resources import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
blocks = [np.ones(1_000_000, np.uint8) for _ in range(8)]  # as of decoded images
del blocks
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [np.ones(1_000_000, np.uint8) for _ in range(8)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
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
    def faults(mode: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout)

    assert faults("keep") * 5 < faults("default")
