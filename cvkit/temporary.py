"""Name the temporary files and folders of a process, and remove those that killed processes left."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

TEMPORARY = ".cvkit-"  # prefix of the files and folders that cvkit renames to their final name when they are complete
UNUSED_SECONDS = 86_400.0  # a temporary file that nobody has written to for this long is abandoned
_OWNED = re.compile(r"\.cvkit-(?:(?P<space>[0-9a-f]{8})-(?P<process>\d{1,10})-)?[a-z0-9_]{8}\.tmp")


def temporary_prefix() -> str:
    """Return the beginning of the names of this process's temporary files and folders."""
    return f"{TEMPORARY}{_process_space()}-{os.getpid()}-"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def _process_space() -> str:
    """Return 8 hex digits for the set of processes among which a process number is unique.

    This is the process namespace (a container has its own) of one boot of a machine; elsewhere than on Linux, the name
    of the machine.
    """
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return _digest(f"{boot} {Path('/proc/self/ns/pid').readlink()}")
    return _digest(platform.node())


def is_temporary(name: str) -> bool:
    """Return whether a file or folder of this name is one that cvkit had not finished writing."""
    return name.startswith(TEMPORARY)


def remove_abandoned(folder: Path, *, exclusive: bool = False) -> None:
    """Remove the temporary files that killed processes left in a folder and below it.

    A file is abandoned if its name gives a process of this machine (and container) that has ended, or if nobody has
    written to it for a day. Whether a process of another machine is alive cannot be known. Jobs of an array share a
    folder, so the newer files of other machines stay.

    Args:
        folder: The folder.
        exclusive: Whether the caller holds a lock that all writers of this folder take. All temporary files directly
            in it are abandoned then.
    """
    for parent, _, names in os.walk(folder):
        for path, owner in _owned(Path(parent), names):
            if (exclusive and path.parent == folder) or _is_abandoned(path, owner):
                with contextlib.suppress(OSError):  # another process removes it as well, or the folder is read-only
                    path.unlink()


def remove_abandoned_folders(folder: Path) -> None:
    """Remove the temporary folders that killed processes left directly in a folder, see ``remove_abandoned``."""
    with contextlib.suppress(OSError):
        for path, owner in _owned(folder, [path.name for path in folder.iterdir()]):
            if path.is_dir() and not path.is_symlink() and _is_abandoned(path, owner):
                shutil.rmtree(path, ignore_errors=True)


def _owned(folder: Path, names: Iterable[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the temporary ones of the names in a folder, each with the match that names its process."""
    for name in filter(is_temporary, names):
        if owner := _OWNED.fullmatch(name):
            yield folder / name, owner


def _is_abandoned(path: Path, owner: re.Match[str]) -> bool:
    if owner["space"] == _process_space() and not _is_alive(int(owner["process"])):
        return True
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > UNUSED_SECONDS
    return False


def _is_alive(process: int) -> bool:
    """Return whether a process of this machine exists. On Windows the answer is always True."""
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
