"""The program as a whole: help, version, exit codes, streams."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cvkit
from cvkit.cli import main as program
from cvkit.cli.boundary import SHOW_TRACEBACK

from .conftest import Run


def test_version(run: Run) -> None:
    assert run("--version").out == f"cvkit {cvkit.__version__}\n"


@pytest.mark.parametrize("words", [("trainsaliency",), ("predict",), ("predict", "x", "--checkpont", "y")])
def test_wrong_usage_is_one_line_and_exit_2(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let every command fail with an error."""

    def run_command(*_: object) -> None:
        raise error

    monkeypatch.setattr("cvkit.cli.command.execute", run_command)


def test_a_bug_shows_its_traceback_and_asks_for_a_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division\x1b by zero"))
    ended = run("models", "list", "--json")
    assert ended.code == 1
    assert ended.err.startswith("Traceback (most recent call last):")
    assert "\x1b" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: unexpected ZeroDivisionError (division\\x1b by zero).")
    assert "`cvkit env`" in ended.err.splitlines()[-1]
    assert json.loads(ended.out)["error"]["kind"] == "bug"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), "memory", "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "memory", "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "system", "a.csv"),
        (OSError(errno.EMFILE, "Too many open files"), "system", "`ulimit -n`"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "system", "Broken pipe"),
        (EOFError("ran out of input"), "bug", "ran out of input"),
        (PermissionError(errno.EACCES, "Permission denied", "a\nb"), "system", "Permission denied"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, message: str
) -> None:
    fail_with(monkeypatch, error)
    ended = run("models", "list", "--json")
    assert ended.code == 1
    assert message in ended.err.splitlines()[-1]
    assert kind == "bug" or ended.err.count("\n") == 1
    document = json.loads(ended.out)["error"]
    assert document["kind"] == kind and document["exit_code"] == 1 and f"error: {document['message']}\n" in ended.err


def test_the_traceback_of_any_error_is_shown_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("models", "lst").err
    monkeypatch.setenv(SHOW_TRACEBACK, "1")
    ended = run("models", "lst")
    assert ended.err.startswith("Traceback") and ended.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("words", [("env", "x"), ("models", "lst"), ("predict", "--lr", "1")])
def test_an_error_is_also_a_json_document(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, "--json")
    error = json.loads(ended.out)["error"]
    assert ended.err == f"error: {error['message']}\n"
    assert error["exit_code"] == ended.code and error["kind"] == "usage"


def test_module_and_script_are_one_program(tmp_path: Path) -> None:
    for command in ([sys.executable, "-m", "cvkit"], [str(Path(sys.executable).with_name("cvkit"))]):
        ended = subprocess.run([*command, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert ended.stdout == f"cvkit {cvkit.__version__}\n"


def test_an_interrupt_that_a_library_turned_into_its_own_error_is_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("a call failed") from error

    monkeypatch.setattr(program, "app", interrupted)
    ended = run("models", "list")
    assert ended.code == 130
    assert ended.err == "error: interrupted.\n"


def test_an_interrupt_in_code_made_of_text_ends_with_130(tmp_path: Path) -> None:
    (tmp_path / "cut.py").write_text(
        "from cvkit.cli import main as program\n"
        "def app(**_): exec('raise KeyboardInterrupt')\n"
        "program.app = app\nprogram.main()\n"
    )
    ended = subprocess.run([sys.executable, "-m", "cut"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 130 and ended.stderr == "error: interrupted.\n"
