"""Describe the machine and the versions that a measurement ran with."""

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from cvkit.processes import cpu_count

PACKAGES = ("cvkit", "torch", "torchvision", "timm", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "simplejpeg")
PEERS = ("grad-cam", "torchcam", "pysaliency")


def describe_machine() -> dict[str, str]:
    """Return the processor, the number of cores, the threads of PyTorch, the system, and versions by package."""
    facts = {
        "processor": _processor(),
        "cores": str(cpu_count()),
        "threads of PyTorch": str(torch.get_num_threads()),
        "system": platform.platform(),
        "Python": platform.python_version(),
    }
    versions = {name: _version(name) for name in (*PACKAGES, *PEERS)}
    return facts | {name: version for name, version in versions.items() if version is not None}


def describe_gpu(device: torch.device) -> dict[str, str]:
    """Return the name, memory, driver, CUDA and cuDNN of a GPU; nothing for another device."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {
        "GPU": properties.name,
        "GPU memory": f"{properties.total_memory / 2**30:.0f} GiB",
        "compute capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown (nvidia-smi is not installed)"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else "unknown"
