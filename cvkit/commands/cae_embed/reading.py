"""Find and read the data set to embed."""

from dataclasses import replace

from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection, DataSource, ReadOptions, choose_splits, find_source, read_collection
from cvkit.errors import DataError
from cvkit.processes import cpu_count
from cvkit.progress import Note, Reporter
from cvkit.tasks.classification.labels import load_labels
from cvkit.tasks.embedding.comparison import format_count
from cvkit.tasks.embedding.embedder import Embedder


def find_data(config: CaeEmbedConfig) -> tuple[CaeEmbedConfig, DataSource, tuple[str, ...]]:
    """Find the data and the names of its classes, before any image is read.

    Returns:
        The settings with the names that the splits to embed have in the data, the data, and the names of its classes.

    Raises:
        DataError: If there is no data set, or it lacks a split to embed.
    """
    source = find_source(config.data, config.embed)
    config = replace(config, embed=choose_splits(source, config.embed))
    return config, source, load_labels(config.labels)[0] if config.labels else ()


def read_data(
    config: CaeEmbedConfig,
    source: DataSource,
    names: tuple[str, ...],
    report: Reporter,
    trained: Embedder | None = None,
) -> Collection:
    """Read all images into memory.

    Args:
        config: The settings.
        source: The data set.
        names: Names of the classes; empty for those of the data.
        report: Receives progress events.
        trained: The model that determines size and colour; None for the settings'.

    Raises:
        DataError: If no image can be read, or with ``strict`` if any cannot.
    """
    reading = ReadOptions(
        size=trained.spec.size if trained else config.size,
        color=("grey" if trained.spec.channels == 1 else "rgb") if trained else config.color,
        max_pixels=config.max_pixels,
        test_fraction=config.test_fraction,
        limit=config.limit,
        seed=config.seed,
        threads=config.workers or cpu_count(),
    )
    collection = read_collection(source, reading, report)
    for remark in collection.remarks:
        report(Note(remark))
    if names:
        collection = replace(collection, classes=names)
    _report_failures(collection, config.strict, report)
    images = collection.splits["train"].images
    counts = ", ".join(f"{len(part)} {name}" for name, part in collection.splits.items())
    colour = "grey" if images.shape[1] == 1 else "RGB"
    report(Note(f"{counts} images of {images.shape[2]}x{images.shape[3]}, {colour}"))
    return collection


def _report_failures(collection: Collection, strict: bool, report: Reporter) -> None:
    """Report the images that cannot be read, or with ``strict`` refuse the data set."""
    if not collection.failures:
        return
    count = format_count(len(collection.failures), "image")
    if strict:
        raise DataError(f"{count} cannot be read, and --strict is set: {collection.failures[0].message}")
    report(Note(f"{count} cannot be read and left out", "warning"))
