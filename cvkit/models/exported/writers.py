"""A network as a file that another program runs, and the proof that it says what the network says."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.errors import UsageError, WeightsError, first_line
from cvkit.models.exported.facts import KEY, Facts
from cvkit.models.exported.runtimes import need
from cvkit.models.exported.silence import silent

DIMENSIONS = {"batch": 0, "height": 2, "width": 3}
Outputs = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison of a file with its network: the batch, and the largest differences of any output.

    ``relative`` is the difference over the largest value of that output; ``agreement`` the share of images whose top
    class (of the first output) is the same, None where there are no classes.
    """

    batch: int
    height: int
    width: int
    absolute: float
    relative: float
    agreement: float | None


def write_onnx(path: Path, graph: nn.Module, example: Tensor, facts: Facts, *, opset: int, simplify: bool) -> None:
    """Write an ONNX file by torch's exporter of today; raises UsageError where the network does not let itself be."""
    need("onnxscript", ".onnx")
    need("onnx", ".onnx")

    from onnx.defs import onnx_opset_version

    if opset > onnx_opset_version():
        raise UsageError(f"--opset {opset}: the onnx installed here knows {onnx_opset_version()} at most.")
    program = _traced(graph, example, facts)
    with silent():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=list(facts.outputs),
                opset_version=opset,
            )
        except Exception as error:
            raise UsageError(f"{facts.model} cannot become ONNX: {first_line(error, 300)}.") from error
    assert made is not None
    model = made.model_proto
    if simplify:
        need("onnxslim", ".onnx")
        import onnxslim

        model = onnxslim.slim(model)
    written = next(one.version for one in model.opset_import if not one.domain)
    if written != opset:
        raise UsageError(f"--opset {opset}: torch's exporter writes {facts.model} in {written} only.")
    _name_dimensions(model, facts)
    save_onnx(path, model, facts)


def save_onnx(path: Path, model: Any, facts: Facts) -> None:
    """Write an ONNX model with its facts: one file, and the weights in ``PATH.data`` beside it from 2 GB on."""
    import onnx

    onnx.helper.set_model_props(model, {KEY: facts.as_json()})
    large = model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF
    onnx.save(model, str(path), save_as_external_data=large, location=f"{path.name}.data")


def _name_dimensions(model: Any, facts: Facts) -> None:
    """Call the open dimensions of the input by their names, wherever they occur."""
    names = {}
    for name in facts.dynamic:
        place = DIMENSIONS[name] if facts.layout == "nchw" or name == "batch" else DIMENSIONS[name] - 1
        found = model.graph.input[0].type.tensor_type.shape.dim[place].dim_param
        if found:
            names[found] = name
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def write_pt2(path: Path, graph: nn.Module, example: Tensor, facts: Facts) -> None:
    """Write a ``torch.export`` archive; raises UsageError where the network does not let itself be traced."""
    program = _traced(graph, example, facts)
    with silent():
        torch.export.save(program, path, extra_files={f"{KEY}.json": facts.as_json()})


def write_openvino(path: Path, graph: nn.Module, example: Tensor, facts: Facts) -> None:
    """Write OpenVINO's .xml and .bin; raises UsageError where the network does not let itself be converted."""
    need("openvino", ".xml")
    import openvino as ov

    program = _traced(graph, example, facts)
    with silent():
        try:
            model = ov.convert_model(program)
        except Exception as error:
            raise UsageError(f"{facts.model} cannot become OpenVINO: {first_line(error, 300)}.") from error
    model.inputs[0].set_names({"images"})
    for port, name in zip(model.outputs, facts.outputs, strict=True):
        port.set_names({name})
    model.set_rt_info(facts.as_json(), [KEY])
    ov.save_model(model, path, compress_to_fp16=False)


def write_safetensors(path: Path, network: nn.Module, facts: Facts) -> None:
    """Write the weights alone, with facts that rebuild the network."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={KEY: facts.as_json()})  # one entry: several come in any order


def _traced(graph: nn.Module, example: Tensor, facts: Facts) -> Any:
    """Return the graph as torch.export sees it, with the dimensions left open that the facts name."""
    shift = {"nchw": 0, "nhwc": -1}[facts.layout]
    open_ = {DIMENSIONS[name] + (shift if name != "batch" else 0): torch.export.Dim.DYNAMIC for name in facts.dynamic}
    with silent(), torch.no_grad():
        try:
            return torch.export.export(graph, (example,), dynamic_shapes=(open_,) if open_ else None)
        except Exception as error:
            hint = f"--dynamic {','.join(facts.dynamic)} is more than it allows, or " if facts.dynamic else ""
            raise UsageError(f"{facts.model} cannot be exported: {hint}{first_line(error, 300)}.") from error


def compare(expected: Outputs, found: Outputs, size: tuple[int, int], classes: bool) -> Check:
    """Return how far a file's outputs are from the network's, for images of (height, width) ``size``.

    Outputs of whole numbers, which are classes, count in ``agreement`` only. A value that is not finite, of either,
    makes the differences infinite. Raises WeightsError where shapes differ.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise WeightsError("the exported file has other outputs than the network.")
    absolute = relative = 0.0
    for one, other in zip(expected, found, strict=True):
        if one.is_floating_point():
            difference = float((one.double() - other.double()).abs().max())
            finite = bool(torch.isfinite(one).all() and torch.isfinite(other).all())
            difference = difference if finite else float("inf")
            absolute = max(absolute, difference)
            largest = max(float(one.double().abs().max()), 1e-30) if finite else 1.0
            relative = max(relative, difference / largest)
    agreement = float((top_classes(expected) == top_classes(found)).float().mean()) if classes else None
    batch, (height, width) = len(expected[0]), size
    return Check(batch=batch, height=height, width=width, absolute=absolute, relative=relative, agreement=agreement)


def top_classes(outputs: Outputs) -> Tensor:
    """Return the top class (N,) of logits, or of the classes that a graph with a top-k ends in."""
    if len(outputs) > 1 and not outputs[1].is_floating_point():
        return outputs[1][:, 0]
    return outputs[0].argmax(1)


def half(graph: nn.Module) -> nn.Module:
    """Return a copy that computes in float16."""
    return copy.deepcopy(graph).half()


def sizes_to_try(facts: Facts) -> Sequence[tuple[int, int]]:
    """Return the image sizes that a file is tried with: its own, and another where it takes others."""
    height, width = facts.size
    other = (height + 32 * ("height" in facts.dynamic), width + 64 * ("width" in facts.dynamic))
    return [facts.size] if other == facts.size else [facts.size, other]
