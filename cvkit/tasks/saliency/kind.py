"""Load and export saliency networks: their row of the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import SALIENCY_MODELS
from cvkit.device import autocast_dtype, choose_precision
from cvkit.errors import UsageError
from cvkit.models.backbones import normalisation
from cvkit.models.exported.comparison import correlation
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import MapAtInput
from cvkit.models.exported.network import ExportedNetwork, check_kind
from cvkit.models.folding import fold_batch_norms
from cvkit.models.loaded import Exportable, LoadedModel, ModelKind, Outputs, Request
from cvkit.models.weights import fill, read_tensors
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import RGB, SaliencyPredictor

SEED = 0  # of random weights, so that two runs without weights agree


@dataclass(frozen=True, kw_only=True)
class LoadedSaliency(LoadedModel):
    """A saliency network with its weights.

    Attributes:
        spec: Plain values that rebuild the network.
        size: (height, width) of its input in pixels.
        normalisation: Mean and standard deviation (RGB) of its input.
        config: Settings of the run that trained it.
    """

    kind: str = "saliency"
    spec: Mapping[str, Any]
    size: tuple[int, int]
    normalisation: tuple[RGB, RGB]
    config: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device, precision: str) -> SaliencyPredictor:
        """Put the network on a device; the precision ``auto`` is bf16 on a GPU that supports it, else fp32.

        In fp32, batch norms are folded into convolutions.
        """
        dtype = autocast_dtype(choose_precision(precision, device)) or torch.float32
        if isinstance(self.network, ExportedNetwork):
            self.network.open(device)
            dtype = torch.float32
        network = self.network
        if dtype == torch.float32 and not self.is_exported:
            network = fold_batch_norms(network, (1, 3, *self.size))
        return SaliencyPredictor(network, self.size, device=device, dtype=dtype, normalisation=self.normalisation)


def from_checkpoint(content: Mapping[str, Any], path: Path, sha256: str) -> LoadedSaliency:
    """Load the content of a saliency checkpoint."""
    return _loaded(SaliencyPredictor.from_metadata(content), content.get("config", {}), str(path), sha256)


def from_exported(network: nn.Module, facts: Facts, path: Path, sha256: str) -> LoadedSaliency:
    """Load an exported saliency network.

    Raises:
        WeightsError: If the file does not return a saliency map.
    """
    check_kind(facts, {"saliency": "map"}, str(path))
    mean, std = (tuple(values) for values in (facts.mean, facts.std))
    return LoadedSaliency(
        network=network,
        file=str(path),
        sha256=sha256,
        spec=facts.spec,
        size=facts.size,
        normalisation=(mean, std),  # type: ignore[arg-type]
        config=facts.config,
    )


def from_name(request: Request) -> LoadedSaliency:
    """Build a saliency network by name, with random weights or those of a file.

    Raises:
        UsageError: If no weights are given: cvkit has none of its own for these networks.
        WeightsError: If the file does not fit the network.
    """
    if request.weights in (None, "pretrained"):
        raise UsageError(
            f"{request.name} has no published weights: name the run that trained it, or add --weights FILE or "
            "--weights none (random weights)."
        )
    spec = SaliencySpec.of(request.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = build(spec)
    if request.weights != "none":
        fill(model, read_tensors(request.weights), request.weights)
    size = SALIENCY_MODELS[request.name].size
    predictor = SaliencyPredictor(model, size, normalisation=normalisation(spec.backbone))
    return _loaded(predictor, {}, "" if request.weights == "none" else request.weights, "")


def _loaded(predictor: SaliencyPredictor, config: Mapping[str, Any], file: str, sha256: str) -> LoadedSaliency:
    return LoadedSaliency(
        network=predictor.network,
        file=file,
        sha256=sha256,
        spec=predictor.model.spec.as_dict(),
        size=predictor.size,
        normalisation=predictor.normalisation,
        config=config,
    )


def _export(loaded: LoadedSaliency, part: str) -> Exportable:
    del part
    mean, std = loaded.normalisation
    facts = Facts(
        kind="saliency",
        model=loaded.spec["name"],
        spec=dict(loaded.spec),
        channels=3,
        size=loaded.size,
        mean=mean,
        std=std,
        outputs=("map",),
        weights_sha256=loaded.sha256,
        config=dict(loaded.config),
    )
    return Exportable(network=loaded.network.eval().requires_grad_(False), facts=facts)


def _compare_outputs(expected: Outputs, found: Outputs, true: Tensor | None) -> dict[str, float]:
    """Return the mean correlation of the maps with those of PyTorch."""
    del true
    maps = (-1, *expected[0].shape[-2:])
    return {"cc": float(correlation(found[0].reshape(maps), expected[0].reshape(maps)).mean())}


KIND = ModelKind(
    name="saliency",
    title="a saliency network",
    output="map",
    checkpoint="saliency",
    rebuild=lambda facts: build(SaliencySpec.from_dict(facts.spec)),
    from_checkpoint=from_checkpoint,
    from_exported=from_exported,
    is_model_name=SALIENCY_MODELS.__contains__,
    from_name=from_name,
    export=_export,
    postprocessing=lambda facts, top: (MapAtInput(), ["saliency"]),  # noqa: ARG005 (maps have no classes)
    compare_outputs=_compare_outputs,
)
