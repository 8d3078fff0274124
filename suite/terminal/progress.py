"""Progress with time left, on standard error, so that output can be piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# seconds after which the pace counts: kernels are compiled, and what was on disk already is passed
SETTLED = 10.0
EVERY = 30.0  # seconds between two lines

Advance = Callable[[int], None]
Reading = tuple[float, int]  # seconds since the start, and how much was done by then
Stock = tuple[int, int, str]  # how much is there, of how much, and of what


def announce(folder: Path, asked: str, stock: Sequence[Stock], quiet: bool) -> None:
    """Say on standard error, unless `quiet`, where results of what was `asked` will be, and what is there already."""
    if not quiet:
        _tell(opening(folder, asked, stock))


def opening(folder: Path, asked: str, stock: Sequence[Stock]) -> str:
    """The line of `announce`: the `stock` of an earlier start, where it left any."""
    if not any(done for done, _, _ in stock):
        return f"{folder}: {asked}"
    told = (
        f"{'all' if done == total else f'{done:,} of'} {total:,} {unit}"
        for done, total, unit in stock
    )
    return f"{folder}: {asked}, {' and '.join(told)} are there already"


@contextmanager
def progress_bar(total: int, quiet: bool, unit: str = "outcomes") -> Iterator[Advance]:
    """A function that advances what is shown by so many of `unit`; `quiet` shows nothing.

    A bar on a terminal. Elsewhere, as in the log of a batch job, a line every `EVERY` seconds: a
    short run has none.
    """
    console = Console(stderr=True)
    with (
        _bar(total, unit, console, quiet)
        if quiet or console.is_interactive
        else _lines(total, unit) as advance
    ):
        yield advance


@contextmanager
def _bar(total: int, unit: str, console: Console, quiet: bool) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task(unit, total=total)

        def advance(count: int) -> None:
            bar.advance(task, count)

        yield advance


@contextmanager
def _lines(total: int, unit: str) -> Iterator[Advance]:
    """Lines come from a thread, so that they come while one batch takes minutes; the last one when all is done."""
    begun, done, said = monotonic(), 0, False
    over = Event()

    def advance(count: int) -> None:
        nonlocal done
        done += count

    def reading() -> Reading:
        return monotonic() - begun, done

    def say(since: Reading) -> None:
        _tell(line(total, unit, since, reading()))

    def keep_saying() -> None:
        nonlocal said
        if over.wait(SETTLED):
            return
        settled = reading()
        while not over.wait(EVERY):
            said = True
            say(settled)

    thread = Thread(target=keep_saying, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        over.set()
        thread.join()
    if said:
        say(reading())


def _tell(text: str) -> None:
    with suppress(OSError):  # a log on a full disk, or that nobody reads any more, ends no run
        print(text, file=sys.stderr, flush=True)


def line(total: int, unit: str, since: Reading, now: Reading) -> str:
    """How much of `total` is done `now`, and the time left at the pace `since` then."""
    seconds, done = now
    text = f"{done:,} of {total:,} {unit} ({100 * done // max(total, 1)} %) in {_clock(seconds)}"
    pace = (done - since[1]) / max(seconds - since[0], 1e-9)
    return (
        f"{text}, about {_clock((total - done) / pace)} left" if pace > 0 and done < total else text
    )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
