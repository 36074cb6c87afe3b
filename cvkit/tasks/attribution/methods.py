"""Class activation maps: each method is one function of the activation of a layer and of the gradient there.

The functions share one signature:

Args:
    activation: Output A of the target layer, (N, C, h, w) float32.
    gradient: Gradient dy/dA of the logit y of the explained class, (N, C, h, w) float32.

Returns:
    Maps (N, h, w) float32. ``explain`` applies the ReLU and scales them to 0..1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# Added to denominators, with the values of the reference implementations, so that the maps are equal to theirs.
GRADCAM_PLUS_PLUS_EPS, XGRADCAM_EPS = 1e-6, 1e-7

Cam = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """An explanation method.

    Attributes:
        needs: Quantity that the method is computed from: "gradients" (the gradient of the class score at the target
            layer), "activation" (the activation alone, so that all classes have the same map), "scores" (forward
            passes of masked images) or "image" (the gradient of the class score at the pixels).
        cam: Function of activation and gradient, for methods that are one.
    """

    needs: Literal["gradients", "activation", "scores", "image"]
    cam: Cam | None = None


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the spatial mean of its gradient.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv 1610.02391, equations 1 and 2.
    """
    return torch.einsum("nchw,nc->nhw", activation, gradient.mean((2, 3)))


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the sum of its positive gradients, each with a coefficient alpha from higher derivatives.

    Source: Chattopadhyay et al. 2018, Grad-CAM++, arXiv 1710.11063, equations 5 and 19.
    """
    square = gradient.square()
    total = activation.sum((2, 3), keepdim=True)
    alpha = square / (2 * square + total * square * gradient + GRADCAM_PLUS_PLUS_EPS)
    weights = (gradient.relu() * torch.where(gradient != 0, alpha, 0.0)).sum((2, 3))
    return torch.einsum("nchw,nc->nhw", activation, weights)


def hirescam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Multiply activation and gradient at each position, and sum over the channels.

    Source: Draelos and Carin 2020, HiResCAM, arXiv 2011.08891, equation 5.
    """
    return (activation * gradient).sum(1)


def xgradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by the mean of its gradient, weighted by the activation at each position.

    Source: Fu et al. 2020, XGrad-CAM, arXiv 2008.02312, equation 8.
    """
    weights = (gradient * activation / (activation.sum((2, 3), keepdim=True) + XGRADCAM_EPS)).sum((2, 3))
    return torch.einsum("nchw,nc->nhw", activation, weights)


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh the activation at each position by the positive part of its own gradient.

    Source: Jiang et al. 2021, LayerCAM, IEEE TIP, equations 6 and 7.
    """
    return (activation * gradient.relu()).sum(1)


def eigencam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Project the features of each position onto their first principal component; the map is the same for all classes.

    The sign of a principal component is arbitrary. The sign that LAPACK returns is kept, as in the reference
    implementation, so that the maps are equal; in some images the background is therefore bright.

    Source: Muhammad and Yeasin 2020, Eigen-CAM, arXiv 2008.00299.
    """
    del gradient
    maps = []
    for features in activation.flatten(2).transpose(1, 2).cpu().numpy():  # (h * w, C)
        centred = features - features.mean(0)
        maps.append(centred @ np.linalg.svd(centred, full_matrices=False)[2][0])
    return torch.from_numpy(np.stack(maps)).to(activation.device).unflatten(1, activation.shape[2:])


METHODS: dict[str, Method] = {
    "gradcam": Method("gradients", gradcam),
    "gradcam++": Method("gradients", gradcam_plus_plus),
    "hirescam": Method("gradients", hirescam),
    "xgradcam": Method("gradients", xgradcam),
    "layercam": Method("gradients", layercam),
    "eigencam": Method("activation", eigencam),
    "scorecam": Method("scores"),  # scorecam.py
    "guided-backprop": Method("image"),  # guided.py
    "guided-gradcam": Method("image"),  # guided backpropagation times Grad-CAM: Selvaraju et al. 2017
}
