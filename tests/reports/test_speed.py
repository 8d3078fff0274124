"""The figures of measured speed draw what is stored."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.speed import (
    KINDS,
    bar_name,
    by_length,
    length_figure,
    native,
    shares_figure,
    speedup_figure,
    time_figure,
)
from reports.sections.bench import measured
from reports.style import looks

METHODS = ("none", "mtr", "tome", "downsample")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two batches at 100 tokens with three budgets, one image at two lengths, and a smaller image."""
    rng = np.random.default_rng(3)
    found: list[dict[str, Any]] = []

    def add(label: str, budget: float | None, batch: int, tokens: int) -> None:
        removed, speed = budget or 0.0, float(rng.uniform(0.9, 1.6))
        spent = rng.dirichlet(np.ones(5))
        verdict = "dense" if label == "none" else "faster" if speed > 1.1 else "no gain shown"
        found.append(
            {"backbone": "vim_nano", "kind": "images", "precision": "fp32", "label": label, "budget": budget, "batch": batch,
             "tokens": tokens, "removed": removed, "ms": batch * tokens / speed / 50, "ms_low": batch * tokens / 99,
             "ms_high": batch * tokens / 30, "speedup": speed, "speedup_low": speed - 0.1, "speedup_high": speed + 0.2,
             "verdict": verdict, "peak_mib": tokens / 7, "images_per_second": 50.0,
             **{f"share_{kind}": float(share) for kind, share in zip(KINDS, spent, strict=True)}}
        )  # fmt: skip

    for batch in (1, 8):
        add("none", None, batch, 100)
        for label in METHODS[1:]:
            for budget in (0.2, 0.4, 0.6):
                add(label, budget, batch, 64 if label == "downsample" else 100)
    add("none", None, 1, 400)
    add("mtr", 0.4, 1, 400)
    return pd.DataFrame(found)


def lines(figure: Figure, panel: int, label: str) -> np.ndarray:
    """The points (n, 2) of the line of one method."""
    [line] = [line for line in figure.axes[panel].lines if line.get_label() == label]
    return np.column_stack([line.get_xdata(), line.get_ydata()])


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_gains_and_rings_are_those_stored(rows: pd.DataFrame, width: float) -> None:
    figure = speedup_figure(rows, looks(METHODS), width)
    for panel, batch in enumerate((1, 8)):
        part = rows[(rows.batch == batch) & (rows.tokens <= 100) & (rows.removed > 0)]
        for label, line in part.groupby("label"):
            np.testing.assert_allclose(
                lines(figure, panel, str(label)), line[["removed", "speedup"]] * [100, 1]
            )
        rings = [line for line in figure.axes[panel].lines if line.get_label() == "_lost"]
        drawn = np.concatenate(
            [np.column_stack([ring.get_xdata(), ring.get_ydata()]) for ring in rings]
        )
        lost = part[part.verdict != "faster"]
        wanted = np.column_stack([100 * lost.removed, lost.speedup])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(wanted, axis=0))


def test_bars_are_as_long_as_the_time_and_divided_by_the_shares(rows: pd.DataFrame) -> None:
    drawn = looks(METHODS, {"mtr": "MTR"})
    figure = shares_figure(rows, drawn, WIDTH)
    for axes, batch in zip(figure.axes, (1, 8), strict=True):
        part = native(rows)[lambda frame, batch=batch: frame.batch == batch].reset_index(drop=True)
        names = [text.get_text() for text in axes.get_yticklabels()]
        assert names == [bar_name(row, drawn) for row in part.to_dict("records")]
        for container in axes.containers:
            kind = next(kind for kind, (name, _) in KINDS.items() if name == container.get_label())
            for bar in container:
                row = part.iloc[round(bar.get_y() + bar.get_height() / 2)]
                assert bar.get_width() == pytest.approx(row[f"share_{kind}"] * row.ms / row.batch)
        assert len(axes.patches) == len(KINDS) * len(part)
    row = {"verdict": "faster", "label": "mtr", "removed": 0.402}
    assert bar_name(row, drawn) == "MTR, −40 %"


def test_costs_by_length_are_those_of_one_image(rows: pd.DataFrame) -> None:
    part = by_length(rows)
    assert set(part.label) == {"none", "mtr", "tome"}
    assert set(part.batch) == {1}
    assert set(part.budget.dropna()) == {0.4}
    figure = length_figure(rows, looks(METHODS), WIDTH)
    stored = part[part.label == "mtr"].sort_values("tokens")
    np.testing.assert_allclose(lines(figure, 0, "mtr"), stored[["tokens", "ms"]])
    np.testing.assert_allclose(lines(figure, 1, "mtr"), stored[["tokens", "peak_mib"]])
    assert by_length(rows[rows.tokens == 100]).empty


def test_costs_by_length_are_at_the_budget_that_every_length_has(rows: pd.DataFrame) -> None:
    higher = rows.assign(budget=rows.budget.mask((rows.tokens == 400) & rows.budget.notna(), 0.6))
    part = by_length(higher)
    assert set(part.budget.dropna()) == {0.6}
    assert part[part.label == "mtr"].tokens.tolist() == [100, 400]


def test_a_shorter_sequence_is_not_the_backbone_s_own(rows: pd.DataFrame) -> None:
    shorter = rows[rows.tokens == 400].assign(tokens=49)
    pd.testing.assert_frame_equal(native(pd.concat([rows, shorter])), native(rows))


def test_accuracy_meets_the_time_of_the_same_cell(rows: pd.DataFrame) -> None:
    known = pd.DataFrame(
        [("vim_nano", "none", None, 0.9), ("vim_nano", "mtr", 0.4, 0.5), ("vim_nano", "mtr", 0.5, 0.4),
         ("vim_nano", "tome", 0.4, None)],
        columns=["backbone", "label", "budget", "top1"],
    )  # fmt: skip
    frame = measured(known, rows[rows.tokens <= 100])
    assert frame[["label", "top1"]].to_numpy().tolist() == [["none", 0.9], ["mtr", 0.5]]
    largest = rows[(rows.label == "mtr") & (rows.budget == 0.4) & (rows.batch == 8)].iloc[0]
    assert frame.ms[1] == pytest.approx(largest.ms / 8)
    figure = time_figure(frame, looks(METHODS), WIDTH)
    np.testing.assert_allclose(lines(figure, 0, "mtr"), [[largest.ms / 8, 50]])


@pytest.mark.parametrize(("kind", "sample"), [("images", "an image"), ("videos", "a clip")])
def test_figures_say_what_is_timed(rows: pd.DataFrame, kind: str, sample: str) -> None:
    known = pd.DataFrame(
        [("vim_nano", "mtr", 0.4, 0.5)], columns=["backbone", "label", "budget", "top1"]
    )
    own = rows.assign(kind=kind)
    bars = shares_figure(own, looks(METHODS), WIDTH).axes[0]
    assert bars.get_xlabel() == f"milliseconds {sample}"
    times = time_figure(measured(known, own), looks(METHODS), WIDTH).axes[0]
    assert times.get_xlabel() == f"measured milliseconds {sample}"
