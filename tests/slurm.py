"""Run the scripts of ``docs/slurm.md`` with stand-ins for ``srun`` and ``scontrol``."""

import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/slurm.md"

# Starts the tasks of a step with the variables of srun, passes signals on, and returns the largest exit code.
SRUN = """#!{python}
import os, signal, subprocess, sys
command = [word for position, word in enumerate(sys.argv[1:]) if position or not word.startswith("--")]
nodes, tasks = int(os.environ["SLURM_NNODES"]), int(os.environ["SLURM_NTASKS_PER_NODE"])
children = []
for rank in range(nodes * tasks):
    step = dict(SLURM_PROCID=rank, SLURM_LOCALID=rank % tasks, SLURM_NODEID=rank // tasks, SLURM_STEP_ID=0,
                SLURM_STEP_NUM_TASKS=nodes * tasks, SLURM_STEP_NUM_NODES=nodes, SLURM_NTASKS=nodes * tasks)
    children.append(subprocess.Popen(command, env=os.environ | {{k: str(v) for k, v in step.items()}}))
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: [child.send_signal(number) for child in children])
with open("srun.pid", "w") as stream:
    stream.write(str(os.getpid()))
codes = [child.wait() for child in children]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""
SCONTROL = '#!/bin/bash\necho "$@" >> scontrol.log\n'


def scripts() -> dict[str, str]:
    """Return the scripts of the page by the name of their job."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = [re.search(r"--job-name=(\S+)", block) for block in blocks]
    return {match[1] if match else "loop": block for match, block in zip(names, blocks, strict=True)}


def install(folder: Path) -> None:
    """Put ``srun``, ``scontrol``, ``cvkit`` and the file that the scripts source into a folder."""
    programs = {
        "srun": SRUN.format(python=sys.executable),
        "scontrol": SCONTROL,
        "cvkit": f'#!/bin/bash\nexec "{sys.executable}" -m cvkit "$@"\n',
    }
    (folder / "bin").mkdir()
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "home/cvkit/bin").mkdir(parents=True)
    (folder / "home/cvkit/bin/activate").write_text(f'export PATH="{folder / "bin"}:$PATH"\n')


@dataclass(frozen=True)
class Job:
    """A job that was started, and the file with its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def finish(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and the output."""
        code = self.process.wait(timeout=300)
        return code, self.log.read_text(encoding="utf-8")


def submit(folder: Path, name: str, *, most_tasks: int = 2, **variables: object) -> Job:
    """Start the script of a job in a folder with the variables of its ``#SBATCH`` lines.

    Args:
        folder: Where ``install`` put the programs, and where the data is.
        name: Name of the job.
        most_tasks: Tasks per node to start at most, instead of those that the script asks for.
        variables: Further environment variables.
    """
    text = scripts()[name]
    wanted = {option: int(number) for option, number in re.findall(r"--(nodes|ntasks-per-node)=(\d+)", text)}
    nodes, tasks = wanted.get("nodes", 1), min(most_tasks, wanted.get("ntasks-per-node", 1))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    job: dict[str, object] = {
        "SLURM_JOB_ID": 4711,
        "SLURM_JOB_NAME": name,
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS_PER_NODE": tasks,
        "SLURM_NTASKS": nodes * tasks,
        "SLURM_NODELIST": "127.0.0.1",
        "HOME": folder / "home",
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": PAGE.parents[1],
        "OMP_NUM_THREADS": 1,
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment = {**kept, **{key: str(value) for key, value in (job | variables).items()}}
    script = folder / f"{name}-{environment['SLURM_JOB_ID']}.sh"  # bash reads a script while it runs it
    script.write_text(text)
    log = script.with_suffix(".log")
    with log.open("wb") as stream:
        command = ["bash", script.name]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    return Job(process, log)
