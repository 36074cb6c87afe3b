"""A convolutional autoencoder with a dense code, whose decoder mirrors its encoder."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from cvkit.errors import WeightsError
from cvkit.models.plain import MAX_PARAMETERS, have_types, is_input_size


@dataclass(frozen=True, kw_only=True)
class AutoencoderSpec:
    """The architecture of an autoencoder, as plain values.

    Attributes:
        size: (height, width) of the images in pixels.
        channels: 1 (grey) or 3 (RGB).
        latent_dim: Dimension of the codes.
        widths: Filters of each convolution of the encoder; the decoder has them in reverse order.
        batch_norm: Whether a batch norm follows each convolution.
        dropout: Dropout probability after each ReLU, 0..1.
    """

    size: tuple[int, int]
    channels: int = 1
    latent_dim: int = 2
    widths: tuple[int, ...] = (32, 64, 128)
    batch_norm: bool = False
    dropout: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AutoencoderSpec":
        """Return the spec with the values of ``as_dict``.

        Raises:
            WeightsError: If the fields differ, or describe a network that cannot be built.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names or not have_types(values, cls):
            raise WeightsError("The checkpoint does not describe an autoencoder of this version of cvkit.")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, (list, tuple))}
        spec = cls(**{**values, **lists})
        positive = min((*spec.size, spec.latent_dim, *spec.widths), default=0) > 0 and len(spec.widths) > 0
        if not positive or spec.channels not in (1, 3) or not 0 <= spec.dropout < 1 or not spec.is_affordable():
            raise WeightsError("The checkpoint describes an autoencoder of impossible or enormous dimensions.")
        return spec

    def is_affordable(self) -> bool:
        """Return whether the network has at most ``MAX_PARAMETERS`` parameters, without building it."""
        height, width = self.grids()[-1]
        dense = 2 * self.latent_dim * self.widths[-1] * height * width
        convolutions = 18 * sum(a * b for a, b in pairwise((self.channels, *self.widths)))
        return is_input_size(self.size) and dense + convolutions <= MAX_PARAMETERS

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as plain values, for JSON files and checkpoints."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def grids(self) -> list[tuple[int, int]]:
        """Return the (height, width) of the image and of the feature map after each pooling."""
        grids = [self.size]
        for _ in self.widths:
            height, width = grids[-1]
            grids.append(((height + 1) // 2, (width + 1) // 2))
        return grids


class Autoencoder(nn.Module):
    """A network that maps images to codes and back to images of the same size.

    Encoder: for each width a 3x3 convolution, ReLU and 2x2 max pooling, whose output size is rounded up; then a dense
    layer to the code. Decoder: a dense layer, reshaped to the last feature map of the encoder; for each width in
    reverse a 3x3 convolution, ReLU and nearest-neighbour upsampling to the size of the encoder's feature map there;
    then a 3x3 convolution to the channels of the image and a sigmoid. Batch norm precedes the ReLUs of the
    convolutions, dropout follows them.
    """

    def __init__(self, spec: AutoencoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = nn.Sequential(_encoder(spec))
        self.decoder = nn.Sequential(_decoder(spec))
        self.sigmoid = nn.Sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes (N, latent_dim) of images (N, C, H, W) float in 0..1."""
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images (N, C, H, W) float32 in 0..1 of codes (N, latent_dim)."""
        return self.sigmoid(self.decoder(codes).float())

    def forward(self, images: Tensor, logits: bool = False) -> Tensor:
        """Return the reconstructions (N, C, H, W) float32 of images in 0..1.

        With ``logits`` they are the values before the sigmoid.
        """
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
    """Return an autoencoder with random weights."""
    return Autoencoder(spec)


def _encoder(spec: AutoencoderSpec) -> "OrderedDict[str, nn.Module]":
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = spec.channels
    for number, width in enumerate(spec.widths, start=1):
        _add_convolution(layers, number, channels, width, spec)
        layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
        channels = width
    height, width = spec.grids()[-1]
    layers["flatten"] = nn.Flatten()
    layers["code"] = nn.Linear(channels * height * width, spec.latent_dim)
    return layers


def _decoder(spec: AutoencoderSpec) -> "OrderedDict[str, nn.Module]":
    grids = spec.grids()
    height, width = grids[-1]
    last = spec.widths[-1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["dense"] = nn.Linear(spec.latent_dim, last * height * width)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["reshape"] = nn.Unflatten(1, (last, height, width))
    channels = last
    for number in range(len(spec.widths), 0, -1):
        filters = spec.widths[number - 1]
        _add_convolution(layers, number, channels, filters, spec)
        layers[f"upsample{number}"] = nn.Upsample(size=grids[number - 1])
        channels = filters
    layers["output"] = nn.Conv2d(channels, spec.channels, 3, padding=1)
    return layers


def _add_convolution(
    layers: "OrderedDict[str, nn.Module]", number: int, channels: int, filters: int, spec: AutoencoderSpec
) -> None:
    layers[f"conv{number}"] = nn.Conv2d(channels, filters, 3, padding=1)
    if spec.batch_norm:
        layers[f"norm{number}"] = nn.BatchNorm2d(filters)
    layers[f"relu{number}"] = nn.ReLU(inplace=True)
    if spec.dropout:
        layers[f"dropout{number}"] = nn.Dropout(spec.dropout)
