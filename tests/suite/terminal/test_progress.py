"""What a run says of its progress where nobody watches a terminal."""

import errno
import io
import sys
import time
from pathlib import Path

import pytest

from suite.terminal import progress
from suite.terminal.progress import line, print_start, progress_bar, start_line

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SETTLED", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.02)


def wait_for(capsys: Out, count: int) -> list[str]:
    """The lines that standard error has by the time there are so many."""
    found = ""
    for _ in range(1000):
        found += capsys.readouterr().err
        if found.count("\n") >= count:
            break
        time.sleep(0.01)
    return found.splitlines()


def test_a_long_run_says_how_far_it_is_and_how_it_ended(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    with progress_bar(4000, quiet=False) as advance:
        first = wait_for(capsys, 2)
        assert first[0] == "0 of 4,000 outcomes (0 %) in 0 s"
        advance(1500)
        *_, last = wait_for(capsys, 2)
        assert last.startswith("1,500 of 4,000 outcomes (37 %) in ")
        assert last.endswith(" left")
        advance(2500)
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("4,000 of 4,000 outcomes (100 %) in ")
    )
    time.sleep(0.1)
    printed = capsys.readouterr()
    assert printed.err == printed.out == ""


def test_a_short_run_says_nothing(capsys: Out) -> None:
    with progress_bar(10, quiet=False) as advance:
        advance(10)
    printed = capsys.readouterr()
    assert printed.err == printed.out == ""


def test_a_quiet_run_says_nothing_however_long(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    with progress_bar(10, quiet=True) as advance:
        advance(5)
        time.sleep(0.2)
    printed = capsys.readouterr()
    assert printed.err == printed.out == ""


def test_an_error_ends_the_lines_and_is_not_said_to_be_the_end(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)

    def broken() -> None:
        with progress_bar(10, quiet=False, unit="images") as advance:
            advance(5)
            wait_for(capsys, 1)
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    time.sleep(0.1)
    assert all(
        text.startswith("5 of 10 images (50 %)") for text in capsys.readouterr().err.splitlines()
    )
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    tries = []

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            tries.append(text)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with progress_bar(10, quiet=False) as advance:
        advance(10)
        time.sleep(0.2)
    assert len(tries) > 2  # it goes on trying, and tries at the end


def test_on_a_terminal_there_is_a_bar(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(10, quiet=False) as advance:
        advance(10)
    assert "10/10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("since", "now", "left"),
    [
        ((0.0, 0), (40.0, 100), ", about 6 minutes left"),
        (
            (10.0, 900),
            (40.0, 903),
            ", about 16 minutes left",
        ),  # most was on disk: it says nothing of the pace
        ((10.0, 0), (40.0, 0), ""),
        ((10.0, 50), (40.0, 40), ""),  # a shard begins again with a smaller batch
        ((10.0, 0), (40.0, 1000), ""),
    ],
)
def test_the_time_left_follows_the_pace_since_the_start_is_over(
    since: progress.Reading, now: progress.Reading, left: str
) -> None:
    assert (
        line(1000, "images", since, now).removeprefix(
            f"{now[1]:,} of 1,000 images ({now[1] // 10} %) in 40 s"
        )
        == left
    )


@pytest.mark.parametrize(
    ("existing", "shown"),
    [
        ([(0, 20_500, "outcomes")], ""),
        ([(18_432, 20_500, "outcomes")], ", 18,432 of 20,500 outcomes are there already"),
        (
            [(60, 60, "outcomes"), (3, 30, "images")],
            ", all 60 outcomes and 3 of 30 images are there already",
        ),
    ],
)
def test_a_run_begins_with_what_is_there(existing: list[progress.Existing], shown: str) -> None:
    assert (
        start_line(Path("runs/one"), "41 cells on 500 images", existing)
        == f"runs/one: 41 cells on 500 images{shown}"
    )


def test_what_is_there_is_said_once_and_not_to_a_program(capsys: Out) -> None:
    print_start(Path("one"), "2 cells", [], ["a note"], quiet=True)
    print_start(Path("two"), "2 cells", [], ["another note"], quiet=False)
    assert capsys.readouterr() == ("", "another note\ntwo: 2 cells\n")


def test_long_times_are_hours() -> None:
    assert line(1_000_000, "images", (0.0, 0), (864.0, 1000)).endswith(
        " in 14 minutes, about 240 hours left"
    )
