"""The pages of findings are what their templates and the stored answers give."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import jinja2
import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def write() -> ModuleType:
    """``docs/write.py``, which is no part of a package."""
    sys.path.insert(0, str(DOCS))
    spec = importlib.util.spec_from_file_location("write", DOCS / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_number_of_the_pages_is_worked_out_from_stored_answers(write: ModuleType) -> None:
    assert write.faults() == []


def test_a_page_that_says_another_number_is_named(
    write: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "page.md").write_text("It keeps {{ 0.5 | percent }} %.\n")
    (tmp_path / "page.md").write_text("It keeps 51.0 %.\n")
    monkeypatch.setattr(write, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(write, "targets", lambda: {"page.md": tmp_path / "page.md"})
    assert write.faults() == ["page.md is not what its template gives: run python docs/write.py"]
    (tmp_path / "page.md").write_text("It keeps 50.0 %.\n")
    assert write.faults() == []


def test_a_number_in_the_prose_of_a_template_is_found(write: ModuleType) -> None:
    text = "{# literals: 40 #}\nAt 40 % it keeps 51.1 %, `x=3` {{ 7 }} of Mamba-2 and [1](a2.md).\n"
    # a link's text is prose, its address is not
    assert list(write.loose_numbers(text)) == ["51.1 %", "1"]


def test_a_claim_that_does_not_hold_stops_the_page(write: ModuleType) -> None:
    page = write.environment().from_string("{{ claim(1 > 2) }}")
    with pytest.raises(jinja2.TemplateRuntimeError, match="does not hold"):
        page.render()


def test_stored_answers_are_bits_and_the_numbers_follow_from_them(write: ModuleType) -> None:
    main = write.answers.read("main")
    rows = main.cells[(main.cells.backbone == "vim_nano") & (main.cells.label == "mtr")]
    bits = rows[(rows.budget == 0.4) & (rows.role == "asked")].correct.iloc[0]
    right = int(np.unpackbits(np.frombuffer(bits, np.uint8))[:2000].sum())
    assert main.top1("mtr", 0.4) == right / 2000
    other = main.outcomes("tome", 0.4).correct[0]
    mine = np.unpackbits(np.frombuffer(bits, np.uint8))[:2000].astype(bool)
    difference = (int((mine & ~other).sum()) - int((other & ~mine).sum())) / 2000
    assert main.difference("mtr", "tome", 0.4).difference == pytest.approx(difference)


def test_the_page_of_our_own_method_is_written_from_a_reading(
    write: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MTR stands for our own method, in answers of one Mamba and of attention, where it cannot run.
    monkeypatch.setattr(write.ahead, "OWN", "mtr")
    everything = write.answers.read("main")
    kept = everything.cells.backbone.isin(["vim_nano", "deit_nano"])
    main = write.answers.Answers(everything.cells[kept], everything.about)
    monkeypatch.setattr(write.ahead, "stored", {"main": main}.get)
    found = write.ahead.claims_of(["main", "not read yet"])
    assert [claim.backbone for claim in found] == ["vim_nano"] * len(found)
    assert [claim.budget for claim in found] == write.ahead.budgets_of(main, "vim_nano")
    first = found[0]
    published = {row.reference for row in first.each}
    assert {"evit", "utr"} < published
    assert not published & {"mtr", "delta", "random", "downsample", "activation"}
    p_values = []
    for label in published:
        row = main.difference("mtr", label, first.budget, first.backbone)
        p_values.append(row.p if row.difference > 0 else 1.0)
    assert first.p == max(p_values)
    assert first.comparisons == len(found)

    made = write.environment()
    made.globals["stored"] = {"own_garments": main}.get
    made.globals["claims_of"] = lambda names: found if "own_garments" in names else []
    page = made.get_template("own-method.md").render()
    best = first.best
    lead = f"{100 * best.difference:+.1f} [{100 * best.difference_low:+.1f}, "
    row = f"| {first.backbone} | -20 % | {100 * best.accuracy:.1f} | {best.reference}: "
    assert f"{row}{100 * best.reference_accuracy:.1f} | {lead}" in page
    assert "the three nano backbones | read once" in page
    assert "`vim_nano_64` trained on them alone | not read yet" in page
    # Backbones are called as cells are, whatever path their weights have in the settings.
    paths = [f"{name}[weights=/{name}]" for name in main.about["backbones"]]
    named = write.answers.Answers(main.cells, main.about | {"backbones": paths})
    assert len(write.ahead.contests_of(named)) == len(found)
    # Nothing of it stands on a page before it is read.
    made.globals["stored"] = lambda name: None
    before = made.get_template("own-method.md").render()
    assert "## The reading" not in before


def test_a_reading_names_the_weights_of_another_seed(write: ModuleType) -> None:
    name = "vim_nano[weights=vim_nano.safetensors]"
    assert write.ahead.reading_name(name) == "vim_nano, another seed"
    assert write.ahead.reading_name("vim_nano_64") == "vim_nano_64"
