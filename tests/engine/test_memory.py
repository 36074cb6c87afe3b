"""Test that the process keeps freed memory."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from cvkit.engine.memory import {function}
def faults():
    blocks = [np.ones({size}, np.uint8) for _ in range(8)]
    del blocks
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [np.ones({size}, np.uint8) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
default = faults()
{function}()
print(default, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
@pytest.mark.parametrize(("function", "size"), [("keep_freed_memory", 1_000_000), ("keep_activations", 40_000_000)])
def test_freed_memory_is_used_again_without_page_faults(function: str, size: int) -> None:
    """The blocks have the size of decoded images, and of activations that are above glibc's largest limit."""
    program = FAULTS.format(function=function, size=size)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept * 5 < default
