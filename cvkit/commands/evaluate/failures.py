"""Report the images that could not be scored."""

from collections.abc import Sequence

from cvkit.errors import DataError
from cvkit.progress import Note, Reporter

MAX_WARNINGS = 5  # failed images that are named on stderr

Failures = list[dict[str, str]]  # rows of failures.csv: input, kind and message


def describe_failure(name: object, error: DataError) -> dict[str, str]:
    """Return the row of ``failures.csv`` of an image."""
    return {"input": str(name), "kind": error.kind, "message": str(error)}


def report_failures(failed: Sequence[dict[str, str]], images: int, report: Reporter) -> None:
    """Report the first failures as warnings.

    Args:
        failed: The failures.
        images: Number of images to score.
        report: Receives the warnings.

    Raises:
        DataError: If all images failed.
    """
    if len(failed) == images:
        raise DataError(f"none of the {images} images could be scored: {failed[0]['message']}")
    for failure in failed[:MAX_WARNINGS]:
        report(Note(failure["message"], "warning"))
    if len(failed) > MAX_WARNINGS:
        report(Note(f"{len(failed) - MAX_WARNINGS} more images could not be scored", "warning"))
