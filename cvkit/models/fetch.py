"""Download files of pretrained weights into the caches of torch hub and the Hugging Face hub, and verify them."""

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from cvkit.catalog import Pretrained
from cvkit.deadline import within
from cvkit.errors import CvkitError, OutputError, WeightsError
from cvkit.files import atomic_path, sha256, writing
from cvkit.messages import reason
from cvkit.models.hub import bytes_in_cache, hash_on_hub, repository_folder, silent_hub
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore

ANSWER_SECONDS = 30.0  # longest wait for the answer of a server, over all its addresses, or for the next byte
STALL_SECONDS = 60.0  # longest wait for the next megabyte of a URL, or for any byte from the hub
_CHUNK_BYTES = 2**20
_MEGABYTE = 10**6
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CACHE_NOT_WRITABLE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EACCES, errno.EROFS)
# The files that timm looks for in a repository of the hub when no file is named, in its order.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def cached(entry: Pretrained) -> Path | None:
    """Return the cached file of an entry without checking its hash.

    Args:
        entry: Published weights; a URL is looked up in the cache of torch hub, a repository in that of the Hugging
            Face hub.

    Returns:
        Path of the file, or None if the file is not cached or no weights are published.
    """
    if not entry.source:
        return None
    if _has_url(entry):
        path = _torch_hub_path(entry)
        return path if path.is_file() else None
    repository, revision, names = _hub_location(entry)
    if not repository_folder(repository).is_dir():
        return None  # without the import of the hub's client, which takes 0.15 s
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        path_or_flag = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(path_or_flag, str):
            return Path(path_or_flag)
    return None


def download(entry: Pretrained, report: Reporter = ignore) -> Path:
    """Return the file of an entry, and download it if no undamaged file is cached.

    A file is verified against the hash in its name, or against the hash that the Hugging Face hub gives. A cached file
    with a wrong hash is downloaded again.

    Args:
        entry: Published weights.
        report: Receives notes, and the progress of a download from a URL in megabytes.

    Returns:
        Path of the file in the cache of torch hub or of the Hugging Face hub.

    Raises:
        WeightsError: If no weights are published, the file cannot be downloaded, or its hash is wrong. A file with a
            wrong hash is deleted.
        OutputError: If the cache cannot be written.
    """
    if not entry.source:
        raise WeightsError(
            f"There are no pretrained weights of {entry.name}: use a weights file of your own, or random weights."
        )
    path = cached(entry)
    if path is not None:
        if _has_hash(path, _expected_hash(path)):
            return path
        report(Note(f"{path} is damaged (its hash is wrong) and is downloaded again."))
        _remove(path)
    size = f", {entry.file_bytes / _MEGABYTE:.0f} MB" if entry.file_bytes else ""
    report(Note(f"Downloading the weights {entry.name} ({entry.source}{size})."))
    return _from_url(entry, report) if _has_url(entry) else _from_hub(entry)


def offline_hint(name: str) -> str:
    """Return a sentence that says how to get the weights ``name`` on a machine without internet."""
    return (
        f"Without internet, run `cvkit models download {name}` on a machine that has it, copy the file to this machine "
        "and use it with `--weights FILE`."
    )


def file_name(url: str) -> str:
    """Return the name under which the file of a URL is cached."""
    return Path(urlparse(url).path).name


def hash_in(url: str) -> str | None:
    """Return the first digits of the SHA-256 in a file's name or URL ("vgg16-397923af.pth"), or None."""
    match = _HASH_IN_NAME.search(file_name(url))
    return match.group(1) if match else None


def _has_url(entry: Pretrained) -> bool:
    return "://" in entry.source


def torch_hub_folder() -> Path:
    """Return ``torch.hub.get_dir()``, the cache of torch hub, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"


def _torch_hub_path(entry: Pretrained) -> Path:
    return torch_hub_folder() / "checkpoints" / file_name(entry.source)


def _hub_location(entry: Pretrained) -> tuple[str, str | None, tuple[str, ...]]:
    """Split "owner/name", with "@revision" and "/file" if present, into repository, revision and file names."""
    owner, repository, *file = entry.source.split("/")
    repository, _, revision = repository.partition("@")
    return f"{owner}/{repository}", revision or None, ("/".join(file),) if file else _HUB_FILES


def _blob(path: Path) -> Path | None:
    """Return the blob that a file in the cache of the Hugging Face hub links to; None for other files.

    A blob is the content of a large file and is named by its SHA-256. Only one link is followed, because a store that
    several caches share names its files differently.
    """
    target = path.parent / os.readlink(path) if path.is_symlink() else path  # noqa: PTH115 (keeps what is written)
    return target if _SHA256.fullmatch(target.name) else None


def _has_hash(path: Path, expected: str | None) -> bool:
    try:
        return expected is None or sha256(path).startswith(expected)
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read ({error.strerror or error}).") from error


def _expected_hash(path: Path) -> str | None:
    """Return the SHA-256 of a cached file, or its first digits, as far as the cache tells it; None if it does not."""
    blob = _blob(path)
    return blob.name if blob else hash_in(path.name)


def _remove(path: Path) -> None:
    with writing(path):
        for file in (_blob(path), path):
            if file is not None:
                file.unlink(missing_ok=True)


def _from_url(entry: Pretrained, report: Reporter) -> Path:
    # torch.hub.download_url_to_file is not used: it has no timeout, and it keeps the part of a file that arrived before
    # the connection broke.
    path, expected = _torch_hub_path(entry), hash_in(entry.source)
    request = Request(entry.source, headers={"User-Agent": "cvkit"})
    try:
        response = within(ANSWER_SECONDS, lambda: urlopen(request, timeout=ANSWER_SECONDS))
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise _download_error(entry, error) from error
    digest = hashlib.sha256()
    with response, atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            for chunk in _chunks(entry, response, report):
                digest.update(chunk)
                stream.write(chunk)
        if expected is not None and not digest.hexdigest().startswith(expected):
            raise _hash_error(entry)
    return path


def _chunks(entry: Pretrained, response: HTTPResponse, report: Reporter) -> Iterator[bytes]:
    """Yield the content of a response and report the progress; raise WeightsError if the connection breaks."""
    length = response.headers.get("Content-Length")
    total, done = int(length) if length else None, 0
    report(Stage(f"downloading {entry.name}", total and round(total / _MEGABYTE), "MB"))
    while True:
        try:
            chunk = _read_chunk(response)
        except (OSError, HTTPException) as error:
            raise _download_error(entry, error) from error
        if not chunk:
            break
        done += len(chunk)
        report(Step(round(done / _MEGABYTE)))
        yield chunk
    if total is not None and done < total:
        raise _download_error(entry, f"the connection broke after {done} of {total} bytes")
    report(StageEnd())


def _read_chunk(response: HTTPResponse) -> bytes:
    """Read a megabyte; raise TimeoutError if it takes longer than STALL_SECONDS, although bytes arrive."""
    chunk, began = bytearray(), time.monotonic()
    while len(chunk) < _CHUNK_BYTES and (part := response.read1(_CHUNK_BYTES - len(chunk))):
        chunk += part
        if time.monotonic() - began > STALL_SECONDS:
            raise TimeoutError(f"only {len(chunk)} bytes in {STALL_SECONDS:g} seconds")
    return bytes(chunk)


def _from_hub(entry: Pretrained) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    repository, revision, names = _hub_location(entry)
    _check_hub_answers(entry)
    for name in names:
        try:
            with silent_hub():
                call = partial(hf_hub_download, repository, name, revision=revision)
                path = Path(within(STALL_SECONDS, call, partial(bytes_in_cache, repository)))
        except LocalEntryNotFoundError as error:  # the hub did not answer; a subclass of EntryNotFoundError
            raise _download_error(entry, error) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client and the libraries below it raise many types
            raise _download_error(entry, error) from error
        if not _has_hash(path, _expected_hash(path) or hash_on_hub(repository, name, revision, ANSWER_SECONDS)):
            _remove(path)
            raise _hash_error(entry)
        return path
    raise _download_error(entry, f"{repository} holds no {' or '.join(names)}")


def _check_hub_answers(entry: Pretrained) -> None:
    """Raise WeightsError if the hub does not answer: its own client tries six times, with a message each time."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _download_error(entry, "HF_HUB_OFFLINE is set")
    request = Request(constants.ENDPOINT, method="HEAD", headers={"User-Agent": "cvkit"})
    try:
        within(ANSWER_SECONDS, lambda: urlopen(request, timeout=ANSWER_SECONDS)).close()
    except HTTPError as error:
        error.close()  # an HTTP error is an answer
    except (OSError, HTTPException, ValueError) as error:
        raise _download_error(entry, error) from error


def _hash_error(entry: Pretrained) -> WeightsError:
    return WeightsError(
        f"The file downloaded from {entry.source} was deleted: its hash is not that of the weights {entry.name}, "
        f"perhaps because a proxy or a broken connection changed it. Try again. {offline_hint(entry.name)}"
    )


def _download_error(entry: Pretrained, error: Exception | str) -> CvkitError:
    if isinstance(error, OSError) and error.errno in _CACHE_NOT_WRITABLE:
        return OutputError(
            f"The weights {entry.name} cannot be written to the cache ({error.strerror}): free some space, or set "
            "HF_HOME to another folder."
        )
    return WeightsError(f"The weights {entry.name} cannot be downloaded ({_reason(error)}). {offline_hint(entry.name)}")


def _reason(error: BaseException | str) -> str:
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason
    return error if isinstance(error, str) else reason(error).rstrip(".")
