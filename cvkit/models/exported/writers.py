"""Write a network as an ONNX, torch.export, OpenVINO or safetensors file."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit import files
from cvkit.errors import UsageError
from cvkit.messages import first_line
from cvkit.models.exported import onnx_file
from cvkit.models.exported.facts import KEY, Facts
from cvkit.models.exported.reading import tensor_digest
from cvkit.models.exported.runtimes import need
from cvkit.models.exported.silence import silent

DIMENSIONS = {"batch": 0, "height": 2, "width": 3}


def write_onnx(path: Path, graph: nn.Module, example: Tensor, facts: Facts, *, opset: int, simplify: bool) -> None:
    """Write an ONNX file with torch's dynamo exporter.

    Args:
        path: The file.
        graph: The network with its preprocessing and postprocessing.
        example: Input to trace the graph with.
        facts: Metadata, with the names of the outputs and the dynamic dimensions.
        opset: Version of the ONNX operator set.
        simplify: Whether onnxslim simplifies the graph.

    Raises:
        UsageError: If the network cannot be exported with this operator set.
    """
    need("onnxscript", ".onnx")
    need("onnx", ".onnx")

    from onnx.defs import onnx_opset_version

    if opset > onnx_opset_version():
        raise UsageError(f"--opset {opset}: the installed onnx supports at most {onnx_opset_version()}.")
    model = _convert_to_onnx(_traced(graph, example, facts), facts, opset)
    if simplify:
        need("onnxslim", ".onnx")
        import onnxslim

        model = onnxslim.slim(model)
    written = next(each.version for each in model.opset_import if not each.domain)
    if written != opset:
        raise UsageError(f"--opset {opset}: torch's exporter writes {facts.model} only in {written}.")
    _name_dimensions(model, facts)
    save_onnx(path, model, facts)


def _convert_to_onnx(program: Any, facts: Facts, opset: int) -> Any:
    """Convert a traced graph to an ONNX model."""
    with silent():
        try:
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=list(facts.outputs),
                opset_version=opset,
            )
        except Exception as error:
            raise UsageError(f"{facts.model} cannot be converted to ONNX: {first_line(error, 300)}.") from error
    assert converted is not None
    return converted.model_proto


def save_onnx(path: Path, model: Any, facts: Facts) -> None:
    """Write an ONNX model with its metadata; weights of 2 GB or more go into ``PATH.data``."""
    import onnx

    facts = replace(facts, tensors_sha256=onnx_file.digest(model))
    onnx.helper.set_model_props(model, {KEY: facts.as_json()})
    large = model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF
    onnx.save(model, str(path), save_as_external_data=large, location=f"{path.name}.data")


def _name_dimensions(model: Any, facts: Facts) -> None:
    """Give the dynamic dimensions their names, wherever they occur in the graph."""
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
    """Write a ``torch.export`` archive.

    Raises:
        UsageError: If the network cannot be traced.
    """
    program = _traced(graph, example, facts)
    with silent():
        torch.export.save(program, path, extra_files={f"{KEY}.json": facts.as_json()})


def write_openvino(path: Path, graph: nn.Module, example: Tensor, facts: Facts) -> None:
    """Write an OpenVINO .xml file with its .bin file.

    Raises:
        UsageError: If the network cannot be converted.
    """
    need("openvino", ".xml")
    import openvino as ov

    program = _traced(graph, example, facts)
    with silent():
        try:
            model = ov.convert_model(program)
        except Exception as error:
            raise UsageError(f"{facts.model} cannot be converted to OpenVINO: {first_line(error, 300)}.") from error
    model.inputs[0].set_names({"images"})
    for port, name in zip(model.outputs, facts.outputs, strict=True):
        port.set_names({name})
    save_openvino(path, model, facts)


def save_openvino(path: Path, model: Any, facts: Facts) -> None:
    """Write an OpenVINO model with its metadata."""
    import openvino as ov

    ov.save_model(model, path, compress_to_fp16=False)  # writes the weights, whose checksum goes into the metadata
    facts = replace(facts, tensors_sha256=files.sha256(path.with_suffix(".bin")))
    model.set_rt_info(facts.as_json(), [KEY])
    ov.save_model(model, path, compress_to_fp16=False)


def write_safetensors(path: Path, network: nn.Module, facts: Facts) -> None:
    """Write the weights, with metadata that rebuild the network."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    facts = replace(facts, tensors_sha256=tensor_digest(tensors))
    save_file(tensors, path, metadata={KEY: facts.as_json()})  # one entry: several come in any order


def _traced(graph: nn.Module, example: Tensor, facts: Facts) -> Any:
    """Return the graph traced by torch.export, with the dynamic dimensions of the metadata.

    Raises:
        UsageError: If the network cannot be traced.
    """
    shift = {"nchw": 0, "nhwc": -1}[facts.layout]
    open_ = {DIMENSIONS[name] + (shift if name != "batch" else 0): torch.export.Dim.DYNAMIC for name in facts.dynamic}
    with silent(), torch.no_grad():
        try:
            return torch.export.export(graph, (example,), dynamic_shapes=(open_,) if open_ else None)
        except Exception as error:
            hint = f"--dynamic {','.join(facts.dynamic)} is more than it allows, or " if facts.dynamic else ""
            raise UsageError(f"{facts.model} cannot be exported: {hint}{first_line(error, 300)}.") from error


def half(graph: nn.Module) -> nn.Module:
    """Return a copy of a module in float16."""
    return copy.deepcopy(graph).half()
