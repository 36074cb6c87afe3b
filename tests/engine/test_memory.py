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

RELEASE = """
from pathlib import Path
import numpy as np
from cvkit.engine.memory import keep_activations, release_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
keep_activations()
blocks = [np.ones(40_000_000, np.uint8) for _ in range(4)]
last = np.ones(1_000_000, np.uint8)
del blocks
before = resident()
release_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
@pytest.mark.parametrize(("function", "size"), [("keep_freed_memory", 1_000_000), ("keep_activations", 40_000_000)])
def test_freed_memory_is_used_again_without_page_faults(function: str, size: int) -> None:
    """The blocks have the size of decoded images, and of activations that are above glibc's largest limit."""
    program = FAULTS.format(function=function, size=size)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept * 5 < default


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_freed_memory_is_given_back_before_a_process_is_forked() -> None:
    done = subprocess.run([sys.executable, "-c", RELEASE], capture_output=True, check=True)
    assert int(done.stdout) > 100_000_000
