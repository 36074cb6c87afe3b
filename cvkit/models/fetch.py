"""The files of pretrained weights: kept where torchvision and timm keep them, fetched whole, checked by their hash."""

import errno
import hashlib
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from cvkit.catalog import Pretrained
from cvkit.errors import CvkitError, OutputError, WeightsError
from cvkit.files import atomic_path, sha256, writing

_HASH = re.compile(r"-([0-9a-f]{8,64})\.")

TIMEOUT_SECONDS = 30.0  # without an answer, or without a further byte
SAY_EVERY_SECONDS = 10.0
_CHUNK = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_KEPT = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EACCES, errno.EROFS)
# What timm takes from a repository that names no file, in its order.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

Say = Callable[[str], None]


def cached(entry: Pretrained) -> Path | None:
    """Return the entry's file in the cache of torch hub (a URL) or of the Hugging Face hub, None where it is not there.

    The file's hash is not checked here; ``download`` does so.
    """
    if not entry.source:
        return None
    if _is_url(entry):
        path = _checkpoint(entry)
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    repository, revision, wanted = _on_hub(entry)
    for name in wanted:
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def download(entry: Pretrained, say: Say = lambda _line: None) -> Path:
    """Return the entry's file, fetched into that cache where it is not there whole; ``say`` is told what goes on.

    A file is checked against the hash in its name, or against the one that the Hugging Face hub gives: one in the cache
    that is damaged is fetched again. Raises WeightsError where it cannot be fetched or what comes has another hash (it
    is not kept), OutputError where the cache cannot be written.
    """
    if not entry.source:
        raise WeightsError(f"There are no pretrained weights of {entry.name}. A file of your own: --weights FILE.")
    found = cached(entry)
    if found is not None:
        if _is_whole(found, _expected(found)):
            return found
        say(f"{found} is damaged: its hash is wrong.")
        _remove(found)
    size = f", {entry.file_bytes / 1e6:.0f} MB" if entry.file_bytes else ""
    say(f"Fetching the weights {entry.name} ({entry.source}{size}).")
    return _from_url(entry, say) if _is_url(entry) else _from_hub(entry)


def offline_hint(name: str) -> str:
    """Return what to do on a machine without internet."""
    return (
        f"On a machine with internet run `cvkit models download {name}`, copy the file that it names, "
        "and give it here with --weights FILE."
    )


def _is_url(entry: Pretrained) -> bool:
    return "://" in entry.source


def _checkpoint(entry: Pretrained) -> Path:
    from torch import hub

    return Path(hub.get_dir()).expanduser() / "checkpoints" / file_name(entry.source)


def _on_hub(entry: Pretrained) -> tuple[str, str | None, tuple[str, ...]]:
    """Return the repository, the revision and the files of "owner/name", "owner/name@revision" or either with /file."""
    owner, repository, *file = entry.source.split("/")
    repository, _, revision = repository.partition("@")
    return f"{owner}/{repository}", revision or None, ("/".join(file),) if file else _HUB_FILES


def _blob(path: Path) -> Path | None:
    """Return what a file in the hub's cache links to: the content of a large file, under its SHA-256; None elsewhere.

    Not what this links to in turn: a store shared by several caches names its files otherwise.
    """
    target = path.parent / os.readlink(path) if path.is_symlink() else path  # noqa: PTH115 (keeps what is written)
    return target if _SHA256.fullmatch(target.name) else None


def _is_whole(path: Path, expected: str | None) -> bool:
    try:
        return expected is None or sha256(path).startswith(expected)
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read ({error.strerror or error}).") from error


def _expected(path: Path) -> str | None:
    """Return the SHA-256, or its first digits, that a file of one of the caches must have; None where none is known."""
    blob = _blob(path)
    return blob.name if blob else hash_in(path.name)


def _remove(path: Path) -> None:
    with writing(path):
        for file in (_blob(path), path):
            if file is not None:
                file.unlink(missing_ok=True)


def _from_url(entry: Pretrained, say: Say) -> Path:
    # Not torch.hub.download_url_to_file: it waits for ever for a silent server and keeps what a broken line cut short.
    path, expected = _checkpoint(entry), hash_in(entry.source)
    request = Request(entry.source, headers={"User-Agent": "cvkit"})
    try:
        response = urlopen(request, timeout=TIMEOUT_SECONDS)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise _failed(entry, error) from error
    digest = hashlib.sha256()
    with response, atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            for chunk in _chunks(entry, response, say):
                digest.update(chunk)
                stream.write(chunk)
        if expected is not None and not digest.hexdigest().startswith(expected):
            raise _wrong_hash(entry)
    return path


def _chunks(entry: Pretrained, response: HTTPResponse, say: Say) -> Iterator[bytes]:
    length = response.headers.get("Content-Length")
    total, done, told = int(length) if length else None, 0, time.monotonic()
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _failed(entry, error) from error
        if not chunk:
            break
        done += len(chunk)
        if time.monotonic() - told >= SAY_EVERY_SECONDS:
            told = time.monotonic()
            say(f"{entry.name}: {done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB")
        yield chunk
    if total is not None and done < total:
        raise _failed(entry, f"the connection broke off after {done} of {total} bytes")


def _from_hub(entry: Pretrained) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    repository, revision, wanted = _on_hub(entry)
    _reach_hub(entry)
    for name in wanted:
        try:
            with _silent_hub():
                path = Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError as error:  # the hub was not reached; a kind of EntryNotFoundError
            raise _failed(entry, error) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the hub's client and the several libraries below it raise
            raise _failed(entry, error) from error
        if not _is_whole(path, _expected(path) or _hash_on_hub(repository, name, revision)):
            _remove(path)
            raise _wrong_hash(entry)
        return path
    raise _failed(entry, f"{repository} holds no {' or '.join(wanted)}")


def _reach_hub(entry: Pretrained) -> None:
    """Find out whether the hub answers: its own client asks six times before it gives up, and says so each time."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _failed(entry, "HF_HUB_OFFLINE is set")
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD", headers={"User-Agent": "cvkit"}), timeout=10).close()
    except HTTPError as error:
        error.close()  # an answer
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(entry, error) from error


def _hash_on_hub(repository: str, name: str, revision: str | None) -> str | None:
    """Return the SHA-256 that the hub gives for a large file: asked where the cache, without links, does not tell."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        etag = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision)).etag or ""
    except Exception:  # the file is here, and of the size that the hub told: nothing to compare is no failure
        return None
    return etag if _SHA256.fullmatch(etag) else None


@contextmanager
def _silent_hub() -> Iterator[None]:
    """Keep the hub's progress bars away, which would write control characters into a log, and stdout for results."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # that the environment wants the bars shown, links are not supported, ...
        disable_progress_bars()
        try:
            yield
        finally:
            if shown:
                enable_progress_bars()


def _wrong_hash(entry: Pretrained) -> WeightsError:
    return WeightsError(
        f"What came from {entry.source} has another hash than the weights {entry.name}, and was not kept: a proxy or a "
        f"broken line may have changed it. Try again. {offline_hint(entry.name)}"
    )


def _failed(entry: Pretrained, error: Exception | str) -> CvkitError:
    """Return what a failed download is told as: one line that ends in what to do."""
    if isinstance(error, OSError) and error.errno in _NOT_KEPT:
        return OutputError(
            f"The weights {entry.name} cannot be kept in the cache ({error.strerror}): make room, or name another "
            "folder in HF_HOME."
        )
    return WeightsError(
        f"The weights {entry.name} cannot be fetched here ({_reason(error)}). {offline_hint(entry.name)}"
    )


def _reason(error: object) -> str:
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200].rstrip(".:") if lines else type(error).__name__


def file_name(url: str) -> str:
    """Return the name under which the file of a URL is kept."""
    return Path(urlparse(url).path).name


def hash_in(url: str) -> str | None:
    """Return the first digits of the SHA-256 that a file's name or URL carries ("vgg16-397923af.pth"), or None."""
    match = _HASH.search(file_name(url))
    return match.group(1) if match else None
