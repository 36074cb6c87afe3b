"""Measure the peak resident memory of a process, without importing any library."""

from pathlib import Path


def peak_resident_mib() -> float:
    """Return the peak resident memory of this process in MiB (Linux).

    getrusage is not used, because the peak that it reports for a new process includes that of its parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


# Ends a program that is passed to `python -c`.
PRINT_PEAK_MIB = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from memory import peak_resident_mib
print(peak_resident_mib())
"""
