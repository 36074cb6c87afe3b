"""The VGG16 encoder-decoder for saliency: the generator of SalGAN (Pan et al. 2017, arXiv 1701.01081)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_relu
from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec
from cvkit.tasks.saliency.networks.vgg import VGG16

CONV10 = {"encoder-decoder": 512, "salgan": 64}
# (convolutions, channels) of the blocks conv6 to conv9; each of them ends in an up-sampling. conv10 follows.
DECODER_BLOCKS = ((3, 512), (3, 512), (3, 256), (2, 128))


class EncoderDecoder(SaliencyModel):
    """Encoder-decoder on VGG16: the encoder ends with conv5_3 at 1/16 of the input, the decoder in a sigmoid."""

    def __init__(self, spec: SaliencySpec) -> None:
        super().__init__(spec, stride=1)
        self.backbone = VGG16(("conv5_3",))
        self.dropout = nn.Dropout(spec.dropout)
        self.decoder = Decoder(CONV10[spec.name])

    def forward(self, images: Tensor) -> Tensor:
        """Compute (N, 1, H, W) float32 probabilities of (N, 3, H, W) normalised images."""
        self.check_size(images)
        (code,) = self.backbone(images)  # (N, 512, H/16, W/16)
        logits = self.decoder(self.dropout(code)).float()  # (N, 1, H, W) when H and W are multiples of 16
        # An exported graph always contains it, so that it works at any size; it changes nothing where the sizes agree.
        if torch.compiler.is_exporting() or logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(logits)

    def penalty(self) -> Tensor:
        """Return 0, because there is no learned prior."""
        return self.decoder.output.weight.new_zeros(())


class Decoder(nn.Module):
    """Decoder from conv6_1 to conv10_2 with ReLUs, bilinear up-sampling by 2 after blocks 6 to 9, and a 1x1 output."""

    def __init__(self, conv10: int) -> None:
        super().__init__()
        self.layers: list[str] = []
        before = 512
        for block, (convolutions, channels) in enumerate((*DECODER_BLOCKS, (2, conv10)), start=6):
            for i in range(1, convolutions + 1):
                self._add(f"conv{block}_{i}", nn.Conv2d(before, channels, 3, padding=1))
                before = channels
            if block < 10:
                self._add(f"upsample{block - 5}", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        self.output = nn.Conv2d(before, 1, 1)
        init_relu(self)
        # The map of the untrained network is nearly constant: sigmoid(-2) = 0.12, about the mean of a human map.
        nn.init.normal_(self.output.weight, std=0.1 / before**0.5)
        nn.init.constant_(self.output.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, code: Tensor) -> Tensor:
        """Compute (N, 1, 16 h, 16 w) logits of (N, 512, h, w) features."""
        x = code
        for name in self.layers:
            x = self.get_submodule(name)(x)
            if name.startswith("conv"):
                x = F.relu(x, inplace=True)
        return self.output(x)

    def _add(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self.layers.append(name)
