"""Send signals to processes that do not handle signals themselves."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows cannot send these signals")
CVKIT = [sys.executable, "-m", "cvkit"]
STOPPED = "error: stopped by a signal during start-up: run the same command again.\n"
ENDS = {
    "SIGTERM": (75, STOPPED),
    "SIGUSR1": (75, STOPPED),
    "SIGINT": (130, "error: interrupted.\n"),
}
INSTALLED = (
    "import os, signal\nfrom cvkit.engine.start_up import START_UP\nSTART_UP.install()\nSTART_UP.ends_at_once = False\n"
)


def send_self(name: str) -> str:
    """Return a line of Python that sends a signal to its own process."""
    return f"import os, signal; os.kill(os.getpid(), signal.{name})\n"


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process."""
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=env)


def catches_signals(process: int) -> bool:
    """Return whether a process has a handler of SIGTERM (Linux only)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_during_an_import_ends_the_command_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"{send_self(name)}import time; time.sleep(60)")
    words = ["classify", "photo.png", "--model", "vgg16"]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    ended = subprocess.run([*CVKIT, *words], capture_output=True, text=True, check=False, env=env)
    assert (ended.returncode, ended.stderr, ended.stdout) == (*ENDS[name], "")


def test_a_signal_during_an_import_is_reported_in_the_json_document(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(send_self("SIGTERM"))
    ended = run_script(
        f"import sys; sys.argv = ['cvkit', '--json']; sys.path.append({str(tmp_path)!r})\n{INSTALLED}import late"
    )
    error = json.loads(ended.stdout)["error"]
    assert error == {"kind": "stopped", "message": STOPPED.removeprefix("error: ").strip(), "exit_code": 75}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_a_signal_right_after_the_start_ends_with_75() -> None:
    started = subprocess.Popen([*CVKIT, "env"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches_signals(started.pid):
        time.sleep(0.001)
    started.send_signal(signal.SIGTERM)
    assert started.communicate() == ("", STOPPED)
    assert started.returncode == 75


def test_a_signal_outside_an_import_lets_the_command_clean_up() -> None:
    script = (
        "import cvkit.cli.main as program\n"
        "def app(**_):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "program.app = app\n"
        "program.main()\n"
    )
    ended = run_script(INSTALLED + script)
    assert ended.returncode == 75
    assert ended.stdout == "cleaned up\n"
    assert ended.stderr == "error: stopped by a signal: run the same command again.\n"


def test_a_signal_is_not_lost_where_python_ignores_exceptions() -> None:
    script = (
        "class Held:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "held = Held()\n"
        "del held\n"
        "print('never')\n"
    )
    ended = run_script(INSTALLED + script)
    assert ended.returncode == 75
    assert ended.stdout == "" and ended.stderr == "error: stopped by a signal: run the same command again.\n"


def test_a_signal_after_the_exit_code_is_chosen_does_not_change_it() -> None:
    script = (
        "import sys\n"
        "class Late:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.late = Late()\n"
        "START_UP.choose(3)\n"
        "sys.exit(3)\n"
    )
    ended = run_script(INSTALLED + script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")


def test_a_process_that_another_one_started_exits_with_0_and_writes_nothing() -> None:
    ended = run_script(
        f"{INSTALLED}try:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept KeyboardInterrupt:\n    START_UP.end()",
        LOCAL_RANK="1",
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_forked_process_keeps_the_default_action() -> None:
    script = (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    assert run_script(INSTALLED + script).stdout == f"{signal.SIGTERM.value}\n"


def test_a_signal_ends_a_process_that_is_blocked_in_a_library() -> None:
    """Python runs handlers between two instructions of the main thread, which waits for a lock here."""
    script = (
        "import ctypes, threading\n"
        "from cvkit.engine import start_up\n"
        "start_up.BLOCKED_SECONDS = 0.2\n"
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "library, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "library.pthread_mutex_lock(lock)\n"
        "library.pthread_mutex_lock(lock)\n"
        "print('never')\n"
    )
    started = time.monotonic()
    ended = run_script(INSTALLED + script)
    assert ended.returncode == 75 and time.monotonic() - started < 30
    assert ended.stdout == "" and ended.stderr == "error: stopped by a signal: run the same command again.\n"


def test_a_signal_to_a_forked_process_does_not_end_its_parent() -> None:
    script = (
        "import time, warnings\n"
        "from cvkit.engine import start_up\n"
        "start_up.BLOCKED_SECONDS = 0.05\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # Python 3.12 warns of a fork beside threads\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: os._exit(5))\n"
        "    time.sleep(60)\n"
        "time.sleep(0.1)\n"
        "os.kill(child, signal.SIGTERM)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "time.sleep(0.3)\n"
    )
    ended = run_script(INSTALLED + script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "5\n", "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", ENDS)
def test_a_signal_at_a_random_moment_of_the_start_up(name: str) -> None:
    """The command refuses its input after about three seconds; until then each signal has its exit code and line."""
    draw, codes = random.Random(name), []
    for _ in range(40):
        words = ["classify", "missing.png", "--model", "vgg16", "--weights", "none", "--device", "cpu"]
        started = subprocess.Popen(
            [*CVKIT, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not catches_signals(started.pid):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 3))
        started.send_signal(getattr(signal, name))
        _, errors = started.communicate()
        assert errors.startswith("error: ") and errors.count("\n") == 1, errors
        codes.append(started.returncode)
    code, _ = ENDS[name]
    assert set(codes) <= {code, 1}  # 1: the command ended before the signal came
    assert codes.count(code) >= 10
