"""Save checkpoints atomically, and load them without unpickling code."""

import errno
from pathlib import Path
from typing import Any

import torch

import cvkit
from cvkit import files
from cvkit.errors import WeightsError, nearest
from cvkit.files import atomic_path

FORMAT = 1


def save(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a checkpoint of a kind (``saliency``, ``training-state``): tensors and plain values only."""
    with atomic_path(path) as temporary:
        try:
            torch.save({"cvkit": cvkit.__version__, "format": FORMAT, "kind": kind, **content}, temporary)
        except RuntimeError as error:  # torch hides a full disk behind its own writer's error
            if not any(word in str(error) for word in ("PytorchStreamWriter", "unexpected pos")):
                raise
            raise OSError(errno.ENOSPC, "no space left, or the file cannot be written") from error


def load(path: Path, *kinds: str) -> dict[str, Any]:
    """Read a checkpoint of one of these kinds onto the processor; raises WeightsError for anything else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such checkpoint.") from error
    except OSError as error:
        # A file that is cut off is asked for what lies behind its end.
        reason = "it is damaged" if error.errno == errno.EINVAL else error.strerror or error
        raise WeightsError(f"{path}: the checkpoint cannot be read ({reason}).") from error
    except Exception as error:
        raise WeightsError(f"{path}: not a cvkit checkpoint (it does not load as plain tensors).") from error
    found = content.get("kind") if isinstance(content, dict) else None
    if found is None:
        raise WeightsError(f"{path}: holds bare weights, not a cvkit checkpoint; train with --weights {path.name}.")
    if found not in kinds:
        wanted = " or ".join(map(repr, kinds))
        raise WeightsError(f"{path}: a checkpoint of kind {found!r}; this command needs one of kind {wanted}.")
    if content.get("format", 0) > FORMAT:
        raise WeightsError(f"{path}: written by cvkit {content.get('cvkit')}, newer than this {cvkit.__version__}.")
    return content


def find(place: str) -> Path:
    """Return the checkpoint file a run folder or file name means (``best.pt`` of a run)."""
    path = Path(place)
    if files.is_folder(place):
        if (path / "best.pt").is_file():
            return path / "best.pt"
        hint = " It has last.pt: finish it with --resume." if (path / "last.pt").is_file() else ""
        raise WeightsError(f"{path}: no best.pt in this folder.{hint}")
    if not files.is_file(place):
        near = [p.name for p in path.parent.iterdir()] if files.is_folder(str(path.parent)) else []
        raise WeightsError(f"--checkpoint {place}: no such run folder or file.{nearest(path.name, near)}")
    return path
