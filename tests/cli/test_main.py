"""The program as a whole: help, version, exit codes, streams."""

import subprocess
import sys
from pathlib import Path

import pytest

import cvkit
from cvkit.cli import main as program

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


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: object) -> int:
        del options
        raise ZeroDivisionError

    monkeypatch.setattr(program, "app", broken)
    with pytest.raises(ZeroDivisionError):
        program.main()


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
