"""Divide the inputs of a result folder into parts, each of which one process at a time writes."""

import hashlib
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cvkit.engine import locks
from cvkit.engine.locks import FileLock, locked, wait_or_refuse
from cvkit.inputs import RESULT_MARK, Input

_PART_FILE = re.compile(r"(\d+)-of-(\d+)\.lock")


def ledger_lock(state: Path) -> Path:
    """Return the lock file that guards the manifest and the reports of a result folder."""
    return state / "ledger.lock"


def claim_part(folder: Path, shard: tuple[int, int]) -> FileLock:
    """Get the right to write a part of a result folder.

    Parts that have no input in common are written at the same time. Parts of different divisions, such as 1/2 and 1/1,
    can have inputs in common, and exclude each other.

    Args:
        folder: The result folder, which has a ``.cvkit`` folder.
        shard: (K, N): the part of every N-th input from the K-th.

    Raises:
        OutputError: If another process does not finish such a part within ``locks.WAIT_S`` seconds.
    """
    state = folder / RESULT_MARK
    own = FileLock(state / f"{shard[0]}-of-{shard[1]}.lock")
    deadline = time.monotonic() + locks.WAIT_S
    while True:
        with locked(ledger_lock(state)):
            blocking = [path for path, part in _held_parts(state, own.path) if _overlap(part, shard)]
            if not blocking and own.acquire():
                own.sign()
                return own
        wait_or_refuse(folder, blocking or [own.path], deadline)


def _held_parts(state: Path, own: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Yield the lock file and (K, N) of every other part that is being written."""
    for path in sorted(state.glob("*.lock")):
        match = _PART_FILE.fullmatch(path.name)
        if match is None or path == own:
            continue
        lock = FileLock(path)
        if not lock.acquire():
            yield path, (int(match[1]), int(match[2]))
        lock.release()


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two parts (K, N) of one list of inputs can have an input in common."""
    return (one[0] - other[0]) % max(1, math.gcd(one[1], other[1])) == 0


def list_digest(inputs: Sequence[Input]) -> str:
    """Return 12 hex digits that identify a list of inputs by the names of its files in their order."""
    names = "\0".join(item.name for item in inputs)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:12]
