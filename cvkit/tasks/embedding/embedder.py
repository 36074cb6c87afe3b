"""An autoencoder with all it needs from bytes to codes and reconstructions: device, blocks, noise."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.errors import WeightsError
from cvkit.models.exported.exported import ExportedNetwork, check_kind
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec, build

BLOCK_VALUES = 2**23  # numbers in the largest feature map of a block of images: 32 MiB


class Embedder:
    """An autoencoder on a device, which takes images as bytes and computes in float32, in blocks of its own choice.

    ``noise_sigma`` is the standard deviation of the noise it was trained to remove, 0 for none. The network is switched
    to evaluation during a call only.
    """

    def __init__(
        self, model: Autoencoder | ExportedNetwork, *, device: torch.device | str = "cpu", noise_sigma: float = 0.0
    ) -> None:
        self.device = torch.device(device)
        # 1.7 times as fast as the usual layout on a processor, too.
        self.layout = torch.channels_last if self.device.type in ("cuda", "cpu") else torch.contiguous_format
        self.network: nn.Module = model.to(self.device).to(memory_format=self.layout)
        self.spec = model.spec if isinstance(model, Autoencoder) else AutoencoderSpec.from_dict(model.facts.spec)
        self.noise_sigma = noise_sigma

    @property
    def model(self) -> Autoencoder:
        """Return the network where it is a whole one, and no exported file."""
        assert isinstance(self.network, Autoencoder)
        return self.network

    @property
    def decodes(self) -> bool:
        """Tell whether codes can be turned back into images: not by an exported encoder."""
        return isinstance(self.network, Autoencoder)

    @property
    def block(self) -> int:
        """Return how many images go through the network at once: few enough to bound the memory."""
        height, width = self.spec.size
        return max(1, min(1024, BLOCK_VALUES // (max(self.spec.widths) * height * width)))

    def pixels(self, images: Tensor) -> Tensor:
        """Return uint8 images as float32 in 0..1 on the device."""
        return images.to(self.device, non_blocking=True).to(torch.float32, memory_format=self.layout).div_(255)

    def codes(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the codes (B, latent_dim) float32 of (N, C, H, W) uint8 images, block by block, on the device."""
        with self._ready():
            for part in images.split(self.block):
                if not isinstance(self.network, ExportedNetwork):
                    yield self.model.encode(self.pixels(part)).float()
                else:
                    given = part.to(self.device) if self.network.takes_bytes else self.pixels(part)
                    yield self.network(given)

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Return the reconstructions (N, C, H, W) float32 of images in 0..1, noisy or not, one block's worth."""
        with self._ready():
            return self.model(pixels.to(self.device))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images (N, C, H, W) float32 in 0..1, on the processor, that codes (N, latent_dim) stand for."""
        with self._ready():
            return torch.cat([self.model.decode(part.to(self.device)).cpu() for part in codes.split(self.block)])

    def metadata(self) -> dict[str, Any]:
        """Return plain values that, with the weights, rebuild the embedder (``from_metadata``)."""
        return {"spec": self.spec.as_dict(), "noise_sigma": self.noise_sigma}

    @classmethod
    def from_exported(cls, path: Path, *, device: torch.device | str = "cpu") -> "Embedder":
        """Return an embedder that runs an exported encoder; WeightsError where the file is none."""
        network = ExportedNetwork(path, torch.device(device))
        check_kind(network.facts, {"encoder": "codes"}, str(path))
        return cls(network, device=device)

    @classmethod
    def from_metadata(cls, card: Mapping[str, Any], *, device: torch.device | str = "cpu") -> "Embedder":
        """Rebuild an embedder from ``card()`` and its ``weights``; WeightsError where they do not go together."""
        try:
            model = build(AutoencoderSpec.from_dict(card["spec"]))
            model.load_state_dict(card["weights"])
            return cls(model, device=device, noise_sigma=float(card["noise_sigma"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[-1].strip()[:200]
            raise WeightsError(
                f"The checkpoint's weights do not go with its description of the autoencoder: {first}"
            ) from error

    @contextmanager
    def _ready(self) -> Iterator[None]:
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.network.train(was_training)
