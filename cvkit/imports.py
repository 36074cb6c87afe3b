"""Import large libraries quickly."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 100  # modules of a large library
NANOBIND = ("onnx", "triton")  # libraries that print objects which are left at the end of the process as leaks


@contextmanager
def without_collector() -> Iterator[None]:
    """Import large libraries inside this context: the garbage collector pauses, and never examines their objects.

    torch and torchvision create half a million objects that live as long as the process. To examine them again and
    again takes a seventh of the time of their import.
    """
    was_enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) - before > LARGE:
            gc.freeze()
            atexit.register(_unfreeze)
        if was_enabled:
            gc.enable()


def _unfreeze() -> None:
    """Give the objects back to the collector, which takes some 0.2 s at the end of a process, only where it matters."""
    if any(name in sys.modules for name in NANOBIND):
        gc.unfreeze()
