"""A convolutional autoencoder with a small dense code, whose decoder mirrors its encoder."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor, nn

from cvkit.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class AutoencoderSpec:
    """Everything needed to build an autoencoder again, in plain values only.

    ``size`` is the (height, width) of its images in pixels, ``channels`` 1 (grey) or 3 (RGB), ``latent_dim`` the
    numbers of a code, ``widths`` the filters of the encoder's convolutions; the decoder has them in reverse.
    """

    size: tuple[int, int]
    channels: int = 1
    latent_dim: int = 2
    widths: tuple[int, ...] = (32, 64, 128)
    batch_norm: bool = False
    dropout: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AutoencoderSpec":
        """Read a spec as ``as_dict`` wrote it; raises WeightsError when it has other fields."""
        if set(values) != {field.name for field in fields(cls)}:
            raise WeightsError("The checkpoint does not describe an autoencoder; was it made by another cvkit?")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, (list, tuple))}
        return cls(**{**values, **lists})

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as plain values, fit for JSON and for a checkpoint."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def grids(self) -> list[tuple[int, int]]:
        """Return the (height, width) of the feature maps: the images' own, then that after each pooling."""
        grids = [self.size]
        for _ in self.widths:
            height, width = grids[-1]
            grids.append(((height + 1) // 2, (width + 1) // 2))
        return grids


class Autoencoder(nn.Module):
    """Images to codes and back to images of the same size.

    Encoder: for each width a 3x3 convolution, ReLU and a 2x2 max pooling that keeps an odd border (ceil); then a dense
    layer to the code. Decoder: a dense layer, reshaped to the encoder's last feature map; for each width in reverse a
    3x3 convolution, ReLU and an up-sampling (nearest) to the size the encoder had there; then a 3x3 convolution to the
    image's channels and a sigmoid. Batch norm stands before the ReLUs of the convolutions, dropout behind them.
    """

    def __init__(self, spec: AutoencoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = nn.Sequential(_encoder(spec))
        self.decoder = nn.Sequential(_decoder(spec))
        self.sigmoid = nn.Sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """Return (N, latent_dim) codes of (N, C, H, W) images in 0..1."""
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        """Return (N, C, H, W) images in 0..1 of (N, latent_dim) codes."""
        return self.sigmoid(self.decoder(codes).float())

    def forward(self, images: Tensor, logits: bool = False) -> Tensor:
        """Return the reconstructions (N, C, H, W) of images in 0..1; ``logits`` leaves out the sigmoid."""
        reconstructed = self.decoder(self.encoder(images)).float()
        return reconstructed if logits else self.sigmoid(reconstructed)


class Encoder(nn.Module):
    """The encoder of an autoencoder."""

    def __init__(self, whole: Autoencoder) -> None:
        super().__init__()
        self.spec = whole.spec
        self.encoder = whole.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return the (N, latent_dim) codes of (N, C, H, W) images from 0 to 1."""
        return self.encoder(images)


def build(spec: AutoencoderSpec) -> Autoencoder:
    """Return the autoencoder of a spec with random weights."""
    return Autoencoder(spec)


def _encoder(spec: AutoencoderSpec) -> "OrderedDict[str, nn.Module]":
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = spec.channels
    for number, width in enumerate(spec.widths, start=1):
        _add_convolution(layers, number, before, width, spec)
        layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
        before = width
    height, width = spec.grids()[-1]
    layers["flatten"] = nn.Flatten()
    layers["code"] = nn.Linear(before * height * width, spec.latent_dim)
    return layers


def _decoder(spec: AutoencoderSpec) -> "OrderedDict[str, nn.Module]":
    grids = spec.grids()
    height, width = grids[-1]
    last = spec.widths[-1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["dense"] = nn.Linear(spec.latent_dim, last * height * width)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["reshape"] = nn.Unflatten(1, (last, height, width))
    before = last
    for number in range(len(spec.widths), 0, -1):
        filters = spec.widths[number - 1]
        _add_convolution(layers, number, before, filters, spec)
        layers[f"upsample{number}"] = nn.Upsample(size=grids[number - 1])
        before = filters
    layers["output"] = nn.Conv2d(before, spec.channels, 3, padding=1)
    return layers


def _add_convolution(
    layers: "OrderedDict[str, nn.Module]", number: int, before: int, filters: int, spec: AutoencoderSpec
) -> None:
    layers[f"conv{number}"] = nn.Conv2d(before, filters, 3, padding=1)
    if spec.batch_norm:
        layers[f"norm{number}"] = nn.BatchNorm2d(filters)
    layers[f"relu{number}"] = nn.ReLU(inplace=True)
    if spec.dropout:
        layers[f"dropout{number}"] = nn.Dropout(spec.dropout)
