"""Weights from files and by name: read safely, brought to the names of the network, checked before they are used."""

import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.errors import WeightsError
from cvkit.models import fetch
from cvkit.models.backbones import TIMM_PREFIX, ForeignBackbone
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX, VGG16

# Under these names training scripts keep the tensors of a network inside a larger dict.
CONTAINERS = ("state_dict", "model_state_dict", "model", "weights", "module")
# What wrappers put before the name of a tensor.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "body.", "encoder.", "vgg.")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the named tensors of a ``.pth``, ``.pt`` or ``.safetensors`` file, on the CPU.

    Nothing is ever unpickled but tensors and plain values. Raises WeightsError when the file is missing, truncated, of
    another kind, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    for key in CONTAINERS:
        inner = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(inner, Mapping):
            content = inner
            break
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not named tensors (a state dict).")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors; a state dict of a network is needed.")
    return tensors


def load_backbone(model: SaliencyModel, source: str | Path, *, zero_bias: bool | None = None) -> None:
    """Put pretrained weights into the backbone of ``model``: ``source`` is "none", "imagenet" or a file.

    With ``zero_bias`` the backbone's biases are then set to zero; None does so for ``mlnet`` on VGG16 only, as document
    000 has it. The backbone's batch norms are fixed from then on. "imagenet" may download. Raises WeightsError naming
    the first tensors that are missing or do not fit.
    """
    if str(source) == "none":
        return
    backbone = model.backbone
    if str(source) == "imagenet":
        given, label = _imagenet(model.spec.backbone), "the ImageNet weights"
    else:
        given, label = read_tensors(source), str(source)
    if isinstance(backbone, VGG16):
        fill(backbone, given, label, also_named=_torchvision_vgg_name)
    elif isinstance(backbone, ForeignBackbone):
        # timm's extractors join the names of flattened modules by "_" ("stages_0.x" for "stages.0.x").
        same = _flat if model.spec.backbone.startswith(TIMM_PREFIX) else None
        fill(backbone.body, given, label, canonical=same)
    else:
        raise WeightsError(f"{type(backbone).__name__} has no pretrained weights.")
    if zero_bias is None:
        zero_bias = model.spec.name == "mlnet" and model.spec.backbone == "vgg16"
    if zero_bias:
        for name, value in backbone.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(value)
    model.fix_norm()


def fill(
    module: nn.Module,
    given: Mapping[str, Tensor],
    label: str,
    *,
    also_named: Callable[[str], str] | None = None,
    canonical: Callable[[str], str] | None = None,
) -> None:
    """Copy ``given`` tensors into ``module``; tensors the module does not have are left out (a classifier).

    ``also_named`` gives another name under which a tensor may come, ``canonical`` the form in which names are compared.
    Raises WeightsError, and changes nothing, when a tensor is missing or has another shape.
    """
    form = canonical or (lambda name: name)
    wanted = module.state_dict()
    found = max(
        ({form(name): tensor for name, tensor in names.items()} for names in without_prefixes(given)),
        key=lambda names: sum(form(name) in names or _other(name, also_named) in names for name in wanted),
    )
    chosen: dict[str, Tensor] = {}
    problems = []
    for name, value in wanted.items():
        tensor = found.get(form(name), found.get(_other(name, also_named)))
        if tensor is None:
            if not name.endswith("num_batches_tracked"):
                problems.append(f"{name} is missing")
        elif tensor.shape != value.shape:
            problems.append(f"{name} is {_shape(tensor)}, {_shape(value)} is needed")
        else:
            chosen[name] = tensor
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{label} does not fit: {'; '.join(problems[:3])}{more} (of {len(wanted)} tensors).")
    # Some networks (MNASNet) ask which version of theirs the tensors are of: by their shapes, of this one.
    versioned = OrderedDict(chosen)
    versioned._metadata = getattr(wanted, "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(versioned, strict=False)


def without_prefixes(given: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors under their names as given, and again with each prefix that wrappers put there taken off."""
    variants = [dict(given)]
    for names in variants:  # grows while it is walked: prefixes can be stacked
        for prefix in PREFIXES:
            shorter = {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}
            if shorter:
                variants.append(shorter)
    return variants


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, before the error that matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a file of tensors: it is of another kind, or holds Python objects, which are never loaded. "
            "Save it again with torch.save(model.state_dict(), ...) or as .safetensors."
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:
        raise WeightsError(f"{path} cannot be read as weights: it is damaged, truncated or of another kind.") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: it is damaged, truncated or of another kind."
        ) from error


def _imagenet(backbone: str) -> dict[str, Tensor]:
    """Fetch the ImageNet weights of a backbone through torchvision or timm (kept in their own caches)."""
    try:
        if backbone.startswith(TIMM_PREFIX):
            import timm

            with redirect_stdout(sys.stderr):
                return timm.create_model(backbone.removeprefix(TIMM_PREFIX), pretrained=True).state_dict()
        from torchvision.models import get_model_weights

        weights = get_model_weights(backbone)
        chosen = next((entry for entry in weights if entry.name == "IMAGENET1K_V1"), weights.DEFAULT)
        with redirect_stdout(sys.stderr):  # stdout is for results: torch says there what it downloads
            return chosen.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # whatever the network, its proxy and two libraries raise: the way out is the same
        raise WeightsError(
            f"The ImageNet weights of {backbone} cannot be fetched here ({type(error).__name__}). "
            f"{fetch.offline_hint(backbone)} Or start with --weights none."
        ) from error


def _torchvision_vgg_name(name: str) -> str:
    layer, _, kind = name.partition(".")
    return f"features.{TORCHVISION_INDEX[layer]}.{kind}"


def _other(name: str, also_named: Callable[[str], str] | None) -> str:
    return also_named(name) if also_named else ""


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
