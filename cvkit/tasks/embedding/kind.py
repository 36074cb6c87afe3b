"""Load and export autoencoders: their rows of the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.models.exported.comparison import correlation
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.network import ExportedNetwork, check_kind
from cvkit.models.loaded import Exportable, LoadedModel, ModelKind, Outputs
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec, Encoder
from cvkit.tasks.embedding.embedder import Embedder


@dataclass(frozen=True, kw_only=True)
class LoadedAutoencoder(LoadedModel):
    """An autoencoder with its weights.

    Attributes:
        noise_sigma: Standard deviation of the noise that it was trained to remove; 0 for none.
        config: Settings of the run that trained it.
    """

    kind: str = "autoencoder"
    noise_sigma: float = 0.0
    config: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device, precision: str) -> Embedder:
        """Put the autoencoder on a device; it always computes in float32."""
        del precision
        if isinstance(self.network, ExportedNetwork):
            self.network.open(device)
        assert isinstance(self.network, Autoencoder | Encoder | ExportedNetwork)
        return Embedder(self.network, device=device, noise_sigma=self.noise_sigma)


def from_checkpoint(content: Mapping[str, Any], path: Path, sha256: str) -> LoadedAutoencoder:
    """Load the content of an autoencoder checkpoint."""
    embedder = Embedder.from_metadata(content)
    return LoadedAutoencoder(
        network=embedder.network,
        file=str(path),
        sha256=sha256,
        noise_sigma=embedder.noise_sigma,
        config=content.get("config", {}),
    )


def from_exported(network: nn.Module, facts: Facts, path: Path, sha256: str) -> LoadedAutoencoder:
    """Load an exported encoder, or an autoencoder rebuilt from a safetensors file.

    Raises:
        WeightsError: If the file does not return codes.
    """
    if isinstance(network, ExportedNetwork):
        check_kind(facts, {"encoder": "codes"}, str(path))
    return LoadedAutoencoder(kind=facts.kind, network=network, file=str(path), sha256=sha256, config=facts.config)


def _export(loaded: LoadedAutoencoder, part: str) -> Exportable:
    """Prepare an autoencoder, or the encoder alone if ``part`` says so or the file holds nothing else."""
    network = loaded.network.eval().requires_grad_(False)
    assert isinstance(network, Autoencoder | Encoder)
    if part == "encoder" and isinstance(network, Autoencoder):
        network = Encoder(network)
    spec = network.spec
    encoder = isinstance(network, Encoder)
    facts = Facts(
        kind="encoder" if encoder else "autoencoder",
        model="autoencoder",
        spec=spec.as_dict(),
        channels=spec.channels,
        size=spec.size,
        mean=(0.0,) * spec.channels,
        std=(1.0,) * spec.channels,
        outputs=("codes",) if encoder else ("reconstruction",),
        weights_sha256=loaded.sha256,
        config=dict(loaded.config),
    )
    return Exportable(network=network, facts=facts)


def _rebuild(facts: Facts) -> nn.Module:
    whole = Autoencoder(AutoencoderSpec.from_dict(facts.spec))
    return Encoder(whole) if facts.kind == "encoder" else whole


def _compare_images(expected: Outputs, found: Outputs, true: Tensor | None) -> dict[str, float]:
    """Return the mean correlation of the reconstructions with those of PyTorch."""
    del true
    images = (-1, *expected[0].shape[-2:])
    return {"cc": float(correlation(found[0].reshape(images), expected[0].reshape(images)).mean())}


def _compare_codes(expected: Outputs, found: Outputs, true: Tensor | None) -> dict[str, float]:
    """Return the correlation of all codes with those of PyTorch: one code has too few values for its own."""
    del true
    return {"cc": float(correlation(found[0].reshape(1, 1, -1), expected[0].reshape(1, 1, -1)).mean())}


KIND = ModelKind(
    name="autoencoder",
    title="an autoencoder",
    output="reconstruction",
    checkpoint="autoencoder",
    rebuild=_rebuild,
    from_checkpoint=from_checkpoint,
    from_exported=from_exported,
    export=_export,
    compare_outputs=_compare_images,
    any_size=False,
)
ENCODER_KIND = ModelKind(
    name="encoder",
    title="an encoder",
    output="codes",
    rebuild=_rebuild,
    from_exported=from_exported,
    export=_export,
    compare_outputs=_compare_codes,
    any_size=False,
)
