"""Explain the class scores of a batch: one forward pass, then one backward pass from the target layer per class."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.messages import did_you_mean
from cvkit.models.scaling import min_max
from cvkit.tasks.attribution.capture import Capture, frozen_evaluation, to_grid
from cvkit.tasks.attribution.guided import GuidedBackprop, pixels_to_map
from cvkit.tasks.attribution.methods import METHODS
from cvkit.tasks.attribution.scorecam import scorecam
from cvkit.tasks.attribution.shortcut import Shortcut

# Contrasts at which augmentation smoothing averages the maps of an image and of its mirror image.
CONTRASTS = (0.9, 1.0, 1.1)
MAX_BATCHED_CLASSES = 4  # a backward pass for K classes at once needs K times the memory of one
ClassSelector = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Explanation:
    """The explanation of N images for K classes each.

    Attributes:
        logits: Class scores before the softmax, (N, C) float32.
        classes: Indices of the explained classes, (N, K) int64.
        maps: Heat maps, (N, K, h, w) float32, each scaled to 0..1 by its minimum and maximum; a constant map is all
            zeros. (h, w) is the grid of the target layer, or the image size for guided backpropagation.
    """

    logits: Tensor
    classes: Tensor
    maps: Tensor


class Explainer:
    """Explains the class scores of a network by one method at one layer.

    A call sets the network to evaluation mode and restores its state afterwards: training mode, ``requires_grad`` of
    the parameters, and hooks.
    """

    def __init__(
        self,
        module: nn.Module,
        target: TargetLayer,
        *,
        method: str = "gradcam",
        smooth: bool = False,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        shortcut: Shortcut | None = None,
    ) -> None:
        """Create an explainer.

        Args:
            module: Classifier that maps (N, 3, H, W) images to (N, C) logits.
            target: Layer whose activation is explained.
            method: Name of a method in ``METHODS``.
            smooth: Average the maps over the image and its mirror image at three contrasts each.
            autocast: Function that returns the context in which the layers before the target layer compute.
            shortcut: Computes these layers in another runtime. Methods that need gradients of the image, or scores of
                changed images, do not use it.

        Raises:
            UsageError: If the method is unknown.
        """
        if method not in METHODS:
            raise UsageError(f"There is no explanation method {method!r}.{did_you_mean(method, METHODS)}")
        self.module, self.target, self.method = module, target, method
        self.smooth, self.autocast, self.shortcut = smooth, autocast, shortcut

    def __call__(self, images: Tensor, select: ClassSelector) -> Explanation:
        """Explain a batch.

        Args:
            images: (N, 3, H, W) float32, normalised for the network.
            select: Function that maps the (N, C) logits to the (N, K) int64 indices of the classes to explain.

        Returns:
            Logits, classes and heat maps.

        Raises:
            UsageError: If the class score does not depend on the target layer.
        """
        with frozen_evaluation(self.module):
            first = self._explain(images, select)
            if not self.smooth:
                return first
            variants = [first.maps]
            for flipped in (False, True):
                for contrast in CONTRASTS:
                    if (flipped, contrast) == (False, 1.0):
                        continue  # the unchanged image, which selected the classes
                    varied = images.flip(3) if flipped else images
                    maps = self._explain(varied * contrast, lambda _: first.classes).maps
                    variants.append(maps.flip(3) if flipped else maps)
            return Explanation(first.logits, first.classes, torch.stack(variants).mean(0))

    def _explain(self, images: Tensor, select: ClassSelector) -> Explanation:
        needs = METHODS[self.method].needs
        if needs == "image":
            return self._explain_pixels(images, select)
        if needs == "scores":
            return self._explain_by_masking(images, select)
        return self._explain_layer(images, select)

    def _explain_layer(self, images: Tensor, select: ClassSelector) -> Explanation:
        method = METHODS[self.method]
        cam = method.cam
        assert cam is not None
        capture = Capture(self.module, self.target)
        skipping = self.shortcut.skipping(images) if self.shortcut else nullcontext()
        with torch.set_grad_enabled(method.needs == "gradients"), skipping:
            logits = capture.forward(images, self.autocast)
            classes = select(logits.detach())
            output = self._captured(capture)
            activation = to_grid(output.detach(), self.target)
            if method.needs == "activation":
                one = min_max(cam(activation, activation).relu())
                return Explanation(logits, classes, one[:, None].expand(-1, classes.shape[1], -1, -1))
            maps = [
                min_max(cam(activation, to_grid(gradient, self.target)).relu())
                for gradient in _class_gradients(logits, classes, output)
            ]
        return Explanation(logits.detach(), classes, torch.stack(maps, 1))

    def _explain_by_masking(self, images: Tensor, select: ClassSelector) -> Explanation:
        with torch.no_grad():
            capture = Capture(self.module, self.target)
            logits = capture.forward(images, self.autocast)
            activation = to_grid(self._captured(capture), self.target)
            classes = select(logits)
            maps = scorecam(activation, images, classes, self._forward)
        return Explanation(logits, classes, min_max(maps.relu()))

    def _explain_pixels(self, images: Tensor, select: ClassSelector) -> Explanation:
        with GuidedBackprop(), torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            logits = self._forward(leaf)
            classes = select(logits.detach())
            # One class at a time: the graph spans the whole network, and GuidedBackprop does not support batched
            # gradients.
            gradients = [_class_gradient(logits, classes[:, k], leaf) for k in range(classes.shape[1])]
        if self.method == "guided-gradcam":
            gradcam = Explainer(self.module, self.target, autocast=self.autocast)
            cams = gradcam._explain_layer(images, lambda _: classes).maps
            cams = F.interpolate(cams, size=images.shape[2:], mode="bilinear", align_corners=False)
            gradients = [gradient * cams[:, k, None] for k, gradient in enumerate(gradients)]
        maps = torch.stack([min_max(pixels_to_map(gradient)) for gradient in gradients], 1)
        return Explanation(logits.detach(), classes, maps)

    def _forward(self, images: Tensor) -> Tensor:
        with self.autocast():
            return self.module(images).float()

    def _captured(self, capture: Capture) -> Tensor:
        if capture.activation is None:
            raise UsageError(f"--layer {self.target.name}: the network does not run this layer for a prediction.")
        return capture.activation


def _class_gradients(logits: Tensor, classes: Tensor, leaf: Tensor) -> Iterator[Tensor]:
    """Yield the gradient of the logits of each of K classes (N, K) with respect to ``leaf``.

    Up to ``MAX_BATCHED_CLASSES`` share one backward pass, which reads the weights behind the target layer once. Layers
    that do not support batched gradients are differentiated for one class at a time.
    """
    for some in classes.split(MAX_BATCHED_CLASSES, dim=1):
        batched = _batched_gradients(logits, some, leaf) if some.shape[1] > 1 else None
        if batched is not None:
            yield from batched
        else:
            yield from (_class_gradient(logits, some[:, k], leaf) for k in range(some.shape[1]))


def _batched_gradients(logits: Tensor, classes: Tensor, leaf: Tensor) -> Tensor | None:
    """Return the gradients of K classes (K, *leaf.shape), or None if a layer does not support batched gradients."""
    ones = torch.zeros(classes.shape[1], *logits.shape, device=logits.device).scatter_(2, classes.T[:, :, None], 1.0)
    # PyTorch warns if it computes a layer for one class at a time. catch_warnings is not safe with other threads.
    warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
    try:
        return torch.autograd.grad(logits, leaf, ones, retain_graph=True, is_grads_batched=True)[0]
    except RuntimeError:
        return None


def _class_gradient(logits: Tensor, classes: Tensor, leaf: Tensor) -> Tensor:
    """Return the gradient of the logit of each image's class (N,) with respect to ``leaf``."""
    score = logits.gather(1, classes[:, None]).sum()
    try:
        return torch.autograd.grad(score, leaf, retain_graph=True)[0]
    except RuntimeError as error:
        if "not have been used" not in str(error) and "does not require grad" not in str(error):
            raise
        raise UsageError("--layer: the class score does not depend on this layer; name an earlier one.") from error
