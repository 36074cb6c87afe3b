"""Feature extractors of torchvision and timm: the last output of each stride, found by a dry run."""

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD, TIMM_PREFIX
from cvkit.errors import UsageError, did_you_mean
from cvkit.models.init import init_relu

RGB = tuple[float, float, float]
COARSEST = 32  # levels beyond this stride have no place left in them
# Not square, so that (N, H, W, C) maps are told apart; 7x7 or 6x6 poolings give no stride up to 32 from it.
PROBE_SIZE = (320, 384)
MIN_SIZES = (32, 64, 96, 128)  # what is tried as the smallest side of an image


class LibraryBackbone(nn.Module):
    """A feature extractor that gives one level for each stride, finest first.

    ``channels`` and ``strides`` describe the levels, ``min_size`` is the smallest side of an image it can process.
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
        """Return the levels (N, channels, about H/stride, about W/stride) of (N, 3, H, W) images."""
        found = self.body(images)
        levels = list(found.values()) if isinstance(found, dict) else list(found)
        return [levels[i] for i in self.pick]

    def __deepcopy__(self, memo: dict[int, Any]) -> "LibraryBackbone":
        # torchvision's extractor comes out of a copy in training mode throughout: put every module's mode back.
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        twin.body.train(self.body.training)
        modes = {name: module.training for name, module in self.named_modules()}
        for name, module in twin.named_modules():
            module.training = modes.get(name, module.training)
        return twin


def library_backbone(name: str, *, first_stride: int) -> LibraryBackbone:
    """Return the extractor ``name`` ("mobilenet_v2", "timm:resnet18") with levels from ``first_stride`` to 32.

    Its weights are random, nothing is downloaded. Raises UsageError for an unknown network, and for
    one without a level at each of those strides up to 16.
    """
    make = _from_timm if name.startswith(TIMM_PREFIX) else _from_torchvision
    backbone = make(name, first_stride)
    backbone.min_size = _smallest(backbone)
    return backbone


def _from_torchvision(name: str, first_stride: int) -> LibraryBackbone:
    from torchvision import models
    from torchvision.models.feature_extraction import create_feature_extractor

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(
            f"--backbone: torchvision has no network '{name}'.{did_you_mean(name, known)}"
            f" A network of timm is written {TIMM_PREFIX}{name}."
        )
    try:
        whole = _make_torchvision(name)
        last = _last_modules(whole, first_stride)
        _check_levels(name, list(last), first_stride)
        body = create_feature_extractor(whole, return_nodes=[name for name, _ in last.values()])
    except (RuntimeError, ValueError, TypeError, AssertionError, torch.fx.proxy.TraceError) as error:
        raise _unfit(name, str(error)) from error
    shapes = [(stride, channels) for stride, (_, channels) in last.items()]
    return LibraryBackbone(name, body, range(len(last)), shapes)


def _make_torchvision(name: str) -> nn.Module:
    from torchvision import models

    # Inception and GoogLeNet start slowly and warn about it; their auxiliary classifiers are of no use here.
    extra = {"init_weights": False, "aux_logits": False} if name in ("inception_v3", "googlenet") else {}
    model: nn.Module = models.get_model(name, weights=None, **extra)
    if extra:
        init_relu(model)
    return model


def _last_modules(model: nn.Module, first_stride: int) -> dict[int, tuple[str, int]]:
    """Return {stride: (name of the module that ends last there, its channels)} of a network, by running it once."""
    last: dict[int, tuple[str, int]] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            stride = _stride(PROBE_SIZE[0], output.shape[2])
            if stride == _stride(PROBE_SIZE[1], output.shape[3]) and stride and first_stride <= stride <= COARSEST:
                last[stride] = (name, output.shape[1])

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
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
    """Return the power of two nearest to size / level, None where it is far: such a map was pooled to a fixed size."""
    ratio = size / level
    stride = 1
    while stride * 1.5 < ratio:
        stride *= 2
    return stride if abs(ratio / stride - 1) <= 0.12 else None


def _from_timm(name: str, first_stride: int) -> LibraryBackbone:
    import timm

    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        near = did_you_mean(short.split(".")[0], timm.list_models())
        raise UsageError(f"--backbone: timm has no network '{short}'.{near if len(near) < 100 else ''}")
    try:
        body = timm.create_model(short, pretrained=False, features_only=True)
        with _quietly():
            levels = body.eval()(torch.zeros(1, 3, *PROBE_SIZE))
        reductions, channels = body.feature_info.reduction(), body.feature_info.channels()
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, KeyError) as error:
        raise _unfit(name, str(error)) from error
    pick: dict[int, int] = {}
    for i, (level, stride, count) in enumerate(zip(levels, reductions, channels, strict=True)):
        if level.dim() != 4 or level.shape[1] != count or _stride(PROBE_SIZE[1], level.shape[3]) != stride:
            raise _unfit(name, "its features are not (N, C, H, W)")
        if first_stride <= stride <= COARSEST:
            pick[stride] = i
    _check_levels(name, list(pick), first_stride)
    shapes = [(stride, channels[i]) for stride, i in sorted(pick.items())]
    return LibraryBackbone(name, body, [i for _, i in sorted(pick.items())], shapes)


def normalisation(name: str) -> tuple[RGB, RGB]:
    """Return the mean and standard deviation (RGB, 0..1) that a backbone's pretrained weights expect of images."""
    if name.startswith(TIMM_PREFIX):
        import timm

        facts = timm.get_pretrained_cfg(name.removeprefix(TIMM_PREFIX), allow_unregistered=True)
        if facts is not None and len(facts.mean) == 3:
            return tuple(facts.mean), tuple(facts.std)
    return IMAGENET_MEAN, IMAGENET_STD


def _check_levels(name: str, strides: list[int], first_stride: int) -> None:
    for stride in (4, 8, 16):
        if stride >= first_stride and stride not in strides:
            found = ", ".join(f"1/{stride}" for stride in strides) or "none"
            raise _unfit(name, f"it has no (N, C, H, W) features at 1/{stride} of the input (found: {found})")


def _unfit(name: str, reason: str) -> UsageError:
    first_line = (reason.strip().splitlines() or ["unknown reason"])[0][:160].rstrip(".")
    return UsageError(
        f"--backbone {name} cannot be used: {first_line}. "
        "Take a convolutional network, such as mobilenet_v2, resnet50 or timm:mobilenetv3_small_100."
    )


def _smallest(backbone: LibraryBackbone) -> int:
    """Return the smallest tried side at which the extractor runs, where odd larger ones run too."""
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
    raise _unfit(backbone.name, f"it cannot process images of {MIN_SIZES[-1]}x{MIN_SIZES[-1]} pixels")


@contextmanager
def _quietly() -> Iterator[None]:
    """Try a network out: without gradients, warnings, and the traceback a traced module writes to stderr."""
    with torch.no_grad(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
