"""Recognise the network of torchvision or timm whose weights a file holds."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.catalog import TIMM_PREFIX
from cvkit.models.dry_run import build_on_meta
from cvkit.models.published.libraries import timm_names, torchvision_names
from cvkit.models.weights import without_prefixes

MIN_MATCH = 0.8  # fraction of tensors that must fit: a file without its head lacks a fifth of the tensors of VGG16
MIN_TENSORS = 10  # files with fewer tensors are not compared with all networks


def recognise_network(path: Path, tensors: Mapping[str, Tensor], *, search: bool = True) -> str | None:
    """Return the name of the network whose weights a file probably holds.

    The first choice is a network whose name the file's name begins with, such as mobilenet_v2 for
    ``mobilenet_v2-b0353104.pth``, if its tensors fit. The second is the network of torchvision that fits best. The last
    is the name of the file alone.

    Args:
        path: The file.
        tensors: Its tensors by name.
        search: Whether to compare the tensors with all networks of torchvision, which takes seconds.

    Returns:
        "resnet18" for a network of torchvision, "timm:resnet18" for one of timm; None if the file is like neither.
    """
    ours, theirs = _name_of(path, torchvision_names()), _name_of(path, timm_names())
    named = [*([ours] if ours else []), *([TIMM_PREFIX + theirs] if theirs else [])]
    shapes = [{name: value.shape for name, value in variant.items()} for variant in without_prefixes(tensors)]
    if fitting := _best_fit(named, shapes):
        return fitting
    if search and len(tensors) >= MIN_TENSORS and (fitting := _best_fit(torchvision_names(), shapes)):
        return fitting
    return named[0] if named else None


def _name_of(path: Path, names: Iterable[str]) -> str | None:
    """Return the longest of the names that the name of a file begins with, as a whole word."""
    stem = path.stem.lower()
    matches = [
        name for name in names if stem.startswith(name.lower()) and not stem[len(name) : len(name) + 1].isalnum()
    ]
    return max(matches, key=len, default=None)


def _best_fit(names: Iterable[str], variants: list[dict[str, torch.Size]]) -> str | None:
    """Return the network that most tensors fit, or None if fewer than ``MIN_MATCH`` fit any.

    Args:
        names: The candidates.
        variants: The shapes of the tensors by name, under several forms of their names.
    """
    best, found = MIN_MATCH, None
    for name in names:
        network = _build(name)
        if network is None:
            continue
        expected = {key: value.shape for key, value in network.state_dict().items()}
        for shapes in variants:
            fitting = sum(shapes.get(key) == shape for key, shape in expected.items())
            match = fitting / max(len(expected), len(shapes))
            if match == 1:
                return name
            if match >= best:
                best, found = match, name
    return found


def _build(name: str) -> nn.Module | None:
    """Build a network without values; None if the library cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return build_on_meta(lambda: _from_library(name))
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            return None


def _from_library(name: str) -> nn.Module:
    if name.startswith(TIMM_PREFIX):
        import timm

        network: nn.Module = timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False)
        return network
    from torchvision import models

    extra = {"init_weights": False, "aux_logits": False} if name in ("inception_v3", "googlenet") else {}
    model: nn.Module = models.get_model(name, weights=None, **extra)
    return model
