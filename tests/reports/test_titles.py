"""Figures call methods by their titles, a user's own name first; no two methods look the same."""

import pandas as pd
import pytest

from reports.charts.tradeoff import hover
from reports.style import looks
from reports.titles import titled, titles_by_name

CELLS = pd.DataFrame(
    [
        ("none", "none", "Dense"),
        ("mtr[score=b]@falling", "mtr", "MTR"),
        ("tome[order=sorted] = rmeeto", "tome", "ToMe"),
        # of files: the record of an alias has it as its title
        ("Gate", "/home/me/gate.py:GATE", "Gate"),
        ("norms (one)[keep=0.5]", "/home/me/one.py:NORMS", "Norm gate"),
        ("norms (two)[keep=0.5]", "/home/me/two.py:NORMS", "Norm gate"),
    ],
    columns=["label", "method", "title"],
)


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("none", "dense"),
        ("mtr[score=b]@falling", "MTR[score=b]@falling"),
        ("mtr@one-shot", "MTR@one-shot"),
        ("tome[order=sorted] = rmeeto", "ToMe[order=sorted] = R-MeeTo"),
        ("evit", "EViT"),  # of a table whose run has no cells
        ("Gate@falling", "Gate@falling"),  # a merged run adds the schedule
        ("norms (one)[keep=0.5]", "Norm gate (one)[keep=0.5]"),
        ("norms (two)[keep=0.5]", "Norm gate (two)[keep=0.5]"),
        ("theirs[k=3]", "theirs[k=3]"),  # another package's, of which nothing is imported
    ],
)
def test_a_title_takes_the_place_of_the_name(label: str, title: str) -> None:
    assert titled(label, titles_by_name(CELLS)) == title


def test_two_methods_of_one_title_stay_told_apart() -> None:
    rows = [("mtr", "mtr", "MTR"), ("plain = tome", "plain.py:PLAIN", "MTR"), ("G", "mtr", "G")]
    known = titles_by_name(pd.DataFrame(rows, columns=["label", "method", "title"]))
    drawn = {label: titled(label, known) for label in ("mtr", "mtr@falling", "plain = tome", "G")}
    assert drawn == {
        "mtr": "MTR (mtr)",
        "mtr@falling": "MTR (mtr)@falling",
        "plain = tome": "MTR (plain) = ToMe",
        "G": "G",
    }


def test_two_methods_with_the_same_answers_are_said_to_have_them() -> None:
    row = {
        "label": "tome", "method": "tome", "budget": 0.4, "top1": 0.5, "top1_low": 0.4, "top1_high": 0.6,
        "total": 6e7, "removed": 0.4, "seeds": 1, "images": 1500, "kind": "images", "agreement": 0.8, "kl": 0.1,
        "reference": "mtr", "difference": 0.0, "difference_low": -0.001, "difference_high": 0.001, "p_holm": 1.0,
        "only_method_correct": 0.0, "only_reference_correct": 0.0,
    }  # fmt: skip
    drawn = looks(["mtr", "tome"], {"mtr": "MTR", "tome": "ToMe"})
    assert "against MTR: right on the same of all 1,500 images<br>" in hover(row, drawn, 1e6, "M")
    differs = row | {"only_method_correct": 3.0, "only_reference_correct": 3.0}
    assert "against MTR: 0.0 [−0.1, +0.1], Holm p 1.000" in hover(differs, drawn, 1e6, "M")
