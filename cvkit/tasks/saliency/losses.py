"""What a saliency network is trained to make small: all losses in float32, finite on every map.

Every loss takes ``pred``, ``target`` and ``fixations`` as (N, 1, H, W) tensors of one size and returns a scalar, the
mean over the images. ``match`` brings targets and fixation counts to the grid of the prediction first.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.errors import UsageError, did_you_mean

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# An absolute floor for maps whose values are of order 1: far below one step of a 16-bit map, and far enough above zero
# that gradients through a division by it stay finite in float32.
FLOOR = 1e-6
# Cornia et al. 2018 (SAM, arXiv 1611.09571) train on 10 KL - 2 CC - 1 NSS; the same proportions, divided by ten.
CC_WEIGHT = 0.2
NSS_WEIGHT = 0.1
PIXELS = (1, 2, 3)


def mlnet_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Return the max-normalised weighted squared error of ML-Net.

    Mean over the pixels of (phi / max(phi) - y)^2 / (alpha - y), the maximum per image. ``pred`` is >= 0, ``target`` in
    0..1. An all-zero prediction is compared as zeros. Source: Cornia et al. 2016 (arXiv 1609.01064) as corrected by
    the authors.
    """
    del fixations
    pred, target = pred.float(), target.float().clamp(0, 1)
    peak = pred.amax(PIXELS, keepdim=True).clamp_min(FLOOR)
    return ((pred / peak - target).square() / (alpha - target)).mean()


def bce_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Return the binary cross entropy between two maps of probabilities, both averaged over 4x4 blocks first.

    A prediction that exceeds 1 (a network without a sigmoid) is divided by its own maximum. Source: Pan et al. 2017
    (SalGAN, arXiv 1701.01081), section 3; equation (1) of document 001.
    """
    del fixations, alpha
    pred, target = pred.float(), target.float().clamp(0, 1)
    pred = pred / pred.amax(PIXELS, keepdim=True).clamp_min(1)
    # ceil_mode keeps an incomplete last block, averaged over the pixels it has.
    pred, target = (F.avg_pool2d(maps, 4, 4, ceil_mode=True) for maps in (pred, target))
    pred = pred.clamp(FLOOR, 1 - FLOOR)
    return -(target * pred.log() + (1 - target) * (1 - pred).log()).mean()


def kl_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Return the Kullback-Leibler divergence of ``pred`` from ``target``, both scaled to sum 1, in nats.

    An all-zero prediction counts as uniform; an all-zero target says nothing and adds 0.
    """
    del fixations, alpha
    return _kl(_relative(pred), target.float()).mean()


def kl_cc_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Return KL + 0.2 (1 - CC): the mixture of ``kl_cc_nss_loss`` without its NSS term."""
    del fixations, alpha
    relative, target = _relative(pred), target.float()
    return (_kl(relative, target) + CC_WEIGHT * (1 - _cc(relative, target))).mean()


def kl_cc_nss_loss(pred: Tensor, target: Tensor, fixations: Tensor | None = None, *, alpha: float = 1.01) -> Tensor:
    """Return KL + 0.2 (1 - CC) - 0.1 NSS, the mixture of SAM (Cornia et al. 2018, arXiv 1611.09571) over ten.

    ``fixations`` holds counts; the NSS term drops out for an image without any, and for all when it is None. The value
    can be negative.
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
    """Return the loss ``name`` as a function of (pred, target, fixations); ``alpha`` > 1 is read by ``mlnet`` only.

    Raises UsageError for an unknown name, and for an alpha of 1 or less.
    """
    if name not in LOSSES:
        raise UsageError(f"--loss: there is no loss '{name}'.{did_you_mean(name, LOSSES)}")
    if not alpha > 1:
        raise UsageError(f"--alpha must be greater than 1 (it divides by alpha - target), not {alpha:g}.")
    return partial(LOSSES[name], alpha=alpha)


def resize_like(values: Tensor, like: Tensor, *, counts: bool = False) -> Tensor:
    """Bring (N, 1, H, W) maps to the height and width of ``like``, as float32.

    Maps are averaged over areas (bilinear where the grid is finer); with ``counts`` the values of each block are added
    instead, so that every fixation is kept exactly once.
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
    """Scale each map to mean 1 in float32; the floor makes an all-zero map a constant one with a finite gradient."""
    raised = pred.float() + FLOOR
    return raised / raised.mean(PIXELS, keepdim=True).clamp_min(FLOOR)


def _kl(relative: Tensor, target: Tensor) -> Tensor:
    """KL per image, (N,); ``relative`` has mean 1, so dividing by the number of pixels makes it sum to 1."""
    pixels = relative[0].numel()
    share = target / target.sum(PIXELS, keepdim=True).clamp_min(FLOOR)
    return (torch.xlogy(share, share) - share * (relative / pixels).clamp_min(1e-12).log()).sum(PIXELS)


def _cc(relative: Tensor, target: Tensor) -> Tensor:
    """Pearson's correlation per image, (N,); 0 where a map is constant."""
    pred = relative - relative.mean(PIXELS, keepdim=True)
    target = target - target.mean(PIXELS, keepdim=True)
    spread = (pred.square().mean(PIXELS) + FLOOR).sqrt() * (target.square().mean(PIXELS) + FLOOR).sqrt()
    return (pred * target).mean(PIXELS) / spread


def _nss(relative: Tensor, fixations: Tensor) -> Tensor:
    """Normalised scanpath saliency per image, (N,); 0 for a constant map and for an image without fixations."""
    centred = relative - relative.mean(PIXELS, keepdim=True)
    score = centred / (centred.square().mean(PIXELS, keepdim=True) + FLOOR).sqrt()
    return (score * fixations).sum(PIXELS) / fixations.sum(PIXELS).clamp_min(1)
