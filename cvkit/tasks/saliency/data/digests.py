"""Compute checksums of the files of examples, to recognise the data of a run and images that occur twice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvkit.errors import DataError
from cvkit.files import sha256, sha256_of
from cvkit.messages import reason
from cvkit.tasks.saliency.data.layout import Example


@dataclass(frozen=True)
class ExampleDigest:
    """Checksums of an example, independent of the names of its files.

    Attributes:
        image: SHA-256 of the image file.
        example: SHA-256 of the image with its map and fixations.
    """

    image: str
    example: str


def digest_example(example: Example) -> ExampleDigest:
    """Read the files of an example once more (from memory, if it was decoded before) and compute their checksums.

    Raises:
        DataError: If a file cannot be read.
    """
    try:
        image, *truth = [
            "" if path is None else sha256(path) for path in (example.image, example.map, example.fixations)
        ]
    except OSError as error:
        raise DataError(f"{example.image}: cannot be read ({reason(error)}).") from error
    return ExampleDigest(image, sha256_of(" ".join([image, *truth]).encode("ascii")))


def digest_all(digests: Iterable[ExampleDigest]) -> str:
    """Return one SHA-256 of examples in their order."""
    return sha256_of(" ".join(each.example for each in digests).encode("ascii"))


def equal_images(
    examples: tuple[Sequence[Example], Sequence[Example]],
    digests: tuple[Sequence[ExampleDigest], Sequence[ExampleDigest]],
) -> list[tuple[Path, Path]]:
    """Return the pairs of image files of equal content in two splits.

    Args:
        examples: The examples of the two splits.
        digests: Their checksums.
    """
    first = {digest.image: example.image for example, digest in zip(examples[0], digests[0], strict=True)}
    return [
        (first[digest.image], example.image)
        for example, digest in zip(examples[1], digests[1], strict=True)
        if digest.image in first
    ]
