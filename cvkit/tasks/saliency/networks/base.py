"""Base class of saliency networks, and the description from which a network is built."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvkit.catalog import SALIENCY_MODELS
from cvkit.errors import DataError, UsageError, WeightsError
from cvkit.messages import did_you_mean
from cvkit.models.plain import have_types


@dataclass(frozen=True, kw_only=True)
class SaliencySpec:
    """Description of a saliency network in plain values.

    Attributes:
        name: Name of the model in ``SALIENCY_MODELS``.
        backbone: "vgg16", or a torchvision or timm model that gives the features.
        dropout: Probability of dropout before the head, from 0 to below 1.
        prior: Whether the network has a learned prior.
        fixed_norm: Whether the batch norms of the backbone keep their stored statistics in training. ``load_backbone``
            sets it, because the batches of fine-tuning are too small for their own statistics, and weights with folded
            norms have none.

    Raises:
        UsageError: If no such network can be built.
    """

    name: str
    backbone: str = "vgg16"
    dropout: float = 0.0
    prior: bool = False
    fixed_norm: bool = False

    def __post_init__(self) -> None:
        facts = SALIENCY_MODELS.get(self.name)
        if facts is None:
            raise UsageError(f"There is no saliency model '{self.name}'.{did_you_mean(self.name, SALIENCY_MODELS)}")
        if self.backbone != "vgg16" and not facts.takes_backbone:
            raise UsageError(f"{self.name} is built on VGG16; mlnet takes the backbone '{self.backbone}'.")
        if self.prior and not facts.takes_backbone:
            raise UsageError(f"{self.name} cannot have a learned prior; mlnet and mlnet-paper can.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"The dropout probability must be from 0 to below 1, not {self.dropout:g}.")

    @classmethod
    def of(
        cls, name: str, *, backbone: str = "vgg16", dropout: float | None = None, prior: bool | None = None
    ) -> "SaliencySpec":
        """Return the description of a model; arguments that are None get the model's default.

        Raises:
            UsageError: If there is no such model, or it cannot be built so.
        """
        facts = SALIENCY_MODELS.get(name)
        if facts is None:
            raise UsageError(f"There is no saliency model '{name}'.{did_you_mean(name, SALIENCY_MODELS)}")
        return cls(
            name=name,
            backbone=backbone,
            dropout=facts.dropout if dropout is None else dropout,
            prior=facts.prior if prior is None else prior,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SaliencySpec":
        """Rebuild a description from ``as_dict()``.

        Raises:
            WeightsError: If a field is unknown or has a value of another type.
        """
        unknown = sorted(set(map(str, values)) - {field.name for field in fields(cls)})
        if unknown or "name" not in values:
            problem = f"unknown: {', '.join(unknown)}" if unknown else "no name"
            raise WeightsError(
                f"The checkpoint does not describe a saliency model ({problem}); was it made by a newer cvkit?"
            )
        for key, value in values.items():
            if not have_types({key: value}, cls):
                raise WeightsError(f"The checkpoint describes its model with {key}={repr(value)[:80]}, a wrong type.")
        return cls(**values)

    def as_dict(self) -> dict[str, str | float | bool]:
        """Return the fields as plain values for JSON and checkpoints."""
        return asdict(self)


class SaliencyModel(nn.Module, ABC):
    """A network from normalised images to saliency maps.

    Attributes:
        backbone: The layers that may start from pretrained weights; all other parameters belong to the head.
        spec: Description from which the network was built.
        stride: Size of the input divided by the size of the map.
        min_size: Smallest side of an image in pixels that the network can process.
        frozen: Whether the backbone is excluded from training.
    """

    backbone: nn.Module

    def __init__(self, spec: SaliencySpec, *, stride: int) -> None:
        super().__init__()
        self.spec = spec
        self.stride = stride
        self.min_size = SALIENCY_MODELS[spec.name].min_size
        self.frozen = False

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Compute saliency maps.

        Args:
            images: (N, 3, H, W) normalised images.

        Returns:
            (N, 1, h, w) float32 >= 0.

        Raises:
            DataError: If the images are smaller than ``min_size``.
        """

    @abstractmethod
    def penalty(self) -> Tensor:
        """Return the scalar to add to the loss: the L2 penalty of the learned prior, or 0 without a prior."""

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters that may start from pretrained weights."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters that always start from random weights."""
        return (value for name, value in self.named_parameters() if not name.startswith("backbone."))

    def freeze_backbone(self) -> None:
        """Exclude the backbone from training: it gets no gradients and stays in evaluation mode."""
        self.frozen = True
        self.backbone.requires_grad_(False)
        self.train(self.training)

    def unfreeze_backbone(self) -> None:
        """Include the backbone in training again."""
        self.frozen = False
        self.backbone.requires_grad_(True)
        self.train(self.training)

    def fix_norm(self) -> None:
        """Keep the batch norms of the backbone at their stored statistics from now on, and record it in ``spec``."""
        self.spec = replace(self.spec, fixed_norm=True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; frozen and fixed modules stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        elif self.spec.fixed_norm:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def check_size(self, images: Tensor) -> None:
        """Raise DataError if a side of (N, 3, H, W) ``images`` is below ``min_size``."""
        height, width = images.shape[-2:]
        if height < self.min_size or width < self.min_size:
            raise DataError(
                f"{self.spec.name} needs images of at least {self.min_size}x{self.min_size} pixels, "
                f"not {height}x{width}."
            )
