"""Test that exported files with wrong weights, or with data in other places, are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cvkit import files
from cvkit.errors import WeightsError
from cvkit.models.exported import writers
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.exported.reading import read_facts

from .test_archive import FACTS, Tiny

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = np.array([2.0, 3.0], np.float32)
IMAGES = torch.ones(2, 1, 4, 4)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multiply (N, 1, H, W) images by two weights."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    value = onnx.helper.make_tensor_value_info
    images = value("images", onnx.TensorProto.FLOAT, ["batch", 1, "height", "width"])
    codes = value("codes", onnx.TensorProto.FLOAT, ["batch", 2, "height", "width"])
    weight = onnx.numpy_helper.from_array(WEIGHT.reshape(1, 2, 1, 1), "weight")
    node = onnx.helper.make_node("Mul", ["images", "weight"], ["codes"])
    graph = onnx.helper.make_graph([node], "tiny", [images], [codes], [weight])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)])
    writers.save_onnx(path, model, FACTS)
    return path


@pytest.fixture(scope="module")
def safetensors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("safetensors") / "tiny.safetensors"
    writers.write_safetensors(path, Tiny(), FACTS)
    return path


@pytest.fixture(scope="module")
def openvino_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multiply (N, 1, H, W) images by two weights."""
    openvino = pytest.importorskip("openvino")
    operators = openvino.opset13
    path = tmp_path_factory.mktemp("openvino") / "tiny.xml"
    images = operators.parameter([-1, 1, -1, -1], np.float32, "images")
    codes = operators.multiply(images, operators.constant(WEIGHT.reshape(1, 2, 1, 1)))
    writers.save_openvino(path, openvino.Model([codes], [images], "tiny"), FACTS)
    return path


def flip(path: Path, values: np.ndarray) -> None:
    """Flip the lowest bit of the first of some values in a file."""
    content = bytearray(path.read_bytes())
    content[content.index(values.tobytes())] ^= 1
    path.write_bytes(content)


def with_changed_weight(source: Path, path: Path, weight: np.ndarray) -> None:
    model = onnx.load(source)
    tensor = next(each for each in model.graph.initializer if each.name == "weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight.reshape(1, 2, 1, 1), "weight"))
    writers.save_onnx(path, model, FACTS)


def with_external_weight(source: Path, path: Path, location: str) -> None:
    model = onnx.load(source)
    tensor = next(each for each in model.graph.initializer if each.name == "weight")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())


def test_files_of_cvkit_have_a_checksum_of_their_tensors(
    onnx_file: Path, safetensors_file: Path, openvino_file: Path
) -> None:
    for path in (onnx_file, safetensors_file, openvino_file):
        assert len(read_facts(path).tensors_sha256) == 64
    assert ExportedNetwork(onnx_file)(IMAGES).mean((0, 2, 3)).tolist() == [2.0, 3.0]
    assert ExportedNetwork(openvino_file)(IMAGES).mean((0, 2, 3)).tolist() == [2.0, 3.0]


def test_a_flipped_bit_of_a_weight_is_found(
    onnx_file: Path, safetensors_file: Path, openvino_file: Path, tmp_path: Path
) -> None:
    for source in (onnx_file, safetensors_file, openvino_file):
        for part in source.parent.glob("tiny.*"):
            shutil.copy(part, tmp_path)
        weights = tmp_path / ("tiny.bin" if source.suffix == ".xml" else source.name)
        flip(weights, WEIGHT)
        with pytest.raises(WeightsError, match="its weights do not match their checksum"):
            read_facts(tmp_path / source.name)


def test_a_weight_of_an_onnx_file_that_is_nan_is_refused_by_name(onnx_file: Path, tmp_path: Path) -> None:
    with_changed_weight(onnx_file, tmp_path / "x.onnx", np.array([2.0, np.nan], np.float32))
    with pytest.raises(WeightsError, match="the tensor weight has values that are NaN"):
        read_facts(tmp_path / "x.onnx")


def test_infinite_constants_of_an_onnx_file_are_allowed(onnx_file: Path, tmp_path: Path) -> None:
    with_changed_weight(onnx_file, tmp_path / "x.onnx", np.array([2.0, np.inf], np.float32))
    assert read_facts(tmp_path / "x.onnx").model == "tiny"


def test_a_weight_of_an_openvino_file_that_is_nan_is_refused(openvino_file: Path, tmp_path: Path) -> None:
    old = read_facts(openvino_file).tensors_sha256
    weights = openvino_file.with_suffix(".bin").read_bytes()
    nan = np.array([np.nan], np.float32)
    (tmp_path / "x.bin").write_bytes(weights.replace(WEIGHT[:1].tobytes(), nan.tobytes()))
    new = files.sha256(tmp_path / "x.bin")
    (tmp_path / "x.xml").write_text(openvino_file.read_text().replace(old, new))
    with pytest.raises(WeightsError, match=r"x\.xml: the tensor .* has values that are NaN"):
        ExportedNetwork(tmp_path / "x.xml")


def test_external_data_beside_the_file_are_read(onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx.data").write_bytes(WEIGHT.tobytes())
    with_external_weight(onnx_file, tmp_path / "x.onnx", "x.onnx.data")
    assert ExportedNetwork(tmp_path / "x.onnx")(IMAGES).mean((0, 2, 3)).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("location", ["../secret", "{root}/secret", "below/../../secret", "link", "gone", "", "."])
def test_external_data_elsewhere_are_refused(onnx_file: Path, tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    with_external_weight(onnx_file, folder / "x.onnx", location.format(root=tmp_path))
    with pytest.raises(WeightsError, match="only a file in the same folder is read"):
        ExportedNetwork(folder / "x.onnx")


def test_a_graph_that_defines_entities_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><net>&b;</net>'
    (tmp_path / "x.xml").write_text(bomb)
    with pytest.raises(WeightsError, match="defines entities"):
        read_facts(tmp_path / "x.xml")
