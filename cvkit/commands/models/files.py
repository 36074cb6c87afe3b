"""Download and locate the files of pretrained weights."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cvkit import files
from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS, TIMM_PREFIX, Pretrained
from cvkit.commands.models.catalogue import check_classifier
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


def download_model(config: DownloadModelConfig, report: Reporter = ignore) -> ModelFile:
    """Download a classifier's weights into the cache of its library.

    If ``config.to`` is set, copy the file into that folder as well.

    Raises:
        UsageError: If there is no weights file for the name.
        WeightsError: If the file cannot be downloaded.
        OutputError: If the file cannot be written.
    """
    entry = _find_entry(config.model)
    path = fetch.download(entry, report)
    if config.to is not None:
        path = _copy(path, Path(config.to), entry)
        report(Note(f"Copied to {path}: `--model {entry.name} --weights {path}` needs no internet."))
    return _describe(entry, path)


def model_path(config: ModelPathConfig) -> ModelFile:
    """Return the file of a classifier's weights in the cache.

    Raises:
        UsageError: If the name has no file.
        WeightsError: If the file is not in the cache, or is damaged.
    """
    entry = _find_entry(config.model)
    if not entry.source:
        raise WeightsError(f"{entry.name} has no pretrained weights.")
    path = fetch.cached(entry)
    if path is None:
        raise WeightsError(
            f"The weights {entry.name} are not in the cache: run `cvkit models download {config.model}`."
        )
    file = _describe(entry, path)
    if not file.sha256.startswith(hash_in(path.name) or ""):
        raise WeightsError(f"{path} is damaged (its hash is wrong): run `cvkit models download {config.model}`.")
    return file


def _find_entry(name: str) -> Pretrained:
    """Return the weights that a name stands for; cvkit's own networks have none."""
    if name in CLASSIFIERS:
        raise UsageError(f"{name} has no published weights: train it with `cvkit train-classifier`.")
    if name in SALIENCY_MODELS:
        backbone = SaliencySpec.of(name).backbone
        raise UsageError(f"{name} has no weights of its own, but its backbone has: `cvkit models download {backbone}`.")
    check_classifier(name, "NAME")
    return pretrained.facts(name)


def _copy(path: Path, folder: Path, entry: Pretrained) -> Path:
    """Copy a file of weights into a folder atomically, and return the copy."""
    if folder.is_file():
        raise UsageError(f"--to {folder} is a file: name a folder.")
    # On the hub every file is called model.safetensors; the entry's name distinguishes the copy from others.
    name = path.name if "://" in entry.source else entry.name.removeprefix(TIMM_PREFIX) + path.suffix
    copy = folder / name
    if copy.exists() and copy.samefile(path):
        return copy
    with files.atomic_path(copy) as temporary:
        shutil.copyfile(path, temporary)
    return copy


def _describe(entry: Pretrained, path: Path) -> ModelFile:
    try:
        digest, size = files.sha256(path), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read ({error.strerror or error}).") from error
    return ModelFile(model=entry.model, tag=entry.tag, path=str(path), sha256=digest, bytes=size)
