"""What a command found: bold answer, table, few sentences, as wide as the terminal."""

import io
import sys
from collections.abc import Sequence

import pytest
from rich.table import Table

from suite.system.encoding import PLAIN
from suite.terminal.findings import Findings, print_findings

Out = pytest.CaptureFixture[str]
ANSWER = (
    "mtr leads with 76.0 %, 15.2 points above tome, at 40 % fewer FLOPs; an image keeps 86.2 %."
)
SENTENCES = [
    "With 1,000 images, a difference below 22.1 points is easily missed, p = 0.263, ±0.8 points.",
    "mtr keeps more than every baseline that ignores the image; tome is not shown to.",
    "With the same schedule for both (1,000 dev images), mtr is ahead of tome under all 6.",
]


def found(sentences: Sequence[str] = tuple(SENTENCES)) -> Findings:
    table = Table("method", "top-1", title="a table")
    table.add_row("mtr", "76.0")
    return Findings(
        [(ANSWER, [table])],
        notes=["† downsample: 13.7, 38.1, 58.4 % fewer FLOPs, so not tested against the others."],
        warnings=["3 images could not be read and are left out."],
        sentences=sentences,
        details=["A paragraph for those who ask.", table],
    )


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_lines_fit_and_no_number_is_broken(
    columns: int, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_findings(found(), verbose=True)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= columns
    for line in lines:
        assert not line.startswith(("%", "points", "="))
        assert not line.endswith(("p =", "±", " p"))
    text = " ".join(" ".join(lines).split())
    assert all(sentence in text for sentence in (ANSWER, *SENTENCES))


def test_the_rest_is_printed_on_request(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_findings(found())
    brief = capsys.readouterr().out
    assert "WARNING: 3 images could not be read" in brief
    assert "A paragraph" not in brief
    assert brief.count("a table") == 1
    # Under the answer, before the table.
    lines = brief.splitlines()
    assert lines[: lines.index("")] == [
        ANSWER,
        "WARNING: 3 images could not be read and are left out.",
    ]
    assert lines[-3:] == SENTENCES
    print_findings(found(), verbose=True)
    full = capsys.readouterr().out
    assert full.startswith(brief)
    assert "A paragraph" in full
    assert full.count("a table") == 2


def test_there_are_at_most_three_sentences() -> None:
    with pytest.raises(ValueError, match="4 sentences are too many"):
        found([*SENTENCES, "Another."])


def test_the_answer_alone_is_bold_and_a_pipe_has_the_same_text(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    print_findings(found())
    piped = capsys.readouterr().out
    assert "\x1b" not in piped
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_findings(found())
    shown = capsys.readouterr().out
    assert shown.startswith(f"\x1b[1m{ANSWER}\x1b[0m\n")
    assert f"\n{SENTENCES[0]}\n" in shown


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_other_encodings_have_their_own_signs(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=PLAIN)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "60")
    print_findings(found())
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 60
    assert "+ downsample" in text  # in neither is there a dagger
