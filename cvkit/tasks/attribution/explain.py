"""One explanation of a batch: forward once, then a small backward pass for each class asked for."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError, did_you_mean
from cvkit.tasks.attribution.capture import Capture, to_grid, untouched
from cvkit.tasks.attribution.guided import Guided, pixels_to_map
from cvkit.tasks.attribution.methods import METHODS
from cvkit.tasks.attribution.scorecam import scorecam

# Augmentation smoothing averages the maps of the image and its mirror image, each at these contrasts.
CONTRASTS = (0.9, 1.0, 1.1)
CLASSES_AT_ONCE = 4  # a backward pass for several classes takes the memory of as many
Pick = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Explanation:
    """``logits`` (N, classes) float32, the ``classes`` explained (N, K) int64, and their ``maps`` (N, K, h, w) float32.

    Maps are 0..1 by their least and largest value, at the grid of the target layer, or at the size of the images for
    the methods that go down to the pixels. A constant map is all zeros.
    """

    logits: Tensor
    classes: Tensor
    maps: Tensor


class Explainer:
    """Explains a network's scores by one method at one layer.

    The network may be in any mode, with gradients or without: it is left as it was found, and no hook stays behind.
    ``autocast`` gives the context in which the part before the target layer computes. Raises UsageError for an unknown
    method.
    """

    def __init__(
        self,
        module: nn.Module,
        target: TargetLayer,
        *,
        method: str = "gradcam",
        smooth: bool = False,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        if method not in METHODS:
            raise UsageError(f"--method {method!r} is not known.{did_you_mean(method, METHODS)}")
        self.module, self.target, self.method = module, target, method
        self.smooth, self.autocast = smooth, autocast

    def __call__(self, images: Tensor, pick: Pick) -> Explanation:
        """Explain (N, 3, H, W) normalised float32 images for the classes that ``pick`` chooses.

        ``pick`` gets the (N, classes) logits and returns (N, K) int64 class indices. Raises UsageError when the score
        does not depend on the target layer.
        """
        with untouched(self.module):
            first = self._explain(images, pick)
            if not self.smooth:
                return first
            found = [first.maps]
            for flipped in (False, True):
                for contrast in CONTRASTS:
                    if (flipped, contrast) == (False, 1.0):
                        continue  # the image itself, which chose the classes
                    varied = images.flip(3) if flipped else images
                    maps = self._explain(varied * contrast, lambda _: first.classes).maps
                    found.append(maps.flip(3) if flipped else maps)
            return Explanation(first.logits, first.classes, torch.stack(found).mean(0))

    def _explain(self, images: Tensor, pick: Pick) -> Explanation:
        needs = METHODS[self.method].needs
        if needs == "image":
            return self._by_pixels(images, pick)
        if needs == "scores":
            return self._by_scores(images, pick)
        return self._by_layer(images, pick)

    def _by_layer(self, images: Tensor, pick: Pick) -> Explanation:
        method = METHODS[self.method]
        cam = method.cam
        assert cam is not None
        capture = Capture(self.module, self.target)
        with torch.set_grad_enabled(method.needs == "gradients"):
            logits = capture.forward(images, self.autocast)
            classes = pick(logits.detach())
            held = self._held(capture)
            activation = to_grid(held.detach(), self.target)
            if method.needs == "activation":
                one = scaled(cam(activation, activation).relu())
                return Explanation(logits, classes, one[:, None].expand(-1, classes.shape[1], -1, -1))
            maps = [
                scaled(cam(activation, to_grid(gradient, self.target)).relu())
                for gradient in _gradients(logits, classes, held)
            ]
        return Explanation(logits.detach(), classes, torch.stack(maps, 1))

    def _by_scores(self, images: Tensor, pick: Pick) -> Explanation:
        with torch.no_grad():
            capture = Capture(self.module, self.target)
            logits = capture.forward(images, self.autocast)
            activation = to_grid(self._held(capture), self.target)
            classes = pick(logits)
            maps = scorecam(activation, images, classes, self._forward)
        return Explanation(logits, classes, scaled(maps.relu()))

    def _by_pixels(self, images: Tensor, pick: Pick) -> Explanation:
        with Guided(), torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            logits = self._forward(leaf)
            classes = pick(logits.detach())
            # One by one: the graph is the whole network's, and the rule of Guided knows no batches of gradients.
            gradients = [_gradient(logits, classes[:, place], leaf) for place in range(classes.shape[1])]
        if self.method == "guided-gradcam":
            cams = Explainer(self.module, self.target, autocast=self.autocast)._by_layer(images, lambda _: classes).maps
            cams = F.interpolate(cams, size=images.shape[2:], mode="bilinear", align_corners=False)
            gradients = [gradient * cams[:, place, None] for place, gradient in enumerate(gradients)]
        maps = torch.stack([scaled(pixels_to_map(gradient)) for gradient in gradients], 1)
        return Explanation(logits.detach(), classes, maps)

    def _forward(self, images: Tensor) -> Tensor:
        with self.autocast():
            return self.module(images).float()

    def _held(self, capture: Capture) -> Tensor:
        if capture.activation is None:
            raise UsageError(f"--layer {self.target.name}: this layer does not run when an image is classified.")
        return capture.activation


def scaled(maps: Tensor) -> Tensor:
    """Return maps (..., h, w) in 0..1 by their least and largest value; a constant map, or one of NaN, is all zeros."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    steps = (maps - low) / torch.where(span > 0, span, 1.0)
    return torch.where((span > 0) & span.isfinite(), steps, 0.0)


def _gradients(logits: Tensor, classes: Tensor, leaf: Tensor) -> Iterator[Tensor]:
    """Yield the gradient at ``leaf`` of each of the K classes (N, K), a few of them in one backward pass.

    So the weights behind the target are read once for several classes. Where a layer cannot do so, they go one by one.
    """
    for some in classes.split(CLASSES_AT_ONCE, dim=1):
        together = _together(logits, some, leaf) if some.shape[1] > 1 else None
        if together is not None:
            yield from together
        else:
            yield from (_gradient(logits, some[:, place], leaf) for place in range(some.shape[1]))


def _together(logits: Tensor, classes: Tensor, leaf: Tensor) -> Tensor | None:
    """Return the gradients of K classes as (K, *leaf.shape), or None where they cannot be had in one pass."""
    ones = torch.zeros(classes.shape[1], *logits.shape, device=logits.device).scatter_(2, classes.T[:, :, None], 1.0)
    # That a layer is done class by class all the same. Not catch_warnings: it is not safe beside other threads.
    warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
    try:
        return torch.autograd.grad(logits, leaf, ones, retain_graph=True, is_grads_batched=True)[0]
    except RuntimeError:
        return None


def _gradient(logits: Tensor, classes: Tensor, leaf: Tensor) -> Tensor:
    """Return the gradient of each image's own class score, before the softmax, at ``leaf``."""
    score = logits.gather(1, classes[:, None]).sum()
    try:
        return torch.autograd.grad(score, leaf, retain_graph=True)[0]
    except RuntimeError as error:
        if "not have been used" not in str(error) and "does not require grad" not in str(error):
            raise
        raise UsageError("--layer: the class score does not depend on this layer; name an earlier one.") from error
