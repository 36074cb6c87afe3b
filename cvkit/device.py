"""Choose the device and the precision to compute with."""

from typing import TYPE_CHECKING

from cvkit.errors import UsageError

if TYPE_CHECKING:
    import torch

# Parts of the messages of torch's allocators and of CUDA's libraries, whose errors have no class of their own.
NO_MEMORY = ("can't allocate memory", "not enough memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def choose_device(name: str) -> "torch.device":
    """Return a device by name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for CUDA, else MPS, else the processor.

    Raises:
        UsageError: If this machine does not have the device.
    """
    import torch

    kind = name.partition(":")[0]
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no usable CUDA GPU. Use --device cpu or auto.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Apple GPU. Use --device cpu or auto.")
    device = torch.device(name)
    if kind == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs, counted from 0.")
    return device


def choose_precision(name: str, device: "torch.device") -> str:
    """Return the precision to compute in on a device: ``fp32``, ``bf16`` or ``fp16``.

    Args:
        name: One of these, or ``auto`` for bf16 on a GPU that computes in it, else fp32.
        device: The device.

    Raises:
        UsageError: If the device does not support the precision.
    """
    import torch

    if name == "fp16" and device.type == "cpu":
        raise UsageError("The precision fp16 needs a GPU; on a processor use fp32 or bf16.")
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def autocast_dtype(precision: str) -> "torch.dtype | None":
    """Return the dtype that autocast computes in, or None for plain float32."""
    import torch

    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def describe_device(device: "torch.device") -> str:
    """Return the name of a device for manifests and logs: that of the GPU, or the type of another device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory did not suffice, on a GPU or on the processor."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in NO_MEMORY)
