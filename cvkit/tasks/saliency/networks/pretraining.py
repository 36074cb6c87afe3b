"""Load pretrained weights into the backbone of a saliency network."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from cvkit.catalog import SALIENCY_MODELS, TIMM_PREFIX
from cvkit.errors import WeightsError
from cvkit.messages import first_line
from cvkit.models import fetch
from cvkit.models.backbones import LibraryBackbone
from cvkit.models.published.pretrained import backbone_entry
from cvkit.models.recognition import recognise_network
from cvkit.models.weights import UnfittingWeights, fill, read_tensors
from cvkit.progress import Reporter, ignore
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.networks.vgg import TORCHVISION_INDEX, VGG16

RANDOM, IMAGENET = "none", "imagenet"  # sources of weights beside files
MIN_FITTING = 0.5  # fraction of fitting tensors from which no other network is searched for


def load_backbone(
    model: SaliencyModel, source: str | Path, *, zero_bias: bool | None = None, report: Reporter = ignore
) -> str:
    """Load pretrained weights into the backbone of a saliency network, and fix the statistics of its batch norms.

    Args:
        model: The network, changed in place.
        source: "none" leaves the network as it is; "imagenet" takes the published weights from the cache of torchvision
            or timm, or downloads them; otherwise a weights file.
        zero_bias: Whether to set the biases of the backbone to zero. None sets them to zero for ``mlnet`` on VGG16
            only (docs/models.md gives the reason).
        report: Receives the progress of a download.

    Returns:
        The source of the weights for the user: "random", the file, or the published name and the file.

    Raises:
        WeightsError: If the weights are not available, or tensors are missing or have other shapes.
        OutputError: If downloaded weights cannot be written to the cache.
    """
    if str(source) == RANDOM:
        return "random"
    tensors, label = _imagenet(model.spec.backbone, report) if str(source) == IMAGENET else _from_file(source)
    try:
        _fill_backbone(model, tensors, label)
    except UnfittingWeights as error:
        if str(source) == IMAGENET:
            raise
        # A file of which most tensors fit is probably of the right network, and damaged or changed.
        other = recognise_network(Path(source), tensors, search=error.fitting < MIN_FITTING)
        raise WeightsError(f"{error}{_suggest_backbone(model, other)}") from error
    if zero_bias is None:
        zero_bias = model.spec.name == "mlnet" and model.spec.backbone == "vgg16"
    if zero_bias:
        for name, value in model.backbone.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(value)
    model.fix_norm()
    return label


def _suggest_backbone(model: SaliencyModel, name: str | None) -> str:
    """Return the end of a message about weights that do not fit, from the network that the file seems to be of."""
    if name is None or name == model.spec.backbone:
        return ""
    if not SALIENCY_MODELS[model.spec.name].takes_backbone:
        return f" The file seems to be of {name}, but {model.spec.name} always uses {model.spec.backbone}."
    return f" Did you forget --backbone {name}?"


def _fill_backbone(model: SaliencyModel, tensors: dict[str, Tensor], label: str) -> None:
    backbone = model.backbone
    if isinstance(backbone, VGG16):
        fill(backbone, tensors, label, also_named=_torchvision_vgg_name)
    elif isinstance(backbone, LibraryBackbone):
        # timm's extractors join the names of flattened modules by "_" ("stages_0.x" for "stages.0.x").
        canonical: Callable[[str], str] | None = None
        if model.spec.backbone.startswith(TIMM_PREFIX):
            canonical = _flat
        fill(backbone.body, tensors, label, canonical=canonical)
    else:
        raise WeightsError(f"{type(backbone).__name__} has no pretrained weights.")


def _from_file(path: str | Path) -> tuple[dict[str, Tensor], str]:
    return read_tensors(path), str(path)


def _imagenet(backbone: str, report: Reporter) -> tuple[dict[str, Tensor], str]:
    """Return the published tensors of a backbone under the names of its library, and their name for messages."""
    entry = backbone_entry(backbone)
    path = fetch.download(entry, report)
    tensors = read_tensors(path)
    if backbone.startswith(TIMM_PREFIX):
        tensors = _convert_for_timm(entry.name, tensors, path)
    return tensors, f"{entry.name} ({path})"


def _convert_for_timm(name: str, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file under the names that timm uses now: timm converts them when it loads."""
    import timm

    try:
        network = timm.create_model(
            name.removeprefix(TIMM_PREFIX), pretrained=True, pretrained_cfg_overlay={"state_dict": tensors}
        )
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not fit {name}: {first_line(error)}.") from error
    state: dict[str, Tensor] = network.state_dict()
    return state


def _torchvision_vgg_name(name: str) -> str:
    layer, _, kind = name.partition(".")
    return f"features.{TORCHVISION_INDEX[layer]}.{kind}"


def _flat(name: str) -> str:
    return name.replace(".", "_")
