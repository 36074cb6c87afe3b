"""Describe the installation: versions, devices, caches and optional packages."""

import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cvkit
from cvkit.processes import cpu_count

# Extras that only developers need.
DEVELOPMENT = frozenset({"dev"})


@dataclass(frozen=True, kw_only=True)
class EnvResult:
    """Versions, devices and caches of this installation.

    Attributes:
        cvkit: Version of cvkit.
        python: Version of Python.
        platform: Operating system and processor.
        devices: Description by device name.
        packages: Version of each required package; None if it is not installed.
        optional: Version of each package of the extras; None if it is not installed.
        caches: Folder by the library that writes to it, or by its content.
    """

    cvkit: str
    python: str
    platform: str
    devices: dict[str, str]
    packages: dict[str, str | None]
    optional: dict[str, str | None]
    caches: dict[str, str]


def describe_environment() -> EnvResult:
    """Return the versions, devices, caches and optional packages of this installation."""
    required, optional = _requirements()
    return EnvResult(
        cvkit=cvkit.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        devices=_devices(),
        packages={name: _version(name) for name in required},
        optional={name: _version(name) for name in optional},
        caches=_caches(),
    )


def _requirements() -> tuple[list[str], list[str]]:
    """Return the names of the required and of the optional packages, as the installed metadata declares them."""
    required, optional = set(), set()
    for line in metadata.requires("cvkit") or []:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        if extra is None:
            required.add(name)
        elif extra.group(1) not in DEVELOPMENT:
            optional.add(name)
    return sorted(required, key=str.lower), sorted(optional - required, key=str.lower)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    import torch

    threads = f"{cpu_count()} cores, {torch.get_num_threads()} threads"
    found = {
        "cpu": f"{platform.processor() or platform.machine()}, {threads}, {torch.backends.cpu.get_cpu_capability()}"
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found[f"cuda:{index}"] = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        found["CUDA"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    else:
        found["cuda"] = "not available"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _caches() -> dict[str, str]:
    """Return the folders that hold downloaded weights and exported networks, without creating them."""
    from huggingface_hub import constants
    from torch import hub

    from cvkit.models.exported.cache import cache_folder

    folders = {"torch hub": str(Path(hub.get_dir()) / "checkpoints"), "Hugging Face hub": constants.HF_HUB_CACHE}
    folders |= {"exported networks": str(cache_folder())}
    offline = os.environ.get("HF_HUB_OFFLINE")
    return folders | ({"HF_HUB_OFFLINE": offline} if offline else {})
