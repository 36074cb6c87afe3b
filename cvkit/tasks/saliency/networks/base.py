"""What every saliency network has in common: how it is described, and what may be asked of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvkit.catalog import SALIENCY_MODELS
from cvkit.errors import DataError, UsageError, WeightsError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class SaliencySpec:
    """Everything needed to build a saliency network again, in plain values only.

    ``fixed_norm`` keeps the backbone's batch norms at their stored statistics in training; ``load_backbone`` sets it:
    batches of fine-tuning are too small for statistics of their own, and weights with folded norms have none.
    Raises UsageError for values that cannot be built.
    """

    name: str
    backbone: str = "vgg16"
    dropout: float = 0.0
    prior: bool = False
    fixed_norm: bool = False

    def __post_init__(self) -> None:
        facts = SALIENCY_MODELS.get(self.name)
        if facts is None:
            raise UsageError(f"--model: there is no model '{self.name}'.{did_you_mean(self.name, SALIENCY_MODELS)}")
        if self.backbone != "vgg16" and not facts.takes_backbone:
            raise UsageError(f"--backbone: {self.name} is made of VGG16; --model mlnet takes '{self.backbone}'.")
        if self.prior and not facts.takes_backbone:
            raise UsageError(f"--prior: {self.name} has no learned prior; mlnet and mlnet-paper can have one.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"--dropout is the probability to drop, from 0 to below 1, not {self.dropout:g}.")

    @classmethod
    def of(
        cls, name: str, *, backbone: str = "vgg16", dropout: float | None = None, prior: bool | None = None
    ) -> "SaliencySpec":
        """Return the spec of the model ``name``, taking what is not given from the catalog."""
        facts = SALIENCY_MODELS.get(name)
        if facts is None:
            raise UsageError(f"--model: there is no model '{name}'.{did_you_mean(name, SALIENCY_MODELS)}")
        return cls(
            name=name,
            backbone=backbone,
            dropout=facts.dropout if dropout is None else dropout,
            prior=facts.prior if prior is None else prior,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SaliencySpec":
        """Read a spec as ``as_dict`` wrote it; raises WeightsError when it has other fields or kinds of values."""
        kinds = {field.name: field.type for field in fields(cls)}
        strange = sorted(set(values) - set(kinds))
        if strange or "name" not in values:
            what = f"unknown: {', '.join(strange)}" if strange else "no name"
            raise WeightsError(
                f"The checkpoint does not describe a saliency model ({what}); was it made by a newer cvkit?"
            )
        for key, value in values.items():
            if not isinstance(value, (int, float) if kinds[key] is float else kinds[key]):  # type: ignore[arg-type]
                raise WeightsError(f"The checkpoint describes its model with {key}={value!r}, which cannot be.")
        return cls(**values)

    def as_dict(self) -> dict[str, str | float | bool]:
        """Return the spec as a dict of plain values, fit for JSON and for a checkpoint."""
        return asdict(self)


class SaliencyModel(nn.Module, ABC):
    """A network from normalised images to saliency maps.

    ``backbone`` holds the layers that may start from pretrained weights; every other parameter is of the head.
    ``stride`` is the input's size over the map's, ``min_size`` the smallest side in pixels it can process.
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
        """Return (N, 1, h, w) float32 maps >= 0 of (N, 3, H, W) normalised images; DataError for too small ones."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Return the scalar to add to the loss: the L2 penalty of the learned prior, or 0."""

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that may come from pretrained weights."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that always start anew."""
        return (value for name, value in self.named_parameters() if not name.startswith("backbone."))

    def freeze_backbone(self) -> None:
        """Stop the training of the backbone: no gradients, and its norms and dropouts stay as in evaluation."""
        self.frozen = True
        self.backbone.requires_grad_(False)
        self.train(self.training)

    def unfreeze_backbone(self) -> None:
        """Let the backbone be trained (again)."""
        self.frozen = False
        self.backbone.requires_grad_(True)
        self.train(self.training)

    def fix_norm(self) -> None:
        """Keep the backbone's batch norms at their stored statistics from now on; the spec remembers it."""
        self.spec = replace(self.spec, fixed_norm=True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation, leaving what is frozen or fixed in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        elif self.spec.fixed_norm:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def check_size(self, images: Tensor) -> None:
        """Raise DataError when a side of (N, 3, H, W) ``images`` is below ``min_size``."""
        height, width = images.shape[-2:]
        if height < self.min_size or width < self.min_size:
            raise DataError(
                f"{self.spec.name} needs images of at least {self.min_size}x{self.min_size} pixels, "
                f"not {height}x{width}; set a larger --size."
            )
