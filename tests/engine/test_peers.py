"""Test that the processes of a command stop together, add up their counts, and end if one of them dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from torch.distributed import HashStore

from cvkit.engine import peers as module
from cvkit.engine.peers import Peers, death_of_peer, end_with_peers, watch_peers
from cvkit.engine.stop import StopSignal
from cvkit.errors import ProcessError

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
Group = Callable[..., list[Peers]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "GRACE_S", 1.0)
    monkeypatch.delenv(module.PARENT, raising=False)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes of processes that a watching thread ends."""
    codes: list[int] = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    return codes


@pytest.fixture
def group(ended: list[int]) -> Iterator[Group]:
    """Make processes, which are threads here, and which share a store."""
    made: list[Peers] = []

    def make(count: int, children: dict[int, "subprocess.Popen[bytes]"] | None = None) -> list[Peers]:
        store = HashStore()
        for rank in range(count):
            peers = Peers(count, (children or {}) if rank == 0 else {})
            peers.rank, peers._store = rank, store
            made.append(peers)
        return made

    yield make
    del ended
    for peers in made:
        peers._closed = True
        for child in peers._children.values():
            child.kill()
            child.wait()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_counts_of_all_processes_are_added(group: Group) -> None:
    totals: dict[int, list[int]] = {}

    def finish(peers: Peers) -> None:
        totals[peers.rank] = peers.total([peers.rank, 10])

    threads = [threading.Thread(target=finish, args=(peers,)) for peers in group(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == {rank: [3, 30] for rank in range(3)}


@pytest.mark.parametrize("signalled", [0, 1])
def test_a_stop_of_one_process_stops_all(group: Group, signalled: int) -> None:
    members = group(3)
    stops = [StopSignal() for _ in members]
    with members[0].stopping(stops[0]), members[1].stopping(stops[1]), members[2].stopping(stops[2]):
        stops[signalled].request()
        wait_for(lambda: all(stop.requested for stop in stops))


def test_a_killed_child_stops_the_others_with_a_message(group: Group) -> None:
    child = subprocess.Popen(SLEEP)
    first, second = group(2, {1: child})
    stop, other = StopSignal(), StopSignal()
    with first.stopping(stop), second.stopping(other):
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ProcessError, match=r"^process 2 of 2 was killed by SIGKILL.*: run the same command again"):
            first.total([1])
        wait_for(lambda: other.requested)
        assert stop.requested
        with pytest.raises(ProcessError) as error:
            second.total([1])
        assert error.value.reported  # by the first process


@pytest.mark.parametrize(("code", "message"), [(3, "ended with exit code 3"), (-15, "was killed by SIGTERM")])
def test_the_end_of_a_child_is_described(group: Group, code: int, message: str) -> None:
    script = "import os, signal; signal.signal(15, signal.SIG_DFL); "
    script += f"os._exit({code})" if code > 0 else f"os.kill(os.getpid(), {-code})"
    (first,) = group(1, {1: subprocess.Popen([sys.executable, "-S", "-c", script])})
    wait_for(lambda: first.lost)
    assert message in str(first.error())


def test_a_child_that_ends_well_stops_nobody(group: Group) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    (first,) = group(1, {1: child})
    child.wait()
    time.sleep(0.1)
    assert first.lost is None and first.total([4]) == [4]


def test_a_process_whose_parent_has_ended_ends(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.PARENT, "1")  # not the parent of this process
    (peers,) = group(1)
    wait_for(lambda: peers.lost)
    assert peers.lost == "process 1 of 1 has ended unexpectedly: run the same command again to continue."


def test_a_process_that_hangs_in_a_library_is_ended(
    group: Group, monkeypatch: pytest.MonkeyPatch, ended: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ABRUPT_S", 0.05)
    children = {1: subprocess.Popen(SLEEP), 2: subprocess.Popen(SLEEP)}
    group(1, children)
    os.kill(children[1].pid, signal.SIGKILL)
    wait_for(lambda: ended)
    assert ended == [1] and "process 2 of 1 was killed by SIGKILL" in caplog.text
    assert children[2].wait(10) == -signal.SIGKILL


def test_a_process_that_does_not_report_is_dead(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = group(2)
    wait_for(lambda: first._seen.get(1))
    monkeypatch.setattr(module, "SILENT_S", 0.1)
    second._closed = True  # its thread ends without a farewell
    wait_for(lambda: first.lost)
    assert first.lost is not None and "process 2 of 2 has not answered" in first.lost


def test_a_process_that_has_left_is_not_missed(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = group(2)
    wait_for(lambda: first._seen.get(1))
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    second.leave()
    time.sleep(0.2)
    assert first.lost is None


def test_an_error_of_one_process_ends_the_others(group: Group) -> None:
    first, second = group(2)
    stop = StopSignal()
    with second.stopping(stop):
        first.abandon("process 1 of 2 ended with exit code 1.")
        wait_for(lambda: stop.requested)
    assert second.lost == "process 1 of 2 ended with exit code 1."


def test_without_other_processes_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Current, "peers", None)
    assert death_of_peer() is None
    end_with_peers(1)


@pytest.mark.usefixtures("ended")
def test_the_cause_of_a_lost_connection_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Current, "peers", None)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.1); raise SystemExit(9)"])
    peers = watch_peers(2, {1: child})
    error = death_of_peer()
    peers._closed = True
    assert error is not None and "process 2 of 2 ended with exit code 9" in str(error)
