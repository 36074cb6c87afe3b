"""Test that torch.export archives which could run code are refused before they are loaded."""

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cvkit.errors import WeightsError
from cvkit.models.exported import writers
from cvkit.models.exported.archive import check_archive
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.network import ExportedNetwork

FACTS = Facts(
    kind="encoder",
    model="tiny",
    spec={},
    channels=1,
    size=(4, 4),
    mean=(0.0,),
    std=(1.0,),
    outputs=("codes",),
    dynamic=("batch", "height", "width"),
)
WEIGHTS_CONFIG = "data/weights/model_weights_config.json"
CONSTANTS_CONFIG = "data/constants/model_constants_config.json"
PROGRAM = "models/model.json"
Members = dict[str, bytes]


class Tiny(nn.Module):
    """Multiplies images by a weight, pools them, and adds a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, 3.0]))
        self.constant = torch.tensor([1.0])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        pooled = nn.functional.adaptive_avg_pool2d(images * self.weight[0], 2)
        return (pooled.reshape(images.shape[0], -1) + self.constant,)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "tiny.pt2"
    writers.write_pt2(path, Tiny().eval(), torch.rand(2, 1, 8, 8), FACTS)
    return path


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members) -> None:
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.set_min_version(6)  # as torch.export does
    for name, content in members.items():
        if name not in (".data/version", ".data/serialization_id", "byteorder"):
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()


class Touch:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def evil(marker: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"x": Touch(marker)}, stream)
    return stream.getvalue()


def code(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def edit(members: Members, name: str, change: Callable[[Any], None]) -> None:
    document = json.loads(members[name])
    change(document)
    members[name] = json.dumps(document).encode()


def first_weight(document: Any) -> dict[str, Any]:
    entry: dict[str, Any] = next(iter(document["config"].values()))
    return entry


def graph(document: Any) -> dict[str, Any]:
    inner: dict[str, Any] = document["graph_module"]["graph"]
    return inner


def pickle_weight(members: Members, marker: Path) -> None:
    edit(members, WEIGHTS_CONFIG, lambda document: first_weight(document).update(use_pickle=True))
    members["data/weights/weight_0"] = evil(marker)


def add_opaque_object(members: Members, marker: Path) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    edit(members, CONSTANTS_CONFIG, lambda document: document["config"].update(extra=entry))
    members["data/constants/opaque_obj_0"] = pickle.dumps(Touch(marker))


def rename_constant_to_opaque_object(members: Members, marker: Path) -> None:
    edit(members, CONSTANTS_CONFIG, lambda document: first_weight(document).update(path_name="opaque_obj_0"))
    members["data/constants/tensor_0"] = pickle.dumps(Touch(marker))


def pickle_example_inputs(members: Members, marker: Path) -> None:
    members["data/sample_inputs/model.pt"] = evil(marker)


def add_legacy_weights(members: Members, marker: Path) -> None:
    members["data/weights/model.pt"] = evil(marker)


def add_compiled_library(members: Members, marker: Path) -> None:
    del marker
    members["data/aotinductor/model/model.so"] = b"\x7fELF"


def call_a_function_of_torch(members: Members, marker: Path) -> None:
    del marker
    edit(members, PROGRAM, lambda document: graph(document)["nodes"][0].update(target="torch.os.system"))


def call_an_operator_that_writes(members: Members, marker: Path) -> None:
    del marker
    edit(members, PROGRAM, lambda document: graph(document)["nodes"][0].update(target="torch.ops.aten.save.default"))


def compute_a_size_by_code(members: Members, marker: Path) -> None:
    def change(document: Any) -> None:
        sizes = graph(document)["tensor_values"]["images"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = code(marker)

    edit(members, PROGRAM, change)


def compute_a_size_by_code_in_a_value_called_metadata(members: Members, marker: Path) -> None:
    def change(document: Any) -> None:
        value = json.loads(json.dumps(graph(document)["tensor_values"]["images"]))
        value["sizes"][0]["as_expr"]["expr_str"] = code(marker)
        graph(document)["tensor_values"]["metadata"] = value

    edit(members, PROGRAM, change)


def guard_by_code(members: Members, marker: Path) -> None:
    edit(members, PROGRAM, lambda document: document["guards_code"].append(code(marker)))


def name_a_node_by_code(members: Members, marker: Path) -> None:
    text = members[PROGRAM].decode()
    members[PROGRAM] = text.replace('"images"', json.dumps(f"images={code(marker)}")).encode()


def import_a_module_by_the_input_tree(members: Members, marker: Path) -> None:
    del marker
    context = {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": []}
    spec = json.dumps([1, {"type": "collections.defaultdict", "context": context, "children_spec": []}])

    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec

    edit(members, PROGRAM, change)


def claim_terabytes(members: Members, marker: Path) -> None:
    del marker

    def change(document: Any) -> None:
        first_weight(document)["tensor_meta"]["sizes"] = [{"as_int": 2**43}]

    edit(members, WEIGHTS_CONFIG, change)
    members["data/weights/weight_0"] = b""


def nest_deeply(members: Members, marker: Path) -> None:
    del marker
    members[PROGRAM] = b"[" * 100_000 + b"]" * 100_000


ATTACKS = (
    pickle_weight,
    add_opaque_object,
    rename_constant_to_opaque_object,
    pickle_example_inputs,
    add_legacy_weights,
    add_compiled_library,
    call_a_function_of_torch,
    call_an_operator_that_writes,
    compute_a_size_by_code,
    compute_a_size_by_code_in_a_value_called_metadata,
    guard_by_code,
    name_a_node_by_code,
    import_a_module_by_the_input_tree,
    claim_terabytes,
    nest_deeply,
)


def test_an_archive_of_cvkit_is_loaded(archive: Path) -> None:
    network = ExportedNetwork(archive)
    assert network(torch.ones(3, 1, 6, 6)).tolist() == [[3.0] * 4] * 3


def test_a_rewritten_archive_is_loaded(archive: Path, tmp_path: Path) -> None:
    write(tmp_path / "same.pt2", members_of(archive))
    assert ExportedNetwork(tmp_path / "same.pt2")(torch.ones(2, 1, 4, 4)).tolist() == [[3.0] * 4] * 2


class ReaderOf211(torch._C.PyTorchFileReader):
    """The reader of archives without a method that torch 2.11 does not have."""

    @property
    def get_record_size(self) -> None:
        raise AttributeError


def test_the_reader_of_torch_211_is_enough(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "PyTorchFileReader", ReaderOf211)
    check_archive(archive)
    members = members_of(archive)
    claim_terabytes(members, tmp_path)
    write(tmp_path / "evil.pt2", members)
    with pytest.raises(WeightsError, match="is said to be larger than the data"):
        check_archive(tmp_path / "evil.pt2")


def test_a_pickled_weight_would_run_code_in_torch(archive: Path, tmp_path: Path) -> None:
    members = members_of(archive)
    pickle_weight(members, tmp_path / "marker")
    write(tmp_path / "evil.pt2", members)
    with contextlib.suppress(Exception):  # what it unpickles is no tensor
        torch.export.load(tmp_path / "evil.pt2")
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_archive_that_could_run_code_is_refused(
    attack: Callable[[Members, Path], None], archive: Path, tmp_path: Path
) -> None:
    members = members_of(archive)
    attack(members, tmp_path / "marker")
    write(tmp_path / "evil.pt2", members)
    with pytest.raises(WeightsError) as raised:
        ExportedNetwork(tmp_path / "evil.pt2").outputs(torch.ones(2, 1, 4, 4))
    assert not (tmp_path / "marker").exists()
    assert str(tmp_path / "evil.pt2") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_archive_of_an_older_torch_that_is_pickled_is_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path, "w") as old:
        old.writestr("archive/extra/cvkit.json", members_of(archive)["extra/cvkit.json"])
        old.writestr("version", "8.20")
        old.writestr("serialized_exported_program.json", members_of(archive)[PROGRAM])
        for name in ("state_dict", "constants", "example_inputs"):
            old.writestr(f"serialized_{name}.pt", evil(tmp_path / "marker"))
    with pytest.raises(WeightsError, match="refused"):
        ExportedNetwork(path)
    assert not (tmp_path / "marker").exists()


def test_a_compressed_member_is_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as compressed:
        for name, content in members_of(archive).items():
            compressed.writestr(f"tiny/{name}", content)
    with pytest.raises(WeightsError, match="compressed"):
        ExportedNetwork(path)


def test_a_flipped_byte_is_found_by_its_checksum(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    position = content.index(torch.tensor([2.0, 3.0]).numpy().tobytes())
    content[position] ^= 1
    (tmp_path / "flipped.pt2").write_bytes(content)
    with pytest.raises(WeightsError, match="weight_0 does not match its checksum"):
        ExportedNetwork(tmp_path / "flipped.pt2")


def test_a_weight_that_is_nan_is_refused_by_name(archive: Path, tmp_path: Path) -> None:
    members = members_of(archive)
    members["data/weights/weight_0"] = torch.tensor([2.0, float("nan")]).numpy().tobytes()
    write(tmp_path / "nan.pt2", members)
    with pytest.raises(WeightsError, match="the tensor weight has values that are NaN"):
        ExportedNetwork(tmp_path / "nan.pt2")
