"""Test the threads of a process that streams images."""

import pytest
import torch

from cvkit.engine.streaming.resources import torch_threads


def test_the_threads_of_torch_are_restored() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="stop"), torch_threads(1):
        assert torch.get_num_threads() == 1
        raise ValueError("stop")
    assert torch.get_num_threads() == before
    with torch_threads(None):
        assert torch.get_num_threads() == before
