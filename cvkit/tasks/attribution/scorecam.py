"""Score-CAM: weigh each channel by the class score of the image that it masks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8  # keeps the range of a mask from 0
BATCH_SIZE = 32  # masked images per forward pass


def scorecam(activation: Tensor, images: Tensor, classes: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute Score-CAM maps without gradients.

    Each channel, resized to the image (bilinear, aligned corners, as in the authors' code) and scaled to 0..1, masks
    the image. The weights of the channels are a softmax over the logits of the masked images.

    Source: Wang et al. 2020, Score-CAM, arXiv 1910.01279, equations 7 to 9.

    Args:
        activation: Output of the target layer, (N, C, h, w) float32.
        images: (N, 3, H, W) float32, normalised.
        classes: Classes to explain, (N, K) int64.
        score: Function that returns the logits (M, classes) of M images.

    Returns:
        Weighted sums of the channels, (N, K, h, w) float32, before the ReLU.
    """
    maps = []
    for channels, image, selected in zip(activation, images, classes, strict=True):
        low, high = channels.amin((1, 2)), channels.amax((1, 2))
        varying = high > low
        # The mask of a constant channel is 0: all such channels give the same black image, which is scored once.
        logits = score(torch.zeros_like(image)[None])[:, selected].expand(len(channels), -1).clone()
        indices = varying.nonzero()[:, 0]
        for chunk in indices.split(BATCH_SIZE):
            masks = F.interpolate(channels[chunk][:, None], size=image.shape[1:], mode="bilinear", align_corners=True)
            least, most = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
            logits[chunk] = score(image * ((masks - least) / (most - least + EPS)))[:, selected]
        maps.append(torch.einsum("chw,ck->khw", channels, logits.softmax(0)))
    return torch.stack(maps)
