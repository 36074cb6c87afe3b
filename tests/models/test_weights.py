import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvkit.errors import WeightsError
from cvkit.models.weights import read_tensors


class NotATensor:
    """An object that is not a tensor, which only unrestricted unpickling can restore."""


def test_files_without_tensors_are_refused_with_their_name(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("hello, this is not a header")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:900])
    save_file({"a": torch.zeros(1000)}, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:900])
    torch.save({"a": NotATensor()}, tmp_path / "object.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": NotATensor()}))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in [*sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("whole")), "absent.pth"]:
        with pytest.raises(WeightsError, match=name) as caught:
            read_tensors(tmp_path / name)
        assert "\n" not in str(caught.value), name


def test_a_flipped_bit_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.tensor([1.5, 2.5])}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor([1.5, 2.5]).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["a"][0] != 1.5  # torch does not notice
    with pytest.raises(WeightsError, match=r"weights\.pth is damaged \(weights/data/0 does not match its checksum\)"):
        read_tensors(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10)}, tmp_path / "whole.pth")
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
        packed.writestr("whole/data/1", bytes(10_000_000))
    with pytest.raises(WeightsError, match="is compressed"):
        read_tensors(bomb)


def test_a_tensor_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(2**43)}, tmp_path / "view.pth")
    with pytest.raises(WeightsError, match="the tensor a is said to be 8796093022208, which is larger than the file"):
        read_tensors(tmp_path / "view.pth")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        },
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"cvkit": 3}},
        {"a": 3},
        [],
    ],
)
def test_a_safetensors_header_that_lies_is_refused(header: object, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "lie.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_tensors(tmp_path / "lie.safetensors")


@pytest.mark.parametrize("length", [0, 7, 2**31, 2**63])
def test_a_safetensors_length_that_lies_is_refused(length: int, tmp_path: Path) -> None:
    (tmp_path / "lie.safetensors").write_bytes(length.to_bytes(8, "little") + b"[" * 1000)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_tensors(tmp_path / "lie.safetensors")


def test_overflowing_sums_of_finite_weights_are_allowed(tmp_path: Path) -> None:
    tensors = {"a": torch.full((4,), 3e38), "b": torch.full((100,), 60000.0, dtype=torch.float16)}
    torch.save(tensors, tmp_path / "large.pth")
    assert read_tensors(tmp_path / "large.pth").keys() == tensors.keys()
