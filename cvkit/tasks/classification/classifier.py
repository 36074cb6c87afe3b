"""Run a classifier on uint8 images, on a device and at a precision."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import Preprocessing, Pretrained
from cvkit.models.exported.exported import ExportedNetwork, memory_layout


class Classifier:
    """A classifier with its preprocessing, the names of its classes, its device and its precision.

    ``dtype`` is torch.float32, or bfloat16 or float16 for autocast. The network is in evaluation mode and its
    parameters want no gradients.
    """

    def __init__(
        self,
        module: nn.Module,
        facts: Pretrained,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype, self.facts = torch.device(device), dtype, facts
        self.layout = memory_layout(module, self.device)
        self.module = module.eval().requires_grad_(False).to(self.device).to(memory_format=self.layout)
        way = facts.preprocessing
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (way.mean, way.std))
        # (x / 255 - mean) / std as one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * std), -mean / std

    @property
    def preprocessing(self) -> Preprocessing:
        """How the weights want their images."""
        return self.facts.preprocessing

    def normalise(self, images: Tensor) -> Tensor:
        """Return (N, 3, h, w) uint8 images as normalised float32, on the device and in its memory layout."""
        if isinstance(self.module, ExportedNetwork) and self.module.takes_bytes:
            return images.to(self.device, non_blocking=True)
        pixels = images.to(self.device, non_blocking=True).to(torch.float32)
        return torch.addcmul(self._shift, pixels, self._scale).contiguous(memory_format=self.layout)

    def logits(self, images: Tensor) -> Tensor:
        """Return the (N, classes) float32 scores before the softmax of (N, 3, h, w) uint8 images."""
        with torch.inference_mode(), self.autocast():
            return self.module(self.normalise(images)).float()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in the classifier's precision."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def label(self, index: int) -> str:
        """Return the name of a class, or an empty text where none is known."""
        return self.facts.labels[index] if self.facts.labels else ""

    def name_class(self, index: int) -> dict[str, Any]:
        """Return a class as columns of a table: its index, and its WordNet id and label where they are known."""
        class_id = self.facts.class_ids[index] if self.facts.class_ids else ""
        return {"class_index": index, "class_id": class_id, "label": self.label(index)}
