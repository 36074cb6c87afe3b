"""Load pretrained weights into the backbone of a saliency network."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from torch import Tensor, nn

from cvkit.catalog import TIMM_PREFIX
from cvkit.errors import WeightsError
from cvkit.models import fetch
from cvkit.models.backbones import ForeignBackbone
from cvkit.models.weights import fill, read_tensors
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX, VGG16


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


def _flat(name: str) -> str:
    return name.replace(".", "_")
