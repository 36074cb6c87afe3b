"""Simulate the environments of torchrun and SLURM."""

import pytest

LAUNCHER_VARIABLES = ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")
SLURM_VARIABLES = ("SLURM_PROCID", "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_NNODES", "CVKIT_LOCAL_PROCESSES")


def remove_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every variable by which a launcher describes its processes."""
    for name in LAUNCHER_VARIABLES + SLURM_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def set_env(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Set environment variables to the text of the values."""
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
