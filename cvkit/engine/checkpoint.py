"""Save checkpoints atomically, verify their checksums, and load them without unpickling code."""

import errno
from pathlib import Path
from typing import Any

import torch

import cvkit
from cvkit import files
from cvkit.errors import WeightsError
from cvkit.files import atomic_path
from cvkit.messages import nearest, reason

FORMAT = 1


class UnreadableCheckpoint(WeightsError):
    """A checkpoint file that is missing, damaged, or of another format."""


def save(path: Path, kind: str, content: dict[str, Any], keep: Path | None = None) -> None:
    """Write a checkpoint atomically, and flush it to the disk.

    Args:
        path: The file.
        kind: Kind of the checkpoint (``saliency``, ``training-state``), which ``load`` checks.
        content: Tensors and plain values only, so that the file loads without unpickling code.
        keep: The name for the checkpoint that is replaced; None removes it.
    """
    with atomic_path(path, keep=keep) as temporary:
        try:
            torch.save({"cvkit": cvkit.__version__, "format": FORMAT, "kind": kind, **content}, temporary)
        except RuntimeError as error:  # torch hides a full disk behind its own writer's error
            if not any(word in str(error) for word in ("PytorchStreamWriter", "unexpected pos")):
                raise
            raise OSError(errno.ENOSPC, "no space left, or the file cannot be written") from error


def load(path: Path, *kinds: str) -> dict[str, Any]:
    """Read a checkpoint into memory.

    Args:
        path: The file.
        kinds: The kinds that are accepted.

    Raises:
        UnreadableCheckpoint: If the file is missing or damaged, or is no checkpoint.
        WeightsError: If the file is of another kind or of a newer version.
    """
    content = _read(path)
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind is None:
        raise WeightsError(
            f"{path}: holds weights alone, not a cvkit checkpoint; use it as the weights of a named model."
        )
    if kind not in kinds:
        accepted = " or ".join(map(repr, kinds))
        raise WeightsError(f"{path}: a checkpoint of kind {kind!r}; this command needs one of kind {accepted}.")
    version = content.get("format", 0)
    if not isinstance(version, int) or version > FORMAT:
        raise WeightsError(f"{path}: written by cvkit {content.get('cvkit')}, newer than this {cvkit.__version__}.")
    return content


def _read(path: Path) -> Any:
    """Return what a file holds, after its checksums were verified: PyTorch does not verify them."""
    try:
        member = files.damaged_member(path)
        if member is not None:
            raise UnreadableCheckpoint(f"{path}: the checkpoint is damaged (wrong checksum in {member}).")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UnreadableCheckpoint(f"{path}: no such checkpoint.") from error
    except OSError as error:
        # In a truncated file, torch seeks beyond the end.
        cause = "it is damaged" if error.errno == errno.EINVAL else reason(error)
        raise UnreadableCheckpoint(f"{path}: the checkpoint cannot be read ({cause}).") from error
    except UnreadableCheckpoint:
        raise
    except Exception as error:
        raise UnreadableCheckpoint(f"{path}: not a cvkit checkpoint (it does not load as plain tensors).") from error


def find(name: str) -> Path:
    """Find the checkpoint file of a run.

    Args:
        name: A run folder, for its ``best.pt``, or a file.

    Raises:
        WeightsError: If there is no such file.
    """
    path = Path(name)
    if files.is_folder(name):
        if (path / "best.pt").is_file():
            return path / "best.pt"
        hint = f" It has last.pt: finish the run with `cvkit resume {path}`." if (path / "last.pt").is_file() else ""
        raise WeightsError(f"{path}: no best.pt in this folder.{hint}")
    if not files.is_file(name):
        near = [p.name for p in path.parent.iterdir()] if files.is_folder(str(path.parent)) else []
        raise WeightsError(f"{name}: no such run folder or file.{nearest(path.name, near)}")
    return path
