"""Run a network on uint8 images: device, precision, memory layout, normalisation and evaluation mode."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from cvkit.errors import WeightsError
from cvkit.models.exported.network import ExportedNetwork, memory_layout

PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Runner:
    """A network on a device at a precision, with the normalisation that it expects.

    The predictors of the tasks are subclasses that add what their task makes of the output.

    Args:
        network: A network of PyTorch or an exported file. It is moved to the device.
        mean: Mean of the normalisation per channel, for values from 0 to 1.
        std: Standard deviation of the normalisation per channel.
        device: Device to compute on.
        dtype: torch.float32, or torch.bfloat16 or torch.float16 for autocast.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.layout = memory_layout(network, self.device)
        self.network: nn.Module = network.to(self.device).to(memory_format=self.layout)
        means, stds = (torch.tensor(values, device=self.device).view(1, -1, 1, 1) for values in (mean, std))
        # (x / 255 - mean) / std as one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * stds), -means / stds

    @property
    def precision(self) -> str:
        """The precision as ``--precision`` names it: fp32, bf16 or fp16."""
        return PRECISIONS[self.dtype]

    @property
    def takes_bytes(self) -> bool:
        """True if the network is an exported file whose graph contains the normalisation."""
        return isinstance(self.network, ExportedNetwork) and self.network.takes_bytes

    @property
    def torch_threads(self) -> int | None:
        """The threads that torch needs beside the network: 1 if its runtime has threads of its own, else None."""
        own = isinstance(self.network, ExportedNetwork) and self.network.path.suffix != ".pt2"
        return 1 if own else None

    def normalise(self, images: Tensor) -> Tensor:
        """Prepare images for the network.

        Args:
            images: (N, C, H, W) uint8.

        Returns:
            (N, C, H, W) float32 normalised, on the device; uint8 if the network takes bytes.
        """
        moved = images.to(self.device, non_blocking=True)
        if self.takes_bytes:
            return moved
        return torch.addcmul(self._shift, moved.to(torch.float32), self._scale).contiguous(memory_format=self.layout)

    def run(self, images: Tensor) -> Tensor:
        """Return the float32 output of the network for (N, C, H, W) uint8 images, in evaluation mode."""
        with self.evaluating():
            return self.forward(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the float32 output of the network for (N, C, H, W) uint8 images, in its current mode."""
        with self.autocast():
            return self.network(self.normalise(images)).float()

    def check_shape(self, output: Tensor, *shape: int | None) -> Tensor:
        """Return an output of the network if it has a shape; None stands for any length.

        Raises:
            WeightsError: If it has another shape, because a file describes its network wrongly.
        """
        wrong = any(length not in (None, own) for length, own in zip(shape, output.shape, strict=False))
        if output.dim() != len(shape) or wrong:
            expected = "x".join("?" if length is None else str(length) for length in shape)
            own = "x".join(map(str, output.shape))
            raise WeightsError(f"the network returns values of shape {own}, but its file describes {expected}.")
        return output

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes at the precision of the runner."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch the network to evaluation without gradients for the block, and restore its mode afterwards."""
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.network.train(was_training)
