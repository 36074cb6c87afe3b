"""The recipes of ``train-classifier``: values for the options of training that the user does not give."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Values of the options of the same names; see their help texts.

    Attributes:
        scratch_lr: ``lr`` for random weights.
        fine_tuning_lr: ``lr`` for pretrained weights.
    """

    epochs: int
    optimizer: str
    scratch_lr: float
    fine_tuning_lr: float
    weight_decay: float
    schedule: str
    warmup_epochs: float
    clip_norm: float
    ema: float
    freeze: str
    unfreeze_at: int
    unfreeze_lr: float | None
    layer_decay: float
    label_smoothing: float
    mixup: float
    cutmix: float
    flip: bool
    rotation: float
    contrast: float
    crop_scale: float
    auto_augment: str
    erase: float


RECIPES = {
    "standard": Recipe(
        epochs=20,
        optimizer="adamw",
        scratch_lr=1e-3,
        fine_tuning_lr=3e-4,
        weight_decay=0.01,
        schedule="cosine",
        warmup_epochs=1.0,
        clip_norm=1.0,
        ema=0.0,
        freeze="none",
        unfreeze_at=0,
        unfreeze_lr=None,
        layer_decay=1.0,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        flip=True,
        rotation=0.0,
        contrast=0.0,
        crop_scale=0.5,
        auto_augment="none",
        erase=0.0,
    ),
    # Géron 2022, Hands-On Machine Learning (3rd edition), chapter 14: 3 epochs of the head, 10 of the upper half.
    "transfer": Recipe(
        epochs=13,
        optimizer="sgd",
        scratch_lr=0.1,
        fine_tuning_lr=0.1,
        weight_decay=0.0,
        schedule="constant",
        warmup_epochs=0.0,
        clip_norm=0.0,
        ema=0.0,
        freeze="backbone",
        unfreeze_at=3,
        unfreeze_lr=0.01,
        layer_decay=1.0,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        flip=True,
        rotation=0.05,
        contrast=0.2,
        crop_scale=1.0,
        auto_augment="none",
        erase=0.0,
    ),
    "modern": Recipe(
        epochs=30,
        optimizer="adamw",
        scratch_lr=2e-3,
        fine_tuning_lr=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=2.0,
        clip_norm=1.0,
        ema=0.99,
        freeze="none",
        unfreeze_at=0,
        unfreeze_lr=None,
        layer_decay=0.9,
        label_smoothing=0.1,
        mixup=0.2,
        cutmix=1.0,
        flip=True,
        rotation=0.0,
        contrast=0.0,
        crop_scale=0.35,
        auto_augment="trivial",
        erase=0.1,
    ),
}
