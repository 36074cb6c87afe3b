"""Wait for a call no longer than a deadline, whatever the call does."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.2


def within(seconds: float, call: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """Return the result of a call that makes progress.

    The timeouts of libraries count per address, per attempt or per byte, so that together they have no bound. Here the
    call runs in a thread, which is left to itself after the deadline.

    Args:
        seconds: Longest time without progress.
        call: The call.
        progress: Returns a number that changes while the call makes progress; without it, ``seconds`` is the longest
            time of the whole call.

    Raises:
        TimeoutError: If there was no progress for so long. Errors of the call are raised as they are.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again by the waiting thread
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="deadline").start()
    seen, since = progress(), time.monotonic()
    while True:
        try:
            return future.result(min(POLL_SECONDS, seconds))
        except TimeoutError:
            if future.done():
                raise
        now = progress()
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > seconds:
            raise TimeoutError(f"no answer within {seconds:g} seconds")
