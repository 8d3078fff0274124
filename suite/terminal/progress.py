"""Progress with counts and time left, on standard error, so that results can be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from suite.system.durations import duration
from suite.terminal.lines import print_note

# Seconds before the pace is measured: kernels are compiled first, and results on disk are skipped.
SETTLED = 10.0
EVERY = 30.0  # seconds between two lines

Advance = Callable[[int], None]
Reading = tuple[float, int]  # seconds since the start, and the count by then
Existing = tuple[int, int, str]  # count on disk, total, unit


def print_start(
    folder: Path, work: str, existing: Sequence[Existing], notes: Sequence[str], quiet: bool
) -> None:
    """Print `notes`, where the results of the `work` go, and what is there, unless `quiet`."""
    if not quiet:
        for text in (*notes, start_line(folder, work, existing)):
            print_note(text)


def start_line(folder: Path, work: str, existing: Sequence[Existing]) -> str:
    """The line of `print_start`, with the `existing` results if an earlier start left any."""
    counts = []
    for done, total, unit in existing:
        share = "all" if done == total else f"{done:,} of"
        counts.append(f"{share} {total:,} {unit}")
    if not any(done for done, _, _ in existing):
        return f"{folder}: {work}"
    return f"{folder}: {work}, {' and '.join(counts)} are there already"


@contextmanager
def progress_bar(total: int, quiet: bool, unit: str = "outcomes") -> Iterator[Advance]:
    """Show progress through `total` units; yields the function that advances it.

    A bar on a terminal. Elsewhere, as in the log of a batch job, a line every `EVERY` seconds; a
    short run prints none. `quiet` shows nothing.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Times(),
    )
    # Without a terminal, rich would print nothing before the end.
    in_lines = not quiet and not console.is_interactive
    with Progress(*columns, console=console, disable=quiet or in_lines) as bar:
        number = bar.add_task(unit, total=total)
        with _lines(bar.tasks[0]) if in_lines else nullcontext():
            yield partial(bar.advance, number)


class _Times(ProgressColumn):
    """Time since the start, and the time left."""

    max_refresh = 0.5  # a figure that changes ten times a second cannot be read

    def render(self, task: Task) -> Text:
        """Both in words, the second once there is a pace to tell it by."""
        words = duration(task.finished_time or task.elapsed or 0.0)
        if task.time_remaining and not task.finished:
            words += f", about {duration(task.time_remaining)} left"
        return Text(words)


@contextmanager
def _lines(task: Task) -> Iterator[None]:
    """Print lines of progress, and a last one at the end if there was any."""
    over, printed = Event(), Event()

    def reading() -> Reading:
        return task.elapsed or 0.0, int(task.completed)

    def show(since: Reading) -> None:
        print_note(line(int(task.total or 0), task.description, since, reading()))

    def print_lines() -> None:
        if over.wait(SETTLED):
            return
        settled = reading()
        while not over.wait(EVERY):
            printed.set()
            show(settled)

    # From a thread, since a single batch may take minutes.
    thread = Thread(target=print_lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if printed.is_set():
        show(reading())


def line(total: int, unit: str, since: Reading, now: Reading) -> str:
    """The count `now`, and the time left at the pace since an earlier reading."""
    seconds, done = now
    text = f"{done:,} of {total:,} {unit} ({100 * done // max(total, 1)} %) in {duration(seconds)}"
    pace = (done - since[1]) / max(seconds - since[0], 1e-9)
    # The pace is negative while a shard is repeated with a smaller batch.
    if pace <= 0 or done >= total:
        return text
    return f"{text}, about {duration((total - done) / pace)} left"
