"""Run commands whose standard streams are closed, broken or full."""

import subprocess
import sys
from pathlib import Path

import pytest

from cvkit.errors import UsageError
from cvkit.inputs import find_inputs

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a POSIX shell and /dev/full")
CVKIT = f"{sys.executable} -m cvkit"
# A command that prints more than the buffer of a pipe holds.
PRINTS = f"""{sys.executable} -c '
import cvkit.cli.main as program
program.app = lambda **_: program.sys.stdout.write("line\\n" * 50000) and 3
program.main()'"""


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in bash, which ends with the code of cvkit in a pipe."""
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_closed_pipe_keeps_the_exit_code_of_the_command(reader: str) -> None:
    ended = shell(f"{PRINTS} | {reader}")
    assert (ended.returncode, ended.stderr) == (3, "")


def test_a_full_disk_behind_stdout_is_one_line_and_exit_1() -> None:
    ended = shell(f"{CVKIT} --help > /dev/full")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: stdout cannot be written (No space left on device)")
    assert ended.stderr.count("\n") == 1


def test_a_command_without_any_standard_stream_ends_well() -> None:
    assert shell(f"{PRINTS} <&- >&- 2>&-").returncode == 3


def test_an_error_without_stderr_keeps_its_exit_code() -> None:
    for stderr in ("/dev/full", "&-"):
        ended = shell(f"{CVKIT} models path 2>{stderr}")
        assert (ended.returncode, ended.stdout) == (2, "")


def test_a_list_on_a_closed_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input, which is closed"):
        find_inputs(["-"])


def test_files_never_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = (
        "from cvkit.cli.streams import guard_streams\n"
        "guard_streams()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "assert file.fileno() > 2\n"
    )
    ended = shell(f'{sys.executable} -c "{script}" <&- >&- 2>&-')
    assert ended.returncode == 0


def test_a_busy_pipe_gets_everything() -> None:
    """A descriptor that does not block refuses a write while its reader is slow."""
    script = (
        "import os, sys\n"
        "from cvkit.cli.streams import guard_streams\n"
        "os.set_blocking(1, False)\n"
        "guard_streams()\n"
        "sys.stdout.write('x' * 1000000)\n"
    )
    ended = shell(f'{sys.executable} -c "{script}" | (sleep 0.3; wc -c)')
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "1000000", "")
