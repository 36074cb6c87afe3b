"""Open exported files in their runtimes, as functions from images to all outputs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvkit.errors import UsageError, WeightsError
from cvkit.models.exported.archive import check_archive
from cvkit.models.exported.silence import silent
from cvkit.models.weights import check_finite, has_nan

Run = Callable[[Tensor], tuple[Tensor, ...]]
EXTRAS = {".xml": "openvino"}  # ONNX packages are ordinary dependencies


def need(package: str, suffix: str) -> None:
    """Check that a package which reads or runs files of a suffix is installed.

    Raises:
        UsageError: If it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        extra = f"[{EXTRAS[suffix]}]" if suffix in EXTRAS else ""
        raise UsageError(f"{suffix} files need {package}, which is not installed: pip install 'cvkit{extra}'.")


def onnx(path: Path, device: torch.device) -> Run:
    """Open an ONNX file in onnxruntime, on a GPU if its CUDA provider is available."""
    need("onnxruntime", ".onnx")
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    there = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" and "CUDAExecutionProvider" in there else []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait for work by spinning take the cores from those that read and write images: without it, classify
    # with mobilenet_v2 handles 1.4 times as many images per second on two cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=[*wanted, "CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(images: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {given.name: images.cpu().numpy()})
        return tuple(torch.from_numpy(np.ascontiguousarray(each)).to(images.device) for each in found)

    return run


def pt2(path: Path, device: torch.device) -> Run:
    """Open a ``torch.export`` archive, after checking that it cannot run code."""
    from torch.export.passes import move_to_device_pass

    check_archive(path)
    with silent():  # torch logs the traceback of an error that it raises as well
        program = torch.export.load(path)
    check_finite(program.state_dict, str(path))
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    module = program.module()

    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(module(images))

    return run


def openvino(path: Path, device: torch.device) -> Run:
    """Open an OpenVINO .xml file, with the .bin file beside it, on the processor."""
    del device
    need("openvino", ".xml")
    openvino_weights(path)
    model = _openvino_core().read_model(path)
    for constant in model.get_ops():
        is_float = constant.get_type_name() == "Constant" and np.issubdtype(constant.data.dtype, np.floating)
        if is_float and has_nan(constant.data):
            raise WeightsError(
                f"{path}: the tensor {constant.get_friendly_name()} has values that are NaN, so every result would be "
                "wrong: export the model again from sound weights."
            )
    # Full precision, as the file has it: some processors would else compute in bfloat16.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = _openvino_core().compile_model(model, "CPU", settings)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        found = compiled(images.cpu().numpy())
        return tuple(torch.from_numpy(np.array(found[port])).to(images.device) for port in compiled.outputs)

    return run


def openvino_weights(path: Path) -> Path:
    """Return the .bin file beside an OpenVINO .xml file.

    Raises:
        WeightsError: If it is not there.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise WeightsError(f"{path}: the file of its weights, {weights.name}, is not beside it.")
    return weights


@cache
def _openvino_core() -> Any:
    """Return the only OpenVINO core of this process.

    Its processor plugin gives the thread a stack for signals. When two cores are created and destroyed, the later one
    restores the freed stack of the earlier one, and the next signal ends the process.
    """
    import openvino as ov

    return ov.Core()


OPENERS: dict[str, Callable[[Path, torch.device], Run]] = {".onnx": onnx, ".pt2": pt2, ".xml": openvino}
