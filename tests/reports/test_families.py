"""The cross-family figure: one panel a method, one line a backbone, from everything kept."""

import numpy as np
import pandas as pd
import pytest

from reports.figures.canvas import COLUMN, WIDTH, render
from reports.sections.families import backbone_strokes, families_figure

HOUSES = {"vim_nano": "Mamba", "videomamba_nano": "Mamba", "deit_nano": "attention"}
BUDGETS = (0.4, 0.2)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        {
            "backbone": backbone, "mixer": family, "method": method, "budget": budget, "removed": budget + 0.001,
            "images": 500, "seeds": 1, "dense_top1": 0.9, "kept": 1 - budget / 2, "kept_low": 0.95 - budget / 2,
            "kept_high": 1.05 - budget / 2,
        }
        for method in ("tome", "evit", "random[weights=mean]") for backbone, family in HOUSES.items() for budget in BUDGETS
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_a_panel_a_method_and_a_line_a_backbone(frame: pd.DataFrame, width: float) -> None:
    figure = families_figure(frame, str.upper, width)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left").replace("\n", "") for axes in panels] == [
        "TOME",
        "EVIT",
        "RANDOM[WEIGHTS=MEAN]",
    ]
    for axes in panels:
        lines = [line for line in axes.get_lines() if len(np.unique(line.get_ydata())) > 1]
        assert len(lines) == len(HOUSES)
        for line in lines:
            assert np.asarray(line.get_xdata()) == pytest.approx([0.0, 20.1, 40.1])
            assert np.asarray(line.get_ydata()) == pytest.approx([100.0, 90.0, 80.0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        f"{backbone} ({family})" for backbone, family in HOUSES.items()
    ]
    assert render(figure)["svg"]


def test_every_backbone_has_a_look_of_its_own(frame: pd.DataFrame) -> None:
    strokes = backbone_strokes(frame)
    assert len({(stroke["color"], stroke["marker"]) for stroke in strokes.values()}) == len(HOUSES)
