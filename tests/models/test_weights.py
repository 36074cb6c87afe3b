import pickle
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
