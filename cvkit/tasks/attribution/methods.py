"""The CAM family: each method is one small function of a layer's activation and of a class score's gradient there.

All take ``activation`` A and ``gradient`` dy/dA as (N, C, h, w) float32 and return (N, h, w) float32; the ReLU that
follows, and the scaling to 0..1, are those of ``explain``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# Numbers that keep a denominator from zero, as in the reference implementations: the maps agree with theirs.
PLUS_PLUS_EPS, X_EPS = 1e-6, 1e-7

Cam = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """What a method is: its source, what it ``needs`` of the network, and its function where it is one of A and dy/dA.

    "gradients": the class score's gradient at the layer; "activation": the layer's activation alone, so that every
    class has the same map; "scores": forward passes of masked images; "image": the gradient down to the pixels.
    """

    summary: str
    source: str
    needs: Literal["gradients", "activation", "scores", "image"]
    cam: Cam | None = None


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the mean of its gradient. Source: Selvaraju et al. 2017, eq. (1) and (2)."""
    return torch.einsum("nchw,nc->nhw", activation, gradient.mean((2, 3)))


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh positive gradients by their share in the score. Source: Chattopadhyay et al. 2018, eq. (5) and (19)."""
    square = gradient.square()
    total = activation.sum((2, 3), keepdim=True)
    alpha = square / (2 * square + total * square * gradient + PLUS_PLUS_EPS)
    weights = (gradient.relu() * torch.where(gradient != 0, alpha, 0.0)).sum((2, 3))
    return torch.einsum("nchw,nc->nhw", activation, weights)


def hirescam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Multiply activation and gradient place by place. Source: Draelos and Carin 2020, eq. (5)."""
    return (activation * gradient).sum(1)


def xgradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each place's gradient by its share of the activation. Source: Fu et al. 2020, eq. (8)."""
    weights = (gradient * activation / (activation.sum((2, 3), keepdim=True) + X_EPS)).sum((2, 3))
    return torch.einsum("nchw,nc->nhw", activation, weights)


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each place by its own positive gradient. Source: Jiang et al. 2021, eq. (6) and (7)."""
    return (activation * gradient.relu()).sum(1)


def eigencam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Project onto the first principal component of the places' channels; knows no class. Source: Muhammad 2020.

    A principal component has no sign of its own. It is left as LAPACK gives it, as the reference implementation does,
    so that the maps are the same; on some images the quiet part is therefore the bright one.
    """
    del gradient
    maps = []
    for one in activation.flatten(2).transpose(1, 2).cpu().numpy():  # (h * w, C)
        centred = one - one.mean(0)
        maps.append(centred @ np.linalg.svd(centred, full_matrices=False)[2][0])
    return torch.from_numpy(np.stack(maps)).to(activation.device).unflatten(1, activation.shape[2:])


METHODS: dict[str, Method] = {
    "gradcam": Method("gradients averaged over each channel", "arXiv 1610.02391", "gradients", gradcam),
    "gradcam++": Method(
        "positive gradients, weighed by their share in the score", "arXiv 1710.11063", "gradients", gradcam_plus_plus
    ),
    "hirescam": Method("gradient times activation, place by place", "arXiv 2011.08891", "gradients", hirescam),
    "xgradcam": Method("gradients weighed by the activation's share", "arXiv 2008.02312", "gradients", xgradcam),
    "layercam": Method(
        "positive gradients place by place: fine in early layers", "Jiang et al. 2021", "gradients", layercam
    ),
    "eigencam": Method(
        "first principal component of the activation, no class", "arXiv 2008.00299", "activation", eigencam
    ),
    "scorecam": Method("no gradients: each channel is tried as a mask on the image", "arXiv 1910.01279", "scores"),
    "guided-backprop": Method("gradient down to the pixels through positive paths only", "arXiv 1412.6806", "image"),
    "guided-gradcam": Method("guided backpropagation times Grad-CAM", "arXiv 1610.02391", "image"),
}
