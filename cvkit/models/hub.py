"""Use the client of the Hugging Face hub: its cache, its output, and the hashes of files."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from cvkit.deadline import within

_SHA256 = re.compile(r"[0-9a-f]{64}")


def hash_on_hub(repository: str, name: str, revision: str | None, seconds: float) -> str | None:
    """Ask the hub for the SHA-256 of a large file, for a cache without links; None if it gives none."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repository, name, revision=revision)
        etag = within(seconds, lambda: get_hf_file_metadata(url)).etag or ""
    except Exception:  # the client has already compared the size; without a hash nothing more can be compared
        return None
    return etag if _SHA256.fullmatch(etag) else None


def repository_folder(repository: str) -> Path:
    """Return the folder of a repository ("owner/name") in the cache; it may not exist."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def bytes_in_cache(repository: str) -> int:
    """Return the size of all files of a repository in the cache, which grows while one is downloaded."""
    total = 0
    for path in (repository_folder(repository) / "blobs").glob("*"):
        with suppress(OSError):  # a file that has just been renamed
            total += path.stat().st_size
    return total


@contextmanager
def silent_hub() -> Iterator[None]:
    """Suppress the hub's progress bars, whose control characters would go into logs, and its output to stdout."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from huggingface_hub.utils.logging import set_verbosity_error

    were_enabled = not are_progress_bars_disabled()
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # such as: the environment enables the bars, links are not supported
        disable_progress_bars()
        set_verbosity_error()  # not restored: a download that was given up may still report its attempts
        try:
            yield
        finally:
            if were_enabled:
                enable_progress_bars()
