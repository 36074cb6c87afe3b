"""ONNX files in whole numbers: weights and activations of 8 bits, by onnxruntime's static quantisation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from cvkit.errors import UsageError, first_line
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.runtimes import need
from cvkit.models.exported.silence import silent
from cvkit.models.exported.writers import save_onnx


def quantize(source: Path, target: Path, batches: Iterator[Tensor], facts: Facts) -> None:
    """Write the ONNX file ``source`` in int8 as ``target``, its ranges taken from batches of what the network takes.

    Weights are signed, with a scale for each channel; activations are unsigned, over the least to the largest value
    seen. Both stand as QuantizeLinear and DequantizeLinear in the graph. Raises UsageError where it cannot be done.
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
    """Batches as onnxruntime asks for them."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the name of the input, None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}
