"""Compose the preprocessing of a classifier, and change parts of it, with the arithmetic of timm."""

import math
from dataclasses import replace
from fractions import Fraction

from cvkit.catalog import Preprocessing
from cvkit.config import PreprocessingConfig
from cvkit.config.option import MAX_SIDE
from cvkit.config.values import format_size
from cvkit.errors import UsageError
from cvkit.models.plain import is_input_size


def crop_fraction(preprocessing: Preprocessing) -> Fraction:
    """Return the size of the crop as a fraction of the resized image, exact for the sizes of this preprocessing."""
    height = preprocessing.resize if isinstance(preprocessing.resize, int) else preprocessing.resize[0]
    return Fraction(preprocessing.crop[0], height)


def resize_for(size: tuple[int, int], crop_pct: float | Fraction, crop_mode: str) -> Preprocessing:
    """Return the resizing and the crop that timm's evaluation transform derives from its settings.

    Args:
        size: (height, width) of the network's input in pixels.
        crop_pct: Size of the crop as a fraction of the resized image.
        crop_mode: One of ``CROP_MODES``.

    Returns:
        A preprocessing with the default interpolation and normalisation.

    Raises:
        UsageError: If the resized image is too large.
    """
    # timm.data.transforms_factory.transforms_imagenet_eval rounds down.
    height, width = (math.floor(side / crop_pct) for side in size)
    if not is_input_size(size) or max(height, width) > MAX_SIDE:
        raise UsageError(
            f"an input of {format_size(size)} with --crop-pct {float(crop_pct):g} resizes images to {height}x{width} "
            "pixels, which is too large: use a smaller --input-size or a larger --crop-pct."
        )
    if crop_mode == "center" and height == width:
        return Preprocessing(resize=height, crop=size)
    return Preprocessing(resize=(height, width), crop=size, crop_mode=None if crop_mode == "squash" else crop_mode)


def with_overrides(
    preprocessing: Preprocessing, options: PreprocessingConfig, crop_pct: float | Fraction | None = None
) -> Preprocessing:
    """Return a preprocessing with the parts that options set.

    Args:
        preprocessing: The preprocessing of the weights.
        options: The options; None leaves a part unchanged. With another input size or crop mode, the crop stays the
            same fraction of the resized image.
        crop_pct: This fraction as it was published, where it is known. It is None else, and the fraction follows from
            the sizes, which are rounded.

    Raises:
        UsageError: If the resized image is too large.
    """
    parts = {name: getattr(options, name) for name in ("mean", "std", "interpolation")}
    changed = replace(preprocessing, **{name: value for name, value in parts.items() if value is not None})
    if options.input_size is None and options.crop_pct is None and options.crop_mode is None:
        return changed
    geometry = resize_for(
        options.input_size or preprocessing.crop,
        options.crop_pct or crop_pct or crop_fraction(preprocessing),
        options.crop_mode or preprocessing.mode,
    )
    return replace(changed, resize=geometry.resize, crop=geometry.crop, crop_mode=geometry.crop_mode)
