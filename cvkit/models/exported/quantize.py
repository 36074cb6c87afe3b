"""Quantise ONNX files to 8-bit integers by onnxruntime's static quantisation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from cvkit.errors import UsageError
from cvkit.messages import first_line
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.runtimes import need
from cvkit.models.exported.silence import silent
from cvkit.models.exported.writers import save_onnx


def quantize(source: Path, target: Path, batches: Iterator[Tensor], facts: Facts) -> None:
    """Write an ONNX file in int8.

    Weights are signed, with one scale per channel; activations are unsigned, from the smallest to the largest value
    in the sample batches. QuantizeLinear and DequantizeLinear nodes represent both in the graph.

    Args:
        source: The float32 file.
        target: The file to write.
        batches: Sample inputs of the network.
        facts: Metadata of the new file.

    Raises:
        UsageError: If onnxruntime cannot quantise the graph.
    """
    need("onnxruntime", ".onnx")
    import onnx
    from onnxruntime import quantization

    with silent():  # its advice is about preparations that the exporter has done
        try:
            quantization.quantize_static(
                str(source),
                str(target),
                _Reader(batches),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
        except (ValueError, RuntimeError, AssertionError) as error:
            raise UsageError(f"{facts.model} cannot be quantised: {first_line(error)}.") from error
    save_onnx(target, onnx.load(target), facts)


class _Reader:
    """Provide sample batches through the interface of onnxruntime."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the name of the input, or None after the last one."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}
