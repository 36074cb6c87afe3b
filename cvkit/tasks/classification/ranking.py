"""Rank the classes of an image by their logits."""

import torch
from torch import Tensor


def top_classes(logits: Tensor, k: int) -> Tensor:
    """Return the k most likely classes of each image, the most likely first.

    Classes of equal logits are ordered by their index, on every device.

    Args:
        logits: (N, C) float.
        k: Number of classes per image; all C classes if it is larger.

    Returns:
        Class indices, (N, min(k, C)) int64.
    """
    return logits.argsort(dim=1, descending=True, stable=True)[:, :k]


def ranks_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the rank of one class per image, where rank 1 is the largest logit.

    Classes of equal logits are ordered by their index, as in ``top_classes``.

    Args:
        logits: (N, C) float.
        classes: Class index of each image, (N,) int64.

    Returns:
        Ranks from 1 to C, (N,) int64, on the device of ``logits``.

    Raises:
        ValueError: If the shapes do not fit, a class is not in 0..C-1 or a logit is NaN.
    """
    if logits.dim() != 2 or classes.shape != logits.shape[:1]:
        raise ValueError(f"need logits (N, C) and classes (N,), not {tuple(logits.shape)} and {tuple(classes.shape)}")
    count = logits.shape[1]
    own_index = classes.to(logits.device)[:, None]
    if ((own_index < 0) | (own_index >= count)).any():
        raise ValueError(f"classes must lie in 0..{count - 1}")
    undefined = logits.isnan().any(1)
    if undefined.any():
        raise ValueError(f"the logits of image {int(undefined.nonzero()[0])} have NaN, which has no rank")
    own = logits.gather(1, own_index)
    earlier = torch.arange(count, device=logits.device) < own_index
    return ((logits > own) | ((logits == own) & earlier)).sum(1) + 1
