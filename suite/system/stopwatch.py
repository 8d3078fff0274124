"""Where the time of this process goes, by part of the work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by part since the last `reset`; parts may be nested, each counts its whole time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def reset(self) -> None:
        """Forget all measurements."""
        self.seconds.clear()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to the part `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to the part `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        """Seconds by part, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}


# One for the process: loading, evaluation and storage are timed in different rooms.
STOPWATCH = Stopwatch()
