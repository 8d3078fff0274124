"""One font on every machine: no text of a figure overlaps another or leaves it, and all scripts are drawn or told."""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

import reports
from reports import page, sections, static_figures
from reports.figures import fonts
from reports.figures.canvas import (
    COLUMN,
    FONTS,
    SETTINGS,
    WIDTH,
    new_figure,
    paper_style,
    render,
    use_fonts_for,
)
from reports.figures.fonts import FAMILY, families, inches, wrapped
from reports.figures.tradeoff import groups
from reports.report_data import ReportData
from reports.run import load
from reports.style import DENSE, PLAIN, looks

NEAR = 2.0  # pixels of 220 an inch by which boxes may touch


def shown(figure: Figure) -> list[Text]:
    """The texts that are drawn: of the ticks, those in view."""
    ticks, found = set(), []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for tick in (*axis.majorTicks, *axis.minorTicks):
                ticks |= {tick.label1, tick.label2}
            if axes.axison:
                for tick in axis._update_ticks():
                    found += [tick.label1, tick.label2]
            else:
                ticks.add(axis.label)
    found += [text for text in figure.findobj(Text) if text not in ticks]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def faults(figure: Figure) -> list[tuple[str, ...]]:
    """Texts that leave the figure, and pairs that overlap."""
    with paper_style():
        figure.draw_without_rendering()
        # Not an annotation's own box, which holds its arrow, too.
        boxes = [(text.get_text(), Text.get_window_extent(text)) for text in shown(figure)]
    frame, wrong = figure.bbox, []
    for words, box in boxes:
        inside = frame.x0 - NEAR <= box.x0 and box.x1 <= frame.x1 + NEAR
        if not (inside and frame.y0 - NEAR <= box.y0 and box.y1 <= frame.y1 + NEAR):
            wrong.append(("leaves the figure", words))
    for (words, one), (others, other) in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        up = min(one.y1, other.y1) - max(one.y0, other.y0)
        if min(across, up) > NEAR:
            wrong.append(("overlap", words, others))
    return wrong


def figures(folder: Path) -> Iterator[tuple[str, Figure]]:
    """The figures of a run that its budgets shape, as wide as a page and in one column."""
    report = ReportData.of(load(folder, sections.needed()))
    for room in (static_figures.PAGE, static_figures.ONE_COLUMN):
        for name, figure in static_figures.drawn(report, (), room):
            if name == "foreground":
                break
            yield f"{name}, {room.width} inches wide", figure


def test_texts_of_figures_keep_apart(wide: dict[str, Figure], narrow: dict[str, Figure]) -> None:
    for drawn in (wide, narrow):
        for name, figure in drawn.items():
            assert faults(figure) == [], (name, figure.get_figwidth())
            for text in shown(figure):
                # mathematics, which is not drawn as such
                assert "mathdefault" not in text.get_text()
        assert {"lead", "breaks", "agreement"} <= set(drawn)


@pytest.mark.slow
def test_texts_of_a_single_budget_keep_apart(single_folder: Path) -> None:
    for name, figure in figures(single_folder):
        assert faults(figure) == [], name
        for text in shown(figure):
            assert "mathdefault" not in text.get_text()


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_long_names_leave_their_panels_room(report: ReportData, width: float) -> None:
    long = {}
    for name, look in report.looks.items():
        chosen = look.group not in (DENSE, PLAIN)
        long[name] = f"{look.title} (mine)[order=appended]@falling" if chosen else look.title
    figure = groups(report.frame, looks(report.labels, long), "flops", "vim_nano", width)
    assert faults(figure) == []
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert np.ptp(report.frame["total"]) / (high - low) > 0.35


def test_the_check_itself_finds_faults() -> None:
    with paper_style():
        figure = new_figure(2.0, 1.0)
        figure.text(0.5, 0.5, "one")
        figure.text(0.52, 0.5, "another")
        figure.text(0.9, 0.1, "beyond the edge")
    assert [fault[0] for fault in faults(figure)] == ["leaves the figure", "overlap"]


def test_the_font_comes_with_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"font.family: {FAMILY}\n" in SETTINGS.read_text()
    real = font_manager.findSystemFonts

    def only_its_own(folders: list[str] | None = None, fontext: str = "ttf") -> list[str]:
        return real(folders, fontext) if folders else []

    monkeypatch.setattr(font_manager, "findSystemFonts", only_its_own)
    bare = font_manager.FontManager()
    for weight in ("normal", "bold"):
        path = bare.findfont(font_manager.FontProperties(family=FAMILY, weight=weight))
        assert Path(path).is_relative_to(mpl.get_data_path())


def test_words_are_broken_by_their_width() -> None:
    with paper_style():
        assert inches("W" * 20, 8) > 2 * inches("i" * 20, 8) > 0
        assert inches("bold", 8, "bold") > inches("bold", 8)
        lines = wrapped("wide words are broken by their width, 40 % of them", 1.0, 8).split("\n")
        assert len(lines) > 2
        assert max(inches(line, 8) for line in lines) <= 1.0
        assert any("40 %" in line for line in lines)
        assert wrapped("undivided" * 9, 1.0, 8) == "undivided" * 9
        assert wrapped("", 1.0, 8) == ""


@pytest.mark.parametrize(
    ("name", "script", "package"),
    [
        ("猫", "CJK", "fonts-noto-cjk"),
        ("ねこ", "HIRAGANA", "fonts-noto-cjk"),
        ("고양이", "HANGUL", "fonts-noto-cjk"),
        ("बिल्ली", "DEVANAGARI", "fonts-noto-core"),
        ("แมว", "THAI", "fonts-noto-core"),
        ("বিড়াল", "BENGALI", "fonts-noto-core"),
    ],
)
def test_a_script_without_a_font_is_one_line_that_names_the_package(
    name: str,
    script: str,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    assert families([name, "plain"]) == [FAMILY]
    said = capsys.readouterr().err
    assert script in said
    assert f"install {package}, and" in said
    assert said.count("\n") == 1


def test_scripts_that_the_font_has_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Größe", "кот", "γάτα", "a\u200db\ufe0f", "ﬁ ± × → ≤", "\udce9", "قط", "חתול"]
    assert families(texts) == [FAMILY]
    assert capsys.readouterr().err == ""


def test_a_font_of_the_machine_draws_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(mpl.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf"
    (letter, *_) = sorted(fonts._letters(str(own)) - fonts._letters(font_manager.findfont(FAMILY)))
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: ["/no/font.ttf", str(own)])
    assert families([letter]) == [FAMILY, "STIXGeneral"]
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(FONTS, "font.family", [FAMILY])
    for found in (False, True):
        if found:
            use_fonts_for([letter])
        with mpl.rc_context(FONTS, SETTINGS), warnings.catch_warnings(record=True) as told:
            figure = new_figure(1.0, 1.0)
            figure.text(0.5, 0.5, letter)
            figure.draw_without_rendering()
        assert bool(told) != found


def test_a_page_with_foreign_names_prints_one_line(
    single_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    monkeypatch.setitem(FONTS, "font.family", [FAMILY])
    report = page.read(single_folder)
    report.run.dataset["classes"] = ["猫", "बिल्ली", *report.run.dataset["classes"][2:]]
    monkeypatch.setattr("reports.page.read", lambda *_: report)
    # No name of a class is in these.
    for others in ("_tradeoffs", "_maps"):
        monkeypatch.setattr(static_figures, others, lambda *_: iter(()))
    monkeypatch.setattr("reports.page._save", lambda *_: set())
    drawn = []

    def foreign_alone(figure: Figure) -> dict[str, bytes]:
        if not any("猫" in text.get_text() for text in figure.findobj(Text)):
            return {"png": b"not drawn", "svg": b"<svg/>"}
        drawn.append(figure)
        return render(figure)

    monkeypatch.setattr("reports.page.render", foreign_alone)
    reports.build(single_folder, paper=False)
    assert drawn
    assert capsys.readouterr().err.count("\n") == 1
    assert not [one for one in recwarn if "Glyph" in str(one.message)]


@pytest.mark.slow
def test_texts_of_hostile_names_keep_apart(hostile_folder: Path) -> None:
    report = ReportData.of(load(hostile_folder, sections.needed()))
    for name, figure in static_figures.drawn(report, sections.sections(report)):
        # A name of five lines may touch what stands beside it.
        wrong = [fault for fault in faults(figure) if max(map(len, fault)) < 80]
        assert wrong == [], name
