"""Build feature extractors from torchvision and timm models, with one level of features per stride."""

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD, TIMM_PREFIX
from cvkit.errors import UsageError
from cvkit.messages import did_you_mean, first_line, nearest
from cvkit.models.init import init_relu

RGB = tuple[float, float, float]
COARSEST = 32  # largest stride of a level: coarser features have hardly any resolution left
# Not square, so that (N, H, W, C) features are recognised; the 7x7 and 6x6 outputs of fixed poolings match no stride up
# to 32 at this size.
PROBE_SIZE = (320, 384)
MIN_SIZES = (32, 64, 96, 128)  # candidates for the smallest side of an image, in pixels


class LibraryBackbone(nn.Module):
    """A feature extractor of torchvision or timm that gives one level per stride, the finest first.

    Attributes:
        name: Name of the model ("mobilenet_v2", "timm:resnet18").
        body: The extractor of the library.
        pick: Positions of the levels among the outputs of ``body``.
        strides: Stride of each level.
        channels: Number of channels of each level.
        min_size: Smallest side of an image in pixels that the extractor can process.
    """

    def __init__(self, name: str, body: nn.Module, pick: Sequence[int], shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.pick = tuple(pick)
        self.strides = [stride for stride, _ in shapes]
        self.channels = [channels for _, channels in shapes]
        self.min_size = MIN_SIZES[0]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the levels, (N, channels, about H/stride, about W/stride), of (N, 3, H, W) images."""
        outputs = self.body(images)
        levels = list(outputs.values()) if isinstance(outputs, dict) else list(outputs)
        return [levels[i] for i in self.pick]

    def __deepcopy__(self, memo: dict[int, Any]) -> "LibraryBackbone":
        # Copies of torchvision's extractors are in training mode throughout: restore the mode of every module.
        clone = type(self).__new__(type(self))
        memo[id(self)] = clone
        clone.__dict__.update(copy.deepcopy(self.__dict__, memo))
        clone.body.train(self.body.training)
        modes = {name: module.training for name, module in self.named_modules()}
        for name, module in clone.named_modules():
            module.training = modes.get(name, module.training)
        return clone


def library_backbone(name: str, *, first_stride: int) -> LibraryBackbone:
    """Build a feature extractor with random weights; nothing is downloaded.

    Args:
        name: A torchvision model ("mobilenet_v2") or a timm model ("timm:resnet18").
        first_stride: Stride of the finest level; the coarsest has stride 32.

    Raises:
        UsageError: If there is no such model, or it has no level at one of the strides up to 16.
    """
    build = _from_timm if name.startswith(TIMM_PREFIX) else _from_torchvision
    backbone = build(name, first_stride)
    backbone.min_size = _smallest_side(backbone)
    return backbone


def _from_torchvision(name: str, first_stride: int) -> LibraryBackbone:
    from torchvision import models
    from torchvision.models.feature_extraction import create_feature_extractor

    names = models.list_models(module=models)
    if name not in names:
        raise UsageError(
            f"torchvision has no network '{name}'.{did_you_mean(name, names)}"
            f" A network of timm is written {TIMM_PREFIX}{name}."
        )
    try:
        classifier = _build_torchvision(name)
        last = _last_modules(classifier, first_stride)
        _check_levels(name, list(last), first_stride)
        body = create_feature_extractor(classifier, return_nodes=[name for name, _ in last.values()])
    except (RuntimeError, ValueError, TypeError, AssertionError, torch.fx.proxy.TraceError) as error:
        raise _unusable(name, first_line(error, 160)) from error
    shapes = [(stride, channels) for stride, (_, channels) in last.items()]
    return LibraryBackbone(name, body, range(len(last)), shapes)


def _build_torchvision(name: str) -> nn.Module:
    from torchvision import models

    # The default initialisation of Inception and GoogLeNet is slow and gives a warning. Their auxiliary classifiers are
    # not used here.
    extra = {"init_weights": False, "aux_logits": False} if name in ("inception_v3", "googlenet") else {}
    model: nn.Module = models.get_model(name, weights=None, **extra)
    if extra:
        init_relu(model)
    return model


def _last_modules(model: nn.Module, first_stride: int) -> dict[int, tuple[str, int]]:
    """Return {stride: (name of the last module with features of that stride, its channels)}, by running the network."""
    last: dict[int, tuple[str, int]] = {}

    def record(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            stride = _stride(PROBE_SIZE[0], output.shape[2])
            if stride == _stride(PROBE_SIZE[1], output.shape[3]) and stride and first_stride <= stride <= COARSEST:
                last[stride] = (name, output.shape[1])

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: record(name, output))
        for name, module in model.named_modules()
        if name
    ]
    with _quietly():
        model.eval()(torch.zeros(1, 3, *PROBE_SIZE))
    for hook in hooks:
        hook.remove()
    model.train()
    return dict(sorted(last.items()))


def _stride(size: int, level: int) -> int | None:
    """Return the power of two nearest to size / level; None if none is near, as for features pooled to a fixed size."""
    ratio = size / level
    stride = 1
    while stride * 1.5 < ratio:
        stride *= 2
    return stride if abs(ratio / stride - 1) <= 0.12 else None


def _from_timm(name: str, first_stride: int) -> LibraryBackbone:
    import timm

    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        suggestion = nearest(short.split(".")[0], timm.list_models())
        raise UsageError(f"timm has no network '{short}'.{suggestion}")
    try:
        body = timm.create_model(short, pretrained=False, features_only=True)
        with _quietly():
            levels = body.eval()(torch.zeros(1, 3, *PROBE_SIZE))
        reductions, channels = body.feature_info.reduction(), body.feature_info.channels()
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, KeyError) as error:
        raise _unusable(name, first_line(error, 160)) from error
    pick: dict[int, int] = {}
    for i, (level, stride, count) in enumerate(zip(levels, reductions, channels, strict=True)):
        if level.dim() != 4 or level.shape[1] != count or _stride(PROBE_SIZE[1], level.shape[3]) != stride:
            raise _unusable(name, "its features are not (N, C, H, W)")
        if first_stride <= stride <= COARSEST:
            pick[stride] = i
    _check_levels(name, list(pick), first_stride)
    shapes = [(stride, channels[i]) for stride, i in sorted(pick.items())]
    return LibraryBackbone(name, body, [i for _, i in sorted(pick.items())], shapes)


def normalisation(name: str) -> tuple[RGB, RGB]:
    """Return the mean and standard deviation that the pretrained weights of a backbone expect.

    Args:
        name: A torchvision model, or a timm model with the prefix "timm:".

    Returns:
        Mean and standard deviation of each channel (RGB) of pixel values from 0 to 1.
    """
    if name.startswith(TIMM_PREFIX):
        import timm

        config = timm.get_pretrained_cfg(name.removeprefix(TIMM_PREFIX), allow_unregistered=True)
        if config is not None and len(config.mean) == 3:
            return tuple(config.mean), tuple(config.std)
    return IMAGENET_MEAN, IMAGENET_STD


def _check_levels(name: str, strides: list[int], first_stride: int) -> None:
    for stride in (4, 8, 16):
        if stride >= first_stride and stride not in strides:
            present = ", ".join(f"1/{stride}" for stride in strides) or "none"
            raise _unusable(name, f"it has no (N, C, H, W) features at 1/{stride} of the input (it has: {present})")


def _unusable(name: str, reason: str) -> UsageError:
    return UsageError(
        f"The backbone {name} cannot be used: {reason}. "
        "Take a convolutional network, such as mobilenet_v2, resnet50 or timm:mobilenetv3_small_100."
    )


def _smallest_side(backbone: LibraryBackbone) -> int:
    """Return the smallest of ``MIN_SIZES`` at which the extractor runs, at this size and at an odd larger one."""
    backbone.eval()
    for side in MIN_SIZES:
        try:
            with _quietly():
                backbone(torch.zeros(1, 3, side, side))
                backbone(torch.zeros(1, 3, side + 5, side + 17))
        except (RuntimeError, ValueError, AssertionError):
            continue
        backbone.train()
        return side
    raise _unusable(backbone.name, f"it cannot process images of {MIN_SIZES[-1]}x{MIN_SIZES[-1]} pixels")


@contextmanager
def _quietly() -> Iterator[None]:
    """Run a network without gradients, warnings, and the traceback that a traced module writes to stderr."""
    with torch.no_grad(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
