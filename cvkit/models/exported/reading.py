"""Read the metadata of exported files, and compare their weights with the checksum in the metadata."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from torch import Tensor

from cvkit import files
from cvkit.errors import UsageError, WeightsError
from cvkit.messages import first_line
from cvkit.models.exported import onnx_file
from cvkit.models.exported.facts import KEY, Facts
from cvkit.models.exported.runtimes import need, openvino_weights

MAX_METADATA_BYTES = 2**24  # 21,841 labels of ImageNet-22k take one megabyte
MAX_XML_BYTES = 2**28  # of an OpenVINO graph, which is read completely to get its metadata
Reading = tuple[str | None, Callable[[], str]]  # the metadata, and a function that computes the checksum of the weights


def read_facts(path: Path) -> Facts:
    """Return the metadata of an exported file, after checking its weights.

    Raises:
        WeightsError: If the file cannot be read, has no metadata, or is damaged.
    """
    if not files.is_file(str(path)):
        raise WeightsError(f"{path}: no such file.")
    status = path.stat()
    return _read_facts(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_facts(path: Path, size: int, changed: int) -> Facts:
    del size, changed  # part of the cache key, so that a changed file is read again
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: not an exported model (expected a name ending in {', '.join(_READERS)}).")
    try:
        text, checksum = reader(path)
    except (UsageError, WeightsError):
        raise
    except Exception as error:
        raise WeightsError(f"{path}: damaged, or not a {path.suffix} file ({first_line(error, 160)}).") from error
    if text is None:
        raise WeightsError(f"{path}: has no metadata: it was not written by cvkit export.")
    if len(text) > MAX_METADATA_BYTES:
        raise WeightsError(f"{path}: its metadata have more than {MAX_METADATA_BYTES} characters.")
    facts = Facts.from_json(text, str(path))
    if facts.tensors_sha256 and facts.tensors_sha256 != checksum():
        raise WeightsError(f"{path}: damaged: its weights do not match their checksum: copy or export it again.")
    return facts


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors and their names, as 64 hex digits."""
    import torch

    state = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        state.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()


def _read_onnx(path: Path) -> Reading:
    need("onnx", ".onnx")
    model = onnx_file.read_model(path)
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
    return text, lambda: onnx_file.digest(model)


def _read_pt2(path: Path) -> Reading:
    with zipfile.ZipFile(path) as archive:
        member = next((each for each in archive.infolist() if each.filename.endswith(f"extra/{KEY}.json")), None)
        if member is None:
            return None, str
        if member.file_size > MAX_METADATA_BYTES:
            raise WeightsError(f"{path}: its metadata have more than {MAX_METADATA_BYTES} bytes.")
        return archive.read(member).decode("utf-8"), str  # the archive has checksums of its own


def _read_safetensors(path: Path) -> Reading:
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get(KEY), lambda: tensor_digest(load_file(path))


def _read_openvino(path: Path) -> Reading:
    if path.stat().st_size > MAX_XML_BYTES:
        raise WeightsError(f"{path}: too large for an OpenVINO graph.")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise WeightsError(f"{path}: refused, because it defines entities, which OpenVINO graphs do not have.")
    entry = ElementTree.fromstring(content).find(f"./rt_info/{KEY}")
    return None if entry is None else entry.get("value"), lambda: files.sha256(openvino_weights(path))


_READERS: dict[str, Callable[[Path], Reading]] = {
    ".onnx": _read_onnx,
    ".pt2": _read_pt2,
    ".safetensors": _read_safetensors,
    ".xml": _read_openvino,
}
