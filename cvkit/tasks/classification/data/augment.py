"""Augment training images by the transforms of torchvision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvkit.catalog import Preprocessing
from cvkit.config import TrainClassifierConfig

RATIOS = (3 / 4, 4 / 3)  # aspect ratios of a random crop: Szegedy et al. 2015, Going deeper with convolutions
ERASED = (0.02, 0.2)  # area of an erased rectangle as a fraction of the image


class Augmentation:
    """The random transforms of training images.

    Args:
        settings: Resolved settings of the command.
        preprocessing: Preprocessing of the network.
    """

    def __init__(self, settings: TrainClassifierConfig, preprocessing: Preprocessing) -> None:
        from torchvision.transforms import v2

        assert settings.crop_scale is not None and settings.rotation is not None and settings.contrast is not None
        self.crops = settings.crop_scale < 1
        resampling = v2.InterpolationMode.BILINEAR
        steps: list[Any] = []
        if self.crops:
            scale = (settings.crop_scale, 1.0)
            steps.append(v2.RandomResizedCrop(preprocessing.crop, scale, RATIOS, resampling, antialias=True))
        if settings.flip:
            steps.append(v2.RandomHorizontalFlip())
        if settings.rotation:
            steps.append(v2.RandomRotation(360 * settings.rotation, resampling))
        if settings.contrast:
            steps.append(v2.ColorJitter(contrast=settings.contrast))
        automatic = {"trivial": v2.TrivialAugmentWide, "rand": v2.RandAugment, "augmix": v2.AugMix}
        if settings.auto_augment in automatic:
            steps.append(automatic[settings.auto_augment](interpolation=resampling))
        if settings.erase:
            steps.append(v2.RandomErasing(settings.erase, ERASED))
        self.steps = steps

    @property
    def is_random(self) -> bool:
        """True if the images of two epochs differ."""
        return bool(self.steps)

    def __call__(self, image: Tensor, key: Sequence[int]) -> Tensor:
        """Augment an image.

        Args:
            image: (C, H, W) uint8.
            key: Seeds of the random numbers: the same key gives the same image.

        Returns:
            (C, h, w) uint8, of the crop size of the preprocessing if ``crops``.
        """
        # The transforms draw from PyTorch's generator; the trainer seeds it before the network runs. torch.manual_seed
        # would also seed the GPUs, for which it formats the stack: 126 us per image, of 3 ms that basic-cnn takes.
        torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        for step in self.steps:
            image = step(image)
        return image


def make_mixing(settings: TrainClassifierConfig, num_classes: int) -> Any:
    """Return the transform that mixes the images and labels of a batch, or None.

    Sources: Zhang et al. 2018, mixup (arXiv 1710.09412); Yun et al. 2019, CutMix (arXiv 1905.04899).
    """
    from torchvision.transforms import v2

    kinds = ((v2.MixUp, settings.mixup), (v2.CutMix, settings.cutmix))
    transforms = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha]
    return v2.RandomChoice(transforms) if len(transforms) > 1 else transforms[0] if transforms else None
