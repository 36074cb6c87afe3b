"""Encode images with an autoencoder, and decode codes, in blocks that bound the memory."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from cvkit.errors import WeightsError
from cvkit.messages import last_line
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.runner import Runner
from cvkit.tasks.embedding.autoencoder import Autoencoder, AutoencoderSpec, Encoder, build

BLOCK_VALUES = 2**23  # values in the largest feature map of a block of images: 32 MiB


class Embedder(Runner):
    """An autoencoder on a device, which takes images as bytes and computes in float32.

    Args:
        model: An autoencoder, or an exported encoder.
        device: Device to compute on.
        noise_sigma: Standard deviation of the noise that it was trained to remove; 0 for none.
    """

    def __init__(
        self,
        model: Autoencoder | Encoder | ExportedNetwork,
        *,
        device: torch.device | str = "cpu",
        noise_sigma: float = 0.0,
    ) -> None:
        self.spec: AutoencoderSpec = (
            AutoencoderSpec.from_dict(model.facts.spec) if isinstance(model, ExportedNetwork) else model.spec
        )
        channels = self.spec.channels
        super().__init__(model, mean=(0.0,) * channels, std=(1.0,) * channels, device=device)
        self.noise_sigma = noise_sigma

    @property
    def model(self) -> Autoencoder:
        """The network, where it is a whole autoencoder."""
        assert isinstance(self.network, Autoencoder)
        return self.network

    @property
    def decodes(self) -> bool:
        """True if codes can be decoded to images; an exported encoder cannot decode."""
        return isinstance(self.network, Autoencoder)

    @property
    def block(self) -> int:
        """The number of images per pass through the network, which bounds the memory."""
        height, width = self.spec.size
        return max(1, min(1024, BLOCK_VALUES // (max(self.spec.widths) * height * width)))

    def normalise(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) uint8 images as float32 from 0 to 1 on the device; uint8 if the network takes bytes."""
        return images.to(self.device) if self.takes_bytes else self.pixels(images)

    def pixels(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) uint8 images as float32 from 0 to 1 on the device."""
        return images.to(self.device, non_blocking=True).to(torch.float32, memory_format=self.layout).div_(255)

    def codes(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the (B, latent_dim) float32 codes of (N, C, H, W) uint8 images, block by block, on the device."""
        encode = self.model.encode if self.decodes else self.network
        with self.evaluating():
            for part in images.split(self.block):
                yield self.check_shape(encode(self.normalise(part)).float(), len(part), self.spec.latent_dim)

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Return the (N, C, H, W) float32 reconstructions of one block of images from 0 to 1."""
        with self.evaluating():
            return self.model(pixels.to(self.device))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the (N, C, H, W) float32 images from 0 to 1, on the processor, of (N, latent_dim) codes."""
        with self.evaluating():
            return torch.cat([self.model.decode(part.to(self.device)).cpu() for part in codes.split(self.block)])

    def metadata(self) -> dict[str, Any]:
        """Return plain values that rebuild the embedder together with the weights (``from_metadata``)."""
        return {"spec": self.spec.as_dict(), "noise_sigma": self.noise_sigma}

    @classmethod
    def from_metadata(cls, content: Mapping[str, Any], *, device: torch.device | str = "cpu") -> "Embedder":
        """Rebuild an embedder from ``metadata()`` and its ``weights``.

        Raises:
            WeightsError: If the weights do not fit the described autoencoder.
        """
        try:
            model = build(AutoencoderSpec.from_dict(content["spec"]))
            model.load_state_dict(content["weights"])
            return cls(model, device=device, noise_sigma=float(content["noise_sigma"]))
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(
                f"The weights of the checkpoint do not fit the autoencoder it describes: {last_line(error)}"
            ) from error
