"""What can be exported: trained runs and classifiers by name, each as a network with what there is to say of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from cvkit.catalog import SALIENCY_MODELS, Preprocessing, TargetLayer
from cvkit.errors import UsageError, WeightsError
from cvkit.models.backbones import normalisation
from cvkit.models.exported.exported import read_facts
from cvkit.models.exported.facts import Facts
from cvkit.progress import Note, Reporter
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network in evaluation mode on the processor, from normalised float images to one output, and its facts."""

    network: nn.Module
    facts: Facts

    def target(self) -> TargetLayer:
        """Return the layer that the classifier's heat map is made of."""
        spec = self.facts.spec
        shape = (1, self.facts.channels, *self.facts.size)
        return default_target(loading.blueprint(spec["name"], spec["classes"]), shape, spec["classes"])


class Encoder(nn.Module):
    """The first half of an autoencoder."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.encoder = whole.encoder

    def forward(self, images: Any) -> Any:
        """Return (N, latent_dim) codes of (N, C, H, W) images in 0..1."""
        return self.encoder(images)


def from_checkpoint(card: dict[str, Any], part: str, sha256: str) -> Exportable:
    """Return what a checkpoint holds; ``part`` is "encoder" or "whole" of an autoencoder.

    Raises WeightsError for a checkpoint of a kind that is not exported.
    """
    if card["kind"] == "saliency":
        return _saliency(SaliencyPredictor.from_card(card), card.get("config", {}), sha256)
    if card["kind"] == "autoencoder":
        return _autoencoder(Embedder.from_card(card), card.get("config", {}), part, sha256)
    raise WeightsError(f"a checkpoint of kind {card['kind']!r} cannot be exported; name a run folder or its best.pt.")


def _saliency(predictor: SaliencyPredictor, config: dict[str, Any], sha256: str) -> Exportable:
    mean, std = predictor.normalisation
    spec = predictor.model.spec
    return Exportable(
        network=predictor.model.eval().requires_grad_(False),
        facts=Facts(
            kind="saliency",
            model=spec.name,
            spec=spec.as_dict(),
            channels=3,
            size=predictor.size,
            mean=mean,
            std=std,
            outputs=("map",),
            weights_sha256=sha256,
            config=config,
        ),
    )


def _autoencoder(embedder: Embedder, config: dict[str, Any], part: str, sha256: str) -> Exportable:
    spec = embedder.spec
    model = embedder.model.eval().requires_grad_(False)
    encoder = part == "encoder"
    return Exportable(
        network=Encoder(model) if encoder else model,
        facts=Facts(
            kind="encoder" if encoder else "autoencoder",
            model="autoencoder",
            spec=spec.as_dict(),
            channels=spec.channels,
            size=spec.size,
            mean=(0.0,) * spec.channels,
            std=(1.0,) * spec.channels,
            outputs=("codes",) if encoder else ("reconstruction",),
            weights_sha256=sha256,
            config=config,
        ),
    )


def from_name(name: str, weights: str, labels: str | None, report: Reporter) -> Exportable:
    """Return a classifier of torchvision or timm with its weights, or a saliency network with random ones.

    Raises UsageError for an unknown name, WeightsError for weights that cannot be had or do not fit.
    """
    if name in SALIENCY_MODELS:
        if weights != "none":
            raise UsageError(f"export {name}: name the run that trained it, or --weights none for random weights.")
        facts, spec = SALIENCY_MODELS[name], SaliencySpec.of(name)
        predictor = SaliencyPredictor(build(spec), facts.size, normalisation=normalisation(spec.backbone))
        return _saliency(predictor, {}, "")
    loaded = loading.load(name, weights, labels, report)
    if loaded.note:
        report(Note(loaded.note))
    way: Preprocessing = loaded.facts.preprocessing
    return Exportable(
        network=loaded.module.eval().requires_grad_(False),
        facts=Facts(
            kind="classifier",
            # Random weights, or a file nobody published, are not those of an entry.
            model=loaded.facts.name if loaded.file and not loaded.note else loaded.facts.model,
            spec={"name": loaded.facts.name, "classes": loaded.facts.num_classes},
            channels=3,
            size=way.crop,
            mean=way.mean,
            std=way.std,
            outputs=("logits",),
            preprocessing=asdict(way),
            labels=tuple(loaded.facts.labels),
            class_ids=tuple(loaded.facts.class_ids),
            licence=loaded.facts.licence,
            weights_sha256=loaded.sha256,
        ),
    )


def rebuilt(path: Path) -> nn.Module:
    """Return the network of an exported safetensors file, built anew; raises WeightsError where they do not fit."""
    facts = read_facts(path)
    try:
        network = _built(facts)
        network.load_state_dict(load_file(path))
    except (KeyError, TypeError, RuntimeError) as error:
        first = str(error).splitlines()[-1].strip()[:200]
        raise WeightsError(f"{path}: its weights do not go with what it says of its network: {first}") from error
    return network.float().eval().requires_grad_(False)


def _built(facts: Facts) -> nn.Module:
    if facts.kind == "classifier":
        return loading.make(facts.spec["name"], facts.spec["classes"])
    if facts.kind == "saliency":
        return build(SaliencySpec.from_dict(facts.spec))
    whole = Autoencoder(AutoencoderSpec.from_dict(facts.spec))
    return Encoder(whole) if facts.kind == "encoder" else whole
