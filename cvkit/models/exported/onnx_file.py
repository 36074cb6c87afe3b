"""Read ONNX files: their metadata, and checks of their tensors before a runtime opens them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvkit.errors import WeightsError
from cvkit.models.weights import has_nan


def read_model(path: Path) -> Any:
    """Read an ONNX file with all its tensors, and check them.

    Args:
        path: The file.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        WeightsError: If tensors are stored in another place than a file beside it, or one of them has a NaN. Infinite
            values are allowed, because masks of attention consist of them.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    external = [tensor for tensor in tensors_of(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in external:
        _check_location(path, tensor)
    if external:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    for tensor in tensors_of(model):
        if _is_nan(tensor):
            raise WeightsError(
                f"{path}: the tensor {tensor.name} has values that are NaN, so every result would be wrong: export the "
                "model again from sound weights."
            )
    return model


def digest(model: Any) -> str:
    """Return the SHA-256 of the tensors of a model, as 64 hex digits."""
    state = hashlib.sha256()
    for tensor in tensors_of(model):
        state.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)} ".encode())
        state.update(tensor.raw_data if tensor.HasField("raw_data") else tensor.SerializeToString(deterministic=True))
    return state.hexdigest()


def tensors_of(model: Any) -> Iterator[Any]:
    """Iterate over all tensors of a model: initializers, and constants in the attributes of nodes."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (
                *attribute.sparse_tensors,
                *([attribute.sparse_tensor] * attribute.HasField("sparse_tensor")),
            ):
                yield from (sparse.values, sparse.indices)
            for graph in (*attribute.graphs, *([attribute.g] * attribute.HasField("g"))):
                yield from _of_graph(graph)


def _check_location(path: Path, tensor: Any) -> None:
    """Check that the data of a tensor are in a file beside the model, and not in another file of the machine."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    file = path.parent / location
    if Path(location).name != location or file.is_symlink() or not file.is_file():
        raise WeightsError(
            f"{path}: refused, because the data of its tensor {tensor.name[:80]} are in {location[:80]!r}: only a file "
            "in the same folder is read."
        )


def _is_nan(tensor: Any) -> bool:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        return False
    return has_nan(numpy_helper.to_array(tensor))
