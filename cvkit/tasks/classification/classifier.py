"""Classify uint8 images."""

from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import Preprocessing, Pretrained
from cvkit.models.runner import Runner
from cvkit.tasks.classification.specification import NetworkSpec


class Classifier(Runner):
    """A classifier with its preprocessing, the names of its classes, its device and its precision.

    The network is in evaluation mode, and its parameters require no gradients.

    Args:
        network: A network that returns (N, classes) logits, or an exported file of one.
        facts: Its preprocessing, and the labels and ids of its classes.
        spec: Description from which the network is rebuilt; only ``metadata`` needs it.
        device: Device to compute on.
        dtype: torch.float32, or torch.bfloat16 or torch.float16 for autocast.
    """

    def __init__(
        self,
        network: nn.Module,
        facts: Pretrained,
        *,
        spec: NetworkSpec | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.facts, self.spec = facts, spec
        steps = facts.preprocessing
        network = network.eval().requires_grad_(False)
        super().__init__(network, mean=steps.mean, std=steps.std, device=device, dtype=dtype)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing that the weights require."""
        return self.facts.preprocessing

    def logits(self, images: Tensor) -> Tensor:
        """Return the (N, classes) float32 scores before the softmax of (N, 3, h, w) uint8 images."""
        return self.check_shape(self.run(images), len(images), self.facts.num_classes)

    def metadata(self) -> dict[str, Any]:
        """Return plain values that, with the weights, rebuild the classifier from a checkpoint."""
        assert self.spec is not None
        return {
            "spec": self.spec.as_dict(),
            "preprocessing": self.preprocessing.as_dict(),
            "labels": list(self.facts.labels),
            "class_ids": list(self.facts.class_ids),
        }

    def label(self, index: int) -> str:
        """Return the label of a class, or an empty text if the model has no labels."""
        return self.facts.labels[index] if self.facts.labels else ""

    def name_class(self, index: int) -> dict[str, Any]:
        """Return a class as columns of a table: its index, and its WordNet id and label where they are known."""
        class_id = self.facts.class_ids[index] if self.facts.class_ids else ""
        return {"class_index": index, "class_id": class_id, "label": self.label(index)}
