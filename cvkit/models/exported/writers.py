"""Write a network as an ONNX, torch.export, OpenVINO or safetensors file."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.errors import UsageError, first_line
from cvkit.models.exported.facts import KEY, Facts
from cvkit.models.exported.runtimes import need
from cvkit.models.exported.silence import silent

DIMENSIONS = {"batch": 0, "height": 2, "width": 3}


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


def half(graph: nn.Module) -> nn.Module:
    """Return a copy that computes in float16."""
    return copy.deepcopy(graph).half()
