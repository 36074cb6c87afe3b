"""Run the scripts of ``docs/slurm.md``."""

import csv
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from cvkit.engine import checkpoint

from .slurm import Job, install, scripts, submit

SETTINGS = """
data = "data"
backbone = "timm:mobilenetv3_small_050"
weights = "none"
size = "64x96"
workers = 0
samples = 0
batch-size = 2
epochs = {epochs}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with stand-ins for the programs of Slurm, a data set, photographs and ``train.toml``."""
    from cvkit.commands.sample_data import sample_fixations
    from cvkit.config import SampleFixationsConfig

    folder = tmp_path_factory.mktemp("cluster")
    install(folder)
    sample_fixations(SampleFixationsConfig(out=str(folder / "data"), train=6, val=3, size=(96, 128)))
    (folder / "photos").symlink_to(folder / "data/images")
    (folder / "train.toml").write_text(SETTINGS.format(epochs=3))
    return folder


def finish(job: Job) -> tuple[int, str]:
    code, said = job.finish()
    assert "Traceback" not in said, said
    return code, said


def epochs_of(run: Path) -> int:
    with (run / "history.csv").open() as stream:
        return len(list(csv.DictReader(stream)))


@pytest.mark.parametrize("name", scripts())
def test_every_script_is_valid_bash_and_names_existing_options(name: str, tmp_path: Path) -> None:
    from cvkit.cli.main import ALL_COMMANDS

    script = tmp_path / "job.sh"
    script.write_text(scripts()[name])
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    words = shlex.split(
        next(line for line in scripts()[name].splitlines() if "cvkit " in line and "source" not in line)
    )
    words = [word.rstrip(";") for word in words[words.index("cvkit") + 1 :]]
    command = next(each for each in ALL_COMMANDS if each.name == words[0])
    flags = {name for field in command.fields() for name in (field.flag, *field.option.names)} | {"--config"}
    assert {word for word in words if re.match("--[a-z]", word)} <= flags


@pytest.mark.slow
def test_a_job_that_is_signalled_requeues_itself_and_its_second_start_completes_the_run(cluster: Path) -> None:
    (cluster / "train.toml").write_text(SETTINGS.format(epochs=400))
    job = submit(cluster, "night")
    while not (cluster / "runs/night/last.pt").exists() and job.process.poll() is None:
        time.sleep(0.05)
    before = epochs_of(cluster / "runs/night") if (cluster / "runs/night/history.csv").exists() else 0
    os.kill(int((cluster / "srun.pid").read_text()), signal.SIGUSR1)
    code, said = finish(job)
    assert code == 75 and epochs_of(cluster / "runs/night") <= before + 2, said
    assert (cluster / "scontrol.log").read_text() == "requeue 4711\n"
    done = epochs_of(cluster / "runs/night")
    (cluster / "train.toml").write_text(SETTINGS.format(epochs=done + 1))
    code, said = finish(submit(cluster, "night"))
    assert code == 0, said
    assert epochs_of(cluster / "runs/night") == done + 1
    assert (cluster / "scontrol.log").read_text() == "requeue 4711\n"


@pytest.mark.slow
def test_a_signal_ends_a_training_job_within_ten_seconds(cluster: Path) -> None:
    (cluster / "train.toml").write_text(SETTINGS.format(epochs=400))
    for number in (signal.SIGTERM, signal.SIGUSR1):
        shutil.rmtree(cluster / "runs/one-gpu", ignore_errors=True)
        job = submit(cluster, "train")
        while not (cluster / "runs/one-gpu/last.pt").exists() and job.process.poll() is None:
            time.sleep(0.05)
        os.kill(int((cluster / "srun.pid").read_text()), number)
        began = time.monotonic()
        code, said = finish(job)
        assert code == 75 and time.monotonic() - began < 10, said
    shutil.rmtree(cluster / "runs/one-gpu")


@pytest.mark.slow
def test_several_tasks_and_several_nodes_train_the_same_run(cluster: Path) -> None:
    (cluster / "train.toml").write_text(SETTINGS.format(epochs=2))
    for name, tasks in (("train", 1), ("train-4", 2), ("train-8", 1), ("loop", 1)):
        code, said = finish(submit(cluster, name, most_tasks=tasks))
        assert code == 0, said
    two, other = (
        checkpoint.load(cluster / "runs" / run / "last.pt", "training-state")["model"]
        for run in ("four-gpus", "two-nodes")
    )
    assert all(torch.equal(two[name], other[name]) for name in two)  # two tasks on one node, one on each of two
    assert epochs_of(cluster / "runs/one-gpu") == epochs_of(cluster / "runs/two-nodes") == 2


@pytest.mark.slow
def test_the_jobs_of_an_array_and_the_tasks_of_a_step_write_the_same_maps(cluster: Path) -> None:
    (cluster / "train.toml").write_text(SETTINGS.format(epochs=1))
    if not (cluster / "runs/night/best.pt").exists():
        assert finish(submit(cluster, "night"))[0] == 0
    jobs = [
        submit(cluster, "maps", SLURM_ARRAY_TASK_ID=number, SLURM_ARRAY_TASK_COUNT=4, SLURM_JOB_ID=number)
        for number in range(1, 5)
    ]
    for job in jobs:
        code, said = finish(job)
        assert code == 0, said
    code, said = finish(submit(cluster, "maps-4"))
    assert code == 0, said
    files = sorted(path.relative_to(cluster / "maps") for path in (cluster / "maps").rglob("*.png"))
    assert len(files) == 9
    for path in (*files, Path("results.csv")):
        assert (cluster / "maps" / path).read_bytes() == (cluster / "maps-of-four" / path).read_bytes(), path
