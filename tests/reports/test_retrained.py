"""The section on retraining: hollow and filled marks at the values of the table, and its sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.recovery import recovery_figure
from reports.figures.retrained import retrained_figure
from reports.style import looks
from suite.store.schema import TABLES

pytestmark = pytest.mark.usefixtures("undrawn")

LABELS = ["none", "mtr", "tome"]


def rows(backbone: str = "vim_nano") -> pd.DataFrame:
    """A control of 91 %, and two methods that gain at two budgets."""
    values = []
    control = {"budget": None, "label": "none", "top1_before": 0.9, "top1": 0.91}
    values.append(control | {"trained_budgets": "", "training": f"{backbone}-none"})
    for budget in (0.2, 0.4):
        for number, label in enumerate(LABELS[1:]):
            before = 0.8 - budget / 2 - number / 20
            row = {"budget": budget, "label": label, "top1_before": before}
            row |= {"top1": before + 0.1, "won_back": 0.1 / (0.9 - before)}
            row |= {"won_back_low": 0.3, "won_back_high": 0.7, "behind": 0.81 - before}
            row |= {"trained_budgets": str(budget)}
            values.append(row | {"training": f"{backbone}-{label}-{budget}"})
    shared = {"backbone": backbone, "dense_top1": 0.9, "control_top1": 0.91, "images": 500}
    shared |= {"trained_images": 6000, "seeds": 1, "interval": "interval"}
    frame = pd.DataFrame([row | shared for row in values], columns=TABLES["retrained"].columns)
    for name in ("top1", "difference", "behind"):
        centre = frame[name] if name != "difference" else frame["top1"] - frame["top1_before"]
        frame[name] = centre
        frame[f"{name}_low"], frame[f"{name}_high"] = centre - 0.03, centre + 0.03
    frame["whole_top1"] = 0.88
    return frame


@pytest.mark.parametrize("width", [COLUMN, WIDTH])
def test_marks_are_hollow_before_and_filled_after(width: float) -> None:
    table = rows()
    figure = retrained_figure(table, looks(LABELS), "", width)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels] == ["−20 % of FLOPs", "−40 % of FLOPs"]
    for axes, budget in zip(panels, (0.2, 0.4), strict=True):
        part = table[table["budget"] == budget].set_index("label")
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        drawn = {}
        for mark in marks:
            hollow = mark.get_markerfacecolor() in ("white", "#ffffff")
            drawn[int(mark.get_ydata()[0]), hollow] = float(mark.get_xdata()[0])
        expected = {}
        for place, label in enumerate(LABELS[1:]):
            expected[place, True] = 100 * part.loc[label, "top1_before"]
            expected[place, False] = 100 * part.loc[label, "top1"]
        assert drawn == pytest.approx(expected)
        assert [text.get_text() for text in axes.texts] == [
            "dense 90.0",
            "dense, trained alike 91.0",
        ]


@pytest.mark.parametrize("width", [COLUMN, WIDTH])
@pytest.mark.parametrize("ahead", [False, True])
def test_the_names_of_levels_are_not_cut(width: float, ahead: bool) -> None:
    table = rows()
    if ahead:  # of the whole model, which is at the left end then
        for name in ("top1_before", "top1", "top1_low", "top1_high"):
            table[name] = 0.98
    figure = retrained_figure(table, looks(LABELS), "", width)
    figure.draw_without_rendering()
    canvas = figure.bbox
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert canvas.x0 <= box.x0
            assert box.x1 <= canvas.x1
            # Nor do they stand over the names of methods.
            assert box.x0 >= axes.bbox.x0 - 1


def test_several_trainings_of_a_method_have_a_line_each() -> None:
    table = rows()
    tested = table[table["budget"] == 0.4].assign(trained_budgets="0.2", top1=0.5)
    both = pd.concat([table, tested], ignore_index=True)
    figure = retrained_figure(both, looks(LABELS), "", WIDTH)
    figure.draw_without_rendering()
    first, second = (axes for axes in figure.axes if axes.get_title("left"))
    names = [text.get_text().replace("\n", " ") for text in first.get_yticklabels()]
    assert names == [
        "mtr, trained at −20 %",
        "mtr, trained at −40 %",
        "tome, trained at −20 %",
        "tome, trained at −40 %",
    ]
    # At 20 % the weights that were trained there alone are drawn, at 40 % both.
    for axes, expected in ((first, {0, 2}), (second, {0, 1, 2, 3})):
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert {int(mark.get_ydata()[0]) for mark in marks} == expected
    filled = [mark for mark in second.lines if mark.get_xdata()[0] == pytest.approx(50)]
    assert [int(mark.get_ydata()[0]) for mark in filled] == [0, 2]


def test_the_page_says_what_was_won_back_and_at_what_price(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    for path in (folder / "analyses").glob("*.parquet"):
        path.unlink()
    rows().to_parquet(folder / "analyses" / "retrained.parquet")
    curve = {"training": ["vim_nano-none"], "epoch": [1], "loss": [0.123], "trained_top1": [0.97]}
    pd.DataFrame(curve).to_parquet(folder / "analyses" / "retraining_curve.parquet")
    text = reports.build(folder).read_text().replace("\u00a0", " ").replace("\u2212", "-")
    assert "What does retraining win back?" in text
    # At 20 % of FLOPs mtr is at 70 % before and 80 % after, of 90 %.
    answer = (
        "Retraining wins back most for MTR on vim_nano at -20 % FLOPs: 50 % [30, 70] of its loss; "
        "it ends 11.0 points [8.0, 14.0] behind the whole model trained alike."
    )
    # It comes first, before any result.
    assert text.index(f'<p class="answer">{answer}') < text.index('id="retrained"')
    assert text.index('id="retrained"') < text.index('id="results"')
    assert text.count(answer) == 1
    assert "6,000 training images" in text
    assert "vim_nano-none" in text
    assert "0.123" in text
    assert "trained at" not in text


@pytest.mark.usefixtures("unmade")
def test_the_page_says_where_weights_were_trained(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    table = rows()
    table.loc[table["budget"] == 0.2, "trained_budgets"] = "0.4"
    table.to_parquet(folder / "analyses" / "retrained.parquet")
    text = reports.build(folder).read_text().replace("\u00a0", " ").replace("\u2212", "-")
    assert "for MTR on vim_nano at -20 % FLOPs, trained at -40 %: 50 % [30, 70]" in text
    assert "mtr on vim_nano at 20 %, trained at -40 %, after 6,000 training images" in text


@pytest.mark.usefixtures("unmade")
def test_without_a_loss_nothing_is_claimed(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    table = rows()
    table[["won_back", "won_back_low", "won_back_high"]] = None
    table = table.astype({"won_back": "float64"})
    table.to_parquet(folder / "analyses" / "retrained.parquet")
    text = reports.build(folder).read_text()
    assert "No method loses so much on these images that a share won back could be told." in text
    plain = text.replace("\u00a0", " ")
    assert (
        "do not show that the method loses anything with the weights as they came: mtr on vim_nano "
        "at 20 %, tome on vim_nano at 20 %, mtr on vim_nano at 40 %, tome" in plain
    )


@pytest.mark.usefixtures("unmade")
@pytest.mark.parametrize("kind", ["retrain", "compare"])
def test_the_results_of_a_retraining_say_that_they_are_before_it(
    kind: str, fresh: Callable[[], Path]
) -> None:
    folder = fresh()
    rows().to_parquet(folder / "analyses" / "retrained.parquet")
    with (folder / "spec.yaml").open("a") as file:
        file.write(f"\nkind: {kind}\n")
    text = reports.build(folder).read_text().replace("\u00a0", " ")
    before = ", with the weights as they came, before retraining"
    said = kind == "retrain"
    assert (f"Every finished cell{before}, seeds averaged" in text) == said
    assert (f"<caption>The best of each budget{before}</caption>" in text) == said
    assert (f"<figcaption>Results{before}.</figcaption>" in text) == said
    assert "share won back is given" not in text


@pytest.mark.usefixtures("unmade")
def test_the_page_has_orders_pairs_and_rates(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    ranking = {"backbone": "vim_nano", "budget": 0.4, "methods": 5, "concordance": 0.8}
    ranking |= {"concordance_low": 0.4, "concordance_high": 1.0, "p": 0.04, "images": 500}
    pair = {"backbone": "vim_nano", "budget": 0.4, "label": "tome[weights=drop]"}
    pair |= {"reference": "tome", "setting": "weights drop against as it is", "p": 0.5}
    pair |= {"p_holm": 0.5, "comparisons": 1, "significant": False, "images": 500}
    for names in (
        ("difference_before", "before_low", "before_high"),
        ("difference", "difference_low", "difference_high"),
        ("change", "change_low", "change_high"),
    ):
        pair |= dict(zip(names, (-0.0125, -0.03, 0.01), strict=True))
    rates = []
    for rate, loss in ((1e-4, 0.8123), (1e-3, 0.7321)):
        rates.append({"training": "vim_nano-none", "learning_rate": rate, "held_out_loss": loss})
        rates[-1] |= {"held_out_top1": 0.7, "held_out_images": 600, "picked": rate == 1e-3}
    for name, table in (
        ("retrained", rows()),
        ("retrained_ranking", pd.DataFrame([ranking])),
        ("retrained_contrasts", pd.DataFrame([pair])),
        ("retraining_rates", pd.DataFrame(rates)),
    ):
        table.to_parquet(folder / "analyses" / f"{name}.parquet")
    text = reports.build(folder).read_text().replace("\u00a0", " ").replace("\u2212", "-")
    assert "The order of 5 methods on vim_nano at -40 % FLOPs without training predicts" in text
    assert "ToMe[weights=drop] less ToMe (weights drop against as it is) on vim_nano" in text
    assert "600 held-out training images chose 0.001 for every training" in text
    for cell in ("0.812", "0.732", "0.0001", "yes"):
        assert f">{cell}<" in text.replace("\n", "").replace(" <", "<").replace("> ", ">")


def test_trainings_of_one_budget_are_told_by_the_images_that_they_saw() -> None:
    short, more = rows(), rows().assign(trained_images=12_000)
    both = pd.concat([short[short["budget"] != 0.2], more[more["budget"] != 0.2]])
    figure = retrained_figure(both, looks(LABELS), "", WIDTH)
    names = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()]
    assert names == [
        "mtr, 6,000 images",
        "mtr, 12,000 images",
        "tome, 6,000 images",
        "tome, 12,000 images",
    ]


def test_trainings_of_two_runs_are_told_by_these() -> None:
    runs = [rows().assign(training=f"{run}/" + rows()["training"]) for run in ("one", "two")]
    figure = retrained_figure(pd.concat(runs), looks(LABELS), "", WIDTH)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["mtr, one", "mtr, two", "tome, one", "tome, two"]


@pytest.mark.parametrize("width", [COLUMN, WIDTH])
def test_recovery_starts_with_the_weights_as_they_came(width: float) -> None:
    more = rows().assign(trained_images=12_000, control_top1=0.92)
    more["top1"] = rows()["top1"] + 0.02
    figure = recovery_figure(pd.concat([more, rows()]), looks(LABELS), "", width)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(panels) == 2
    for axes, budget in zip(panels, (0.2, 0.4), strict=True):
        drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
        for number, label in enumerate(LABELS[1:]):
            before = 100 * (0.8 - budget / 2 - number / 20)
            expected = [(0, before), (6000, before + 10), (12_000, before + 12)]
            assert drawn[looks(LABELS)[label].title] == pytest.approx(np.array(expected))
        control = drawn["whole model, trained alike"]
        assert control == pytest.approx(np.array([(0, 90), (6000, 91), (12_000, 92)]))
