"""Watch the processes of a command: pass a stop on to all of them, and end all of them if one dies."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cvkit.engine.launchers import PARENT
from cvkit.engine.stop import StopSignal
from cvkit.errors import ExitCode, ProcessError

if TYPE_CHECKING:
    from torch.distributed import Store

POLL_S = 0.2
SILENT_S = 120.0  # after which a process that does not report counts as dead; its thread reports every POLL_S
SILENT_AT_STOP_S = 10.0  # the same after a stop, because torchrun kills a process 30 seconds after it asked it to stop
GRACE_S = 30.0  # for the work in flight after another process died
JOIN_S = 2.0  # for the watching thread to end
ABRUPT_S = 3.0  # for the main thread to fail by itself, because its connection to the dead process is closed


class Peers:
    """The processes of a command, seen from one of them. A thread watches the others.

    Attributes:
        rank: Number of this process, from 0; known once it is connected.
        world_size: Number of processes.
        lost: What happened to a process that died; None if all are well.
    """

    def __init__(self, world_size: int, children: Mapping[int, "subprocess.Popen[bytes]"]) -> None:
        self.rank, self.world_size = 0, world_size
        self.lost: str | None = None
        self._children = dict(children)
        self._parent = os.environ.get(PARENT)
        self._store: Store | None = None
        self._stop: StopSignal | None = None
        self._published = self._closed = self._told = False
        self._seen: dict[int, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="peers")
        self._thread.start()

    def connect(self, rank: int) -> None:
        """Connect to the store that all processes share, after the processes have found each other."""
        import torch.distributed

        self.rank = rank
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = torch.distributed.TCPStore(address, port, is_master=False)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun keeps the store when it starts anew
        self._store = torch.distributed.PrefixStore(f"cvkit/{attempt}", store)

    @contextmanager
    def stopping(self, stop: StopSignal) -> Iterator[None]:
        """Pass a stop of this process on to the others, and request a stop here if another process stops or dies."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def total(self, numbers: list[int]) -> list[int]:
        """Return the sums of whole numbers over all processes. Every process waits here for the others, without limit.

        Raises:
            ProcessError: If another process has died.
        """
        store = self._store
        assert store is not None
        keys = [f"total/{rank}" for rank in range(self.world_size)]
        with self._exchange():
            store.set(keys[self.rank], json.dumps(numbers))
        while self.lost is None:
            with self._exchange():
                if store.check(keys):
                    parts = [json.loads(store.get(key)) for key in keys]
                    self.leave()
                    return [sum(values) for values in zip(*parts, strict=True)]
            time.sleep(POLL_S)
        raise self.error()

    def error(self) -> ProcessError:
        """Return the error for the end of another process."""
        with self._lock:
            told, self._told = self._told, True
        return ProcessError(self.lost or "another process has ended.", reported=told)

    def leave(self) -> None:
        """End the watch, because this process has done its part. The first process waits until all have left."""
        store = self._store
        if self._closed or store is None:
            return
        with contextlib.suppress(RuntimeError):  # the first process has ended already
            store.set(f"left/{self.rank}", "1")
            self._closed = True
            deadline = time.monotonic() + GRACE_S
            keys = [f"left/{rank}" for rank in range(self.world_size)]
            while self.rank == 0 and not store.check(keys) and time.monotonic() < deadline:
                time.sleep(POLL_S / 4)

    def abandon(self, message: str) -> None:
        """Tell the other processes that this one ends with an error, and wait until those it started have ended."""
        if self._closed:
            return
        self._publish(message)
        self._closed = True
        deadline = time.monotonic() + GRACE_S
        for child in self._children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        self._kill_children()

    def join(self) -> None:
        """Wait a moment for the watching thread to end. Python would abort if it ended inside a call of PyTorch."""
        self._thread.join(JOIN_S)

    def _watch(self) -> None:
        while not self._closed and self.lost is None:
            self._check_family()
            if (store := self._store) is not None:
                with self._exchange():
                    self._exchange_stop(store)
                    self._check_reports(store)
            time.sleep(POLL_S)
        if self.lost is not None and not self._closed:
            self._end_unless_main_thread_does()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Take an error of the store as the end of the process that holds it."""
        try:
            yield
        except RuntimeError:
            self._store = None
            if not self._closed:
                self._lose(
                    f"process 1 of {self.world_size} has ended unexpectedly: run the same command again to continue."
                )

    def _check_family(self) -> None:
        """Look whether a child has ended with an error, or the parent has ended."""
        if self._parent is not None and os.getppid() != int(self._parent):
            self._lose(
                f"process 1 of {self.world_size} has ended unexpectedly: run the same command again to continue."
            )
        for rank, child in self._children.items():
            if child.poll():
                name = f"process {rank + 1} of {self.world_size}"
                self._lose(f"{name} {_ending(child.returncode)}: run the same command again to continue.")

    def _exchange_stop(self, store: "Store") -> None:
        stop = self._stop
        if stop is None:
            return
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C, which the main thread handles
            if stop.requested and not self._published:
                store.set("stop", "1")
                self._published = True
        if not self._published and store.check(["stop"]):
            self._published = True
            stop.request()

    def _check_reports(self, store: "Store") -> None:
        """Report that this process is alive, and look at the reports of the others."""
        now = time.monotonic()
        limit = SILENT_AT_STOP_S if self._published else SILENT_S
        store.set(f"alive/{self.rank}", str(now))
        if self.lost is None and store.check(["lost"]):
            self._told = True
            self._lose(store.get("lost").decode())
        for rank in range(self.world_size):
            if rank != self.rank and store.check([f"alive/{rank}"]):
                report = store.get(f"alive/{rank}")
                known, since = self._seen.get(rank, (b"", now))
                if report != known:
                    self._seen[rank] = (report, now)
                elif now - since > limit and not store.check([f"left/{rank}"]):
                    self._lose(
                        f"process {rank + 1} of {self.world_size} has not answered for {limit:.0f} seconds: "
                        "run the same command again to continue."
                    )

    def _lose(self, message: str) -> None:
        with self._lock:
            if self.lost is not None:
                return
            self.lost = message
        if not self._told:
            self._publish(message)
        if self._stop is not None:
            self._stop.request()

    def _publish(self, message: str) -> None:
        if (store := self._store) is not None:
            with contextlib.suppress(RuntimeError):  # the process that holds the store has ended
                store.set("lost", message)

    def _end_unless_main_thread_does(self) -> None:
        """End this process after a while. Its main thread may be waiting for the dead process inside a library."""
        time.sleep(ABRUPT_S if self._stop is None else GRACE_S)
        if self._closed:
            return
        self._kill_children()
        with self._lock:
            told, self._told = self._told, True
        if not told:
            logging.getLogger("cvkit").error("error: %s", self.lost)
        os._exit(ExitCode.ERROR)

    def _kill_children(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.kill()


def _ending(code: int) -> str:
    """Describe how a process ended."""
    if code > 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        memory = ", which the system sends when memory runs out" if name == "SIGKILL" else ""
        return f"was killed by {name}{memory}"
    return f"was killed by signal {-code}"


class _Current:
    """The peers of this process, for the end of the program."""

    peers: Peers | None = None


def watch_peers(world_size: int, children: Mapping[int, "subprocess.Popen[bytes]"]) -> Peers:
    """Begin to watch the other processes of the command.

    Args:
        world_size: Number of processes.
        children: The processes that this one started, by their rank on this node.
    """
    _Current.peers = Peers(world_size, children)
    return _Current.peers


def current_peers() -> Peers | None:
    """Return the other processes of the command, or None if there are none."""
    return _Current.peers


def end_with_peers(code: int) -> None:
    """Tell the other processes of the command how this one ends.

    Args:
        code: Its exit code.
    """
    peers = _Current.peers
    if peers is None:
        return
    if code in (ExitCode.OK, ExitCode.PARTIAL, ExitCode.STOPPED):
        peers.leave()
    else:
        peers.abandon(f"process {peers.rank + 1} of {peers.world_size} ended with exit code {code}.")
    peers.join()


def death_of_peer() -> ProcessError | None:
    """Return the error for the end of another process, or None if all are well.

    An error of this process may have its cause there. It can arrive before the watching thread sees why.
    """
    peers = _Current.peers
    if peers is None:
        return None
    deadline = time.monotonic() + ABRUPT_S / 2
    while peers.lost is None and time.monotonic() < deadline:
        time.sleep(POLL_S / 4)
    return peers.error() if peers.lost is not None else None
