"""Read the images with which an exported file is quantised, verified and measured."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cvkit.data.fit import fit_crop
from cvkit.data.image_set import resized, with_channels
from cvkit.data.images import read_image, resize_image
from cvkit.errors import DataError
from cvkit.inputs import Input, find_inputs
from cvkit.models.exported.facts import Facts
from cvkit.progress import Note, Reporter

MAX_IMAGES = 512  # value ranges and agreement do not change much with more
MAX_BYTES = 2**29  # memory of the images


@dataclass(frozen=True)
class SampleImages:
    """(N, C, h, w) uint8 images as the network requires them, and the files they come from."""

    images: Tensor
    inputs: list[Input]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, count: int, size: tuple[int, int]) -> Tensor:
        """Return ``count`` images of a (height, width), the first ones, repeated if there are too few."""
        return resized(self.images[torch.arange(count) % len(self.images)], size)

    def batches(self, count: int) -> Iterator[Tensor]:
        """Yield all images in batches of at most ``count``."""
        yield from self.images.split(count)


def read_samples(source: str | None, facts: Facts, report: Reporter) -> SampleImages:
    """Read sample images.

    Images for a classifier are cropped as its weights require; others are resized to the network's input.

    Args:
        source: A folder, a glob pattern or a list; None for photographs of scikit-image. Of many images, 512 are
            taken at even distances.
        facts: Metadata of the exported file.
        report: Receives notes about images that are left out.

    Raises:
        DataError: If no image can be read.
    """
    inputs = find_inputs([source] if source is not None else sample_photographs())
    most = min(MAX_IMAGES, max(1, MAX_BYTES // (3 * facts.size[0] * facts.size[1])))
    if len(inputs) > most:
        report(Note(f"{most} of the {len(inputs)} images of {source} are used, at even distances"))
        inputs = [inputs[number * len(inputs) // most] for number in range(most)]
    images, usable, failures = [], [], []
    for item in inputs:
        try:
            image = read_image(item.path)
        except DataError as error:
            failures.append(str(error))
            continue
        steps = facts.classifier_preprocessing
        images.append(resize_image(image, facts.size) if steps is None else fit_crop(image, steps)[0])
        usable.append(item)
    if not images:
        raise DataError(f"none of the {len(inputs)} images of {source} can be read: {failures[0]}")
    if failures:
        report(Note(f"{len(failures)} images cannot be read and are left out, such as: {failures[0]}", "warning"))
    return SampleImages(with_channels(torch.stack(images), facts.channels), usable)


def sample_photographs() -> list[str]:
    """Return the paths of photographs that scikit-image contains, which are on every machine."""
    import skimage

    folder = Path(skimage.__file__).with_name("data")
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    return [str(folder / name) for name in names if (folder / name).is_file()]


def inputs_of(images: Tensor, facts: Facts) -> Tensor:
    """Convert (N, C, H, W) uint8 images to the input of a file with these metadata."""
    if facts.input == "uint8":
        return images.permute(0, 2, 3, 1).contiguous() if facts.layout == "nhwc" else images
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (facts.mean, facts.std))
    pixels = (images.float() / 255 - mean) / std
    return pixels.half() if facts.precision == "fp16" else pixels


def in_float32(facts: Facts) -> Facts:
    """Return the metadata of the same graph in float32."""
    return replace(facts, precision="fp32")
