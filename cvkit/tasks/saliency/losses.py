"""Loss functions for saliency networks, computed in float32 and finite on every map.

Every loss takes ``pred`` and ``target``, (N, 1, H, W) maps, and ``fixations``, (N, 1, H, W) counts or None, all of one
size, and returns a scalar, the mean over the images. Use ``resize_like`` to resize targets and counts to the size of
the prediction.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.errors import UsageError
from cvkit.messages import did_you_mean

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# Lower bound of divisors for maps with values of order 1: far below one step of a 16-bit map, and large enough that
# gradients through a division by it stay finite in float32.
FLOOR = 1e-6
# Cornia et al. 2018 (SAM, arXiv 1611.09571) train on 10 KL - 2 CC - 1 NSS; these are the same weights divided by ten.
CC_WEIGHT = 0.2
NSS_WEIGHT = 0.1
PIXELS = (1, 2, 3)


def mlnet_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Compute the weighted squared error of ML-Net between the target and the prediction divided by its maximum.

    It is the mean over the pixels of (phi / max(phi) - y)^2 / (alpha - y), with the maximum of each image. An all-zero
    prediction is compared as zeros. Source: Cornia et al. 2016 (arXiv 1609.01064), as corrected by the authors.

    Args:
        pred: Raw map phi >= 0.
        target: Human map y from 0 to 1.
        fixations: Not used.
        alpha: Constant > 1 that sets the weight of bright pixels.
    """
    del fixations
    pred, target = pred.float(), target.float().clamp(0, 1)
    peak = pred.amax(PIXELS, keepdim=True).clamp_min(FLOOR)
    return ((pred / peak - target).square() / (alpha - target)).mean()


def bce_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Compute the binary cross entropy of two maps of probabilities, after both are averaged over 4x4 blocks.

    A prediction above 1, as of a network without a sigmoid, is divided by its maximum. Source: Pan et al. 2017 (SalGAN,
    arXiv 1701.01081), content loss of section 3.
    """
    del fixations, alpha
    pred, target = pred.float(), target.float().clamp(0, 1)
    pred = pred / pred.amax(PIXELS, keepdim=True).clamp_min(1)
    # ceil_mode keeps an incomplete last block, averaged over the pixels it has.
    pred, target = (F.avg_pool2d(maps, 4, 4, ceil_mode=True) for maps in (pred, target))
    pred = pred.clamp(FLOOR, 1 - FLOOR)
    return -(target * pred.log() + (1 - target) * (1 - pred).log()).mean()


def kl_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Compute the Kullback-Leibler divergence KL(target || pred) of maps scaled to sum 1, in nats.

    An all-zero prediction counts as uniform. An all-zero target adds 0.
    """
    del fixations, alpha
    return _kl(_relative(pred), target.float()).mean()


def kl_cc_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Compute KL + 0.2 (1 - CC), which is ``kl_cc_nss_loss`` without its NSS term."""
    del fixations, alpha
    relative, target = _relative(pred), target.float()
    return (_kl(relative, target) + CC_WEIGHT * (1 - _cc(relative, target))).mean()


def kl_cc_nss_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Compute KL + 0.2 (1 - CC) - 0.1 NSS, one tenth of the loss of SAM (Cornia et al. 2018, arXiv 1611.09571).

    The NSS term is 0 for an image without fixations, and for all images if ``fixations`` is None. The loss can be
    negative.
    """
    loss = kl_cc_loss(pred, target, alpha=alpha)
    if fixations is None:
        return loss
    return loss - NSS_WEIGHT * _nss(_relative(pred), fixations.float()).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mlnet": mlnet_loss,
    "bce": bce_loss,
    "kl": kl_loss,
    "kl-cc": kl_cc_loss,
    "kl-cc-nss": kl_cc_nss_loss,
}


def make_loss(name: str, alpha: float = 1.01) -> Loss:
    """Return a loss as a function of (pred, target, fixations).

    Args:
        name: One of ``LOSSES``.
        alpha: Constant > 1 of ``mlnet``; the other losses do not use it.

    Raises:
        UsageError: If there is no such loss, or alpha is not above 1.
    """
    if name not in LOSSES:
        raise UsageError(f"There is no loss '{name}'.{did_you_mean(name, LOSSES)}")
    if not alpha > 1:
        raise UsageError(f"alpha must be greater than 1, because the loss divides by alpha - target; it is {alpha:g}.")
    return partial(LOSSES[name], alpha=alpha)


def resize_like(values: Tensor, like: Tensor, *, counts: bool = False) -> Tensor:
    """Resize maps to the height and width of other maps.

    Maps are averaged over areas, or interpolated bilinearly if they get larger.

    Args:
        values: (N, 1, H, W) maps.
        like: (N, 1, h, w) maps of the wanted size.
        counts: Whether ``values`` are fixation counts, which are summed, so that each fixation counts exactly once.

    Returns:
        (N, 1, h, w) float32.
    """
    values = values.float()
    (h, w), (height, width) = like.shape[-2:], values.shape[-2:]
    if (h, w) == (height, width):
        return values
    if counts:
        rows = torch.arange(height, device=values.device) * h // height
        columns = torch.arange(width, device=values.device) * w // width
        summed = values.new_zeros(*values.shape[:2], h, width).index_add(2, rows, values)
        return summed.new_zeros(*values.shape[:2], h, w).index_add(3, columns, summed)
    if h <= height and w <= width:
        return F.adaptive_avg_pool2d(values, (h, w))
    return F.interpolate(values, size=(h, w), mode="bilinear", align_corners=False)


def _relative(pred: Tensor) -> Tensor:
    """Scale each map to mean 1 in float32; ``FLOOR`` makes an all-zero map constant, with a finite gradient."""
    raised = pred.float() + FLOOR
    return raised / raised.mean(PIXELS, keepdim=True).clamp_min(FLOOR)


def _kl(relative: Tensor, target: Tensor) -> Tensor:
    """Return KL of each image, (N,); ``relative`` has mean 1, so dividing it by the number of pixels gives sum 1."""
    pixels = relative[0].numel()
    density = target / target.sum(PIXELS, keepdim=True).clamp_min(FLOOR)
    return (torch.xlogy(density, density) - density * (relative / pixels).clamp_min(1e-12).log()).sum(PIXELS)


def _cc(relative: Tensor, target: Tensor) -> Tensor:
    """Return Pearson's correlation coefficient of each image, (N,); 0 for a constant map."""
    pred = relative - relative.mean(PIXELS, keepdim=True)
    target = target - target.mean(PIXELS, keepdim=True)
    spread = (pred.square().mean(PIXELS) + FLOOR).sqrt() * (target.square().mean(PIXELS) + FLOOR).sqrt()
    return (pred * target).mean(PIXELS) / spread


def _nss(relative: Tensor, fixations: Tensor) -> Tensor:
    """Return NSS of each image, (N,); 0 for a constant map and for an image without fixations."""
    centred = relative - relative.mean(PIXELS, keepdim=True)
    score = centred / (centred.square().mean(PIXELS, keepdim=True) + FLOOR).sqrt()
    return (score * fixations).sum(PIXELS) / fixations.sum(PIXELS).clamp_min(1)
