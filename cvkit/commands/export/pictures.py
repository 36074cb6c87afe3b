"""The images that an exported file is quantised, verified and measured with."""

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

MOST = 512  # images taken of a folder: ranges and agreement do not change much beyond
MOST_BYTES = 2**29  # that they take in memory


@dataclass(frozen=True)
class Pictures:
    """Images (N, C, h, w) uint8 as the network wants them, and the files they are of."""

    images: Tensor
    inputs: list[Input]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, count: int, size: tuple[int, int]) -> Tensor:
        """Return (count, C, h, w) of ``size``, from the first on, and again where there are too few."""
        return resized(self.images[torch.arange(count) % len(self.images)], size)

    def batches(self, count: int) -> Iterator[Tensor]:
        """Yield all images, at most ``count`` at a time."""
        yield from self.images.split(count)


def read_pictures(source: str | None, facts: Facts, listen: Reporter) -> Pictures:
    """Read the images of ``source`` (a folder, a glob, a list), else photographs that come with scikit-image.

    A classifier's are cropped as its weights want them, others are brought to the network's size. Of many, 512 are
    taken, evenly spread. Raises DataError where none can be read.
    """
    inputs = find_inputs([source] if source is not None else sample_photographs())
    most = min(MOST, max(1, MOST_BYTES // (3 * facts.size[0] * facts.size[1])))
    if len(inputs) > most:
        listen(Note(f"{most} of the {len(inputs)} images of {source} are taken, evenly spread"))
        inputs = [inputs[number * len(inputs) // most] for number in range(most)]
    way = facts.way
    images, usable, failures = [], [], []
    for item in inputs:
        try:
            whole = read_image(item.path)
        except DataError as error:
            failures.append(str(error))
            continue
        images.append(resize_image(whole, facts.size) if way is None else fit_crop(whole, way)[0])
        usable.append(item)
    if not images:
        raise DataError(f"none of the {len(inputs)} images of {source} can be read: {failures[0]}")
    if failures:
        listen(Note(f"{len(failures)} images cannot be read and are left out, such as: {failures[0]}", "warning"))
    return Pictures(with_channels(torch.stack(images), facts.channels), usable)


def sample_photographs() -> list[str]:
    """Return photographs that are on every machine: those that come with scikit-image."""
    import skimage

    folder = Path(skimage.__file__).with_name("data")
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    return [str(folder / name) for name in names if (folder / name).is_file()]


def inputs_of(images: Tensor, facts: Facts) -> Tensor:
    """Return (N, C, H, W) uint8 pictures as a file with these facts takes them."""
    if facts.input == "uint8":
        return images.permute(0, 2, 3, 1).contiguous() if facts.layout == "nhwc" else images
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (facts.mean, facts.std))
    pixels = (images.float() / 255 - mean) / std
    return pixels.half() if facts.precision == "fp16" else pixels


def exact(facts: Facts) -> Facts:
    """Return the facts of the same graph in float32."""
    return replace(facts, precision="fp32")
