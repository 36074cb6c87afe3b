"""Start commands in forks of one process that has imported everything, because importing takes seconds.

Run as ``python -m tests.cli.forks``: it reads command lines as JSON lists from standard input, and prints the process
number of each command when it starts and its exit code when it ends (negative: the signal that killed it).
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cvkit.cli import main as program
from cvkit.cli.resume import TRAINING_COMMANDS


class Forks:
    """The process that starts commands, as a context manager."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> "Forks":
        command = [sys.executable, "-m", "tests.cli.forks", str(self._log)]
        root, pipe = Path(__file__).resolve().parents[2], subprocess.PIPE
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()

    def start(self, words: Sequence[object]) -> int:
        """Start ``cvkit words...``, and return its process number. One command runs at a time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """Wait for the command that was started, and return its exit code."""
        return self._read()

    def _read(self) -> int:
        output: IO[str] | None = self._process.stdout
        assert output is not None
        return int(output.readline())


def report(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends."""
    for name in TRAINING_COMMANDS:
        importlib.import_module(f"cvkit.commands.{name.replace('-', '_')}")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = ["cvkit", *json.loads(line)]
            program.main()
        report(child)
        report(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
