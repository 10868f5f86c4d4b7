"""Who may provision an app now, and what those learn who waited for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ConnectionFailed


class Attempts:
    """The attempts of one app, of which there is one at a time; what holds the others up is the client's own lock.

    Whoever waited for one that came to no answer would get none either, only later: it is told the same.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._is_running = False
        # The last one that failed, and how.
        self._failed: tuple[int, str] | None = None

    def awaited(self) -> int:
        """The number of the first attempt that is over when one that begins to wait now has its turn."""
        return self._begun if self._is_running else self._begun + 1

    @contextmanager
    def attempt(self, awaited: int) -> Iterator[None]:
        """Around the steps of one whose turn it is. Raises the ConnectionFailed of an attempt that it waited for."""
        if self._failed and self._failed[0] >= awaited:
            raise ConnectionFailed(self._failed[1])
        self._begun += 1
        self._is_running = True
        try:
            yield
        except ConnectionFailed as error:
            self._failed = (self._begun, error.text)
            raise
        finally:
            self._is_running = False


class Clock:
    """The time that a verb may take, where it has to wait for its turn."""

    def __init__(self, timeout: float, waited: float = 0) -> None:
        self._timeout = timeout
        # Seconds by which the next call may take less.
        self._waited = waited

    def limit(self, wait: float) -> float:
        """Seconds that a call may take now, of which the daemon was asked to wait some."""
        return max(self._timeout + wait - self._waited, 0)

    def called(self) -> None:
        """A call was made: what was waited counts against that one."""
        self._waited = 0

    def waited(self, seconds: float, wait: float) -> Clock:
        """It waited for its turn, which the daemon may be asked to wait in. Returns the clock of the steps in it."""
        self._waited = max(seconds - wait, 0)
        return Clock(self._timeout, seconds)
