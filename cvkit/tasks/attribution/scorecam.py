"""Score-CAM: what the class score becomes when each channel masks the image."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8
CHUNK = 32  # masked images that go through the network together


def scorecam(activation: Tensor, images: Tensor, classes: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the (N, K, h, w) sums of an activation's channels, weighed by the scores of the images they mask.

    ``activation`` (N, C, h, w) and ``images`` (N, 3, H, W) are float32, ``classes`` (N, K) int64; ``score`` gives the
    (M, classes) logits of images. The weights are a softmax over the channels. Source: Wang et al. 2020, eq. (7) to
    (9), with the activation brought to the image's size by its corners, as the authors do.
    """
    maps = []
    for one, image, wanted in zip(activation, images, classes, strict=True):
        low, high = one.amin((1, 2)), one.amax((1, 2))
        alive = high > low
        # A constant channel makes the mask 0: all of them are the same black image, which is tried once.
        logits = score(torch.zeros_like(image)[None])[:, wanted].expand(len(one), -1).clone()
        indices = alive.nonzero()[:, 0]
        for chunk in indices.split(CHUNK):
            masks = F.interpolate(one[chunk][:, None], size=image.shape[1:], mode="bilinear", align_corners=True)
            least, most = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
            logits[chunk] = score(image * ((masks - least) / (most - least + EPS)))[:, wanted]
        maps.append(torch.einsum("chw,ck->khw", one, logits.softmax(0)))
    return torch.stack(maps)
