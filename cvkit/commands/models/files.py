"""Download and locate the files of pretrained weights."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cvkit import files
from cvkit.catalog import SALIENCY_MODELS, TIMM_PREFIX, Pretrained
from cvkit.commands.models.showing import _check
from cvkit.config import DownloadModelConfig, ModelPathConfig
from cvkit.errors import UsageError, WeightsError
from cvkit.models import fetch
from cvkit.models.fetch import hash_in
from cvkit.models.published import pretrained
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.saliency.networks.base import SaliencySpec


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file of pretrained weights on this machine."""

    model: str
    tag: str | None
    path: str
    sha256: str
    bytes: int


def download_model(config: DownloadModelConfig, listen: Reporter = ignore) -> ModelFile:
    """Fetch a classifier's weights into the cache of its library, and copy them to ``to`` where it is given.

    Raises UsageError for a name without a file, WeightsError where it cannot be fetched, OutputError where it cannot be
    written.
    """
    entry = _entry(config.model)
    path = fetch.download(entry, listen)
    if config.to is not None:
        path = _copy(path, Path(config.to), entry)
        listen(Note(f"Copied to {path}: with `--model {entry.name} --weights {path}` no internet is needed."))
    return _file(entry, path)


def model_path(config: ModelPathConfig) -> ModelFile:
    """Return the file of a classifier's weights in the cache; WeightsError where it is not there or is damaged."""
    entry = _entry(config.model)
    if not entry.source:
        raise WeightsError(f"There are no pretrained weights of {entry.name}.")
    path = fetch.cached(entry)
    if path is None:
        raise WeightsError(f"The weights {entry.name} are not here: run `cvkit models download {config.model}`.")
    found = _file(entry, path)
    if not found.sha256.startswith(hash_in(path.name) or ""):
        raise WeightsError(f"{path} is damaged (its hash is wrong): run `cvkit models download {config.model}`.")
    return found


def _entry(name: str) -> Pretrained:
    """Return the entry of weights that a name means; our own networks have none."""
    if name in SALIENCY_MODELS:
        backbone = SaliencySpec.of(name).backbone
        raise UsageError(f"{name} has no weights of its own; its backbone has: `cvkit models download {backbone}`.")
    _check(name)
    return pretrained.facts(name)


def _copy(path: Path, folder: Path, entry: Pretrained) -> Path:
    """Copy a file of weights into a folder, whole or not at all, and return the copy."""
    if folder.is_file():
        raise UsageError(f"--to {folder} is a file: name a folder.")
    # On the hub every file is called model.safetensors; under the entry's name it is told from others, and known again.
    own = path.name if "://" in entry.source else entry.name.removeprefix(TIMM_PREFIX) + path.suffix
    copy = folder / own
    if copy.exists() and copy.samefile(path):
        return copy
    with files.atomic_path(copy) as temporary:
        shutil.copyfile(path, temporary)
    return copy


def _file(entry: Pretrained, path: Path) -> ModelFile:
    try:
        digest, size = files.sha256(path), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read ({error.strerror or error}).") from error
    return ModelFile(model=entry.model, tag=entry.tag, path=str(path), sha256=digest, bytes=size)
