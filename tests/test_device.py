"""Test the choice of device and precision."""

import pytest
import torch

from cvkit.device import autocast_dtype, choose_device, choose_precision, describe_device
from cvkit.errors import UsageError


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_processor_and_gpus_are_refused() -> None:
    assert choose_device("auto") == torch.device("cpu") == choose_device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UsageError, match=r"Use --device cpu or auto"):
            choose_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_chosen_by_number_and_a_missing_one_is_refused() -> None:
    assert choose_device("auto").type == "cuda" and choose_device("cuda:1").index == 1
    with pytest.raises(UsageError, match="--device cuda:2: this machine has 2 GPUs, counted from 0"):
        choose_device("cuda:2")


def test_an_apple_gpu_is_chosen_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps" == choose_device("mps").type


def test_auto_precision_is_bf16_only_on_a_gpu_that_supports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [choose_precision(name, cpu) for name in ("auto", "fp32", "bf16")] == ["fp32", "fp32", "bf16"]
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        choose_precision("fp16", cpu)
    for able, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **_: able)
        assert choose_precision("auto", gpu) == chosen
    assert choose_precision("fp16", gpu) == "fp16"
    dtypes = [autocast_dtype(name) for name in ("fp32", "bf16", "fp16")]
    assert dtypes == [None, torch.bfloat16, torch.float16]
    assert describe_device(cpu) == "cpu"
