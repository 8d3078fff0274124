"""Adaptive counts on a budget: alpha solved in the mean, distributions by hand, runs that keep alpha."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import suite
from backbones import create_model
from backbones.common.errors import UserError
from methods.adaptive import cost
from methods.composition import Composition
from methods.spec import parse
from reports.report_data import ReportData
from reports.run import load
from reports.tables import compact_tex, printed
from suite import cli
from suite.cli.results import findings_in
from suite.comparison import Result, run_comparison
from suite.config.run_spec import RunSpec
from suite.flops.closed_form import count, dense, total
from suite.plan import adaptive
from suite.plan.adaptive import mean_plan, solve_alpha, stored_alphas, work_removed
from suite.plan.budget import BudgetUnreachable, plan_of
from suite.plan.notes import notes_on_alphas
from suite.plan.prepare import prepare
from suite.store.schema import AdaptiveCounts, CellRecord
from suite.terminal.findings import print_findings

Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]
ASKED = {
    "images": 12,
    "methods": ("delta", "delta@adaptive"),
    "schedule": "constant-ratio",
    "budgets": (0.3,),
    "baselines": False,
    "gallery": 2,
}


def composition_of(text: str) -> Composition:
    composition = parse(text).composition()
    assert composition is not None
    return composition


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunSpec], tuple[Result, Path]]:
    made: dict[str, tuple[Result, Path]] = {}

    def once(spec: RunSpec) -> tuple[Result, Path]:
        if not made:
            folder = tmp_path_factory.mktemp("adaptive") / "run"
            made["run"] = run_comparison(spec, folder, quiet=True), folder
        return made["run"]

    return once


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.4, 0.8])
def test_alpha_meets_the_budget_of_a_curve(budget: float) -> None:
    asked: list[float] = []

    def share(alpha: float) -> float:
        asked.append(alpha)
        return 0.9 / (1 + np.exp(2 * alpha))

    alpha = solve_alpha(share, budget, patches=197)
    assert alpha == round(alpha, 4)
    assert abs(share(alpha) - budget) < 0.0002
    assert len(asked) < 14


def test_a_budget_beyond_all_alphas_says_how_near_one_comes() -> None:
    with pytest.raises(BudgetUnreachable, match=r"cannot remove 60 % .* at most 50.0 %") as caught:
        solve_alpha(lambda alpha: 0.5 if alpha < 0 else 0.1, 0.6, patches=101)
    assert caught.value.nearest == 0.5
    why = "no alpha removes 30 % of the work in the mean, nearest is 10.00 %"
    with pytest.raises(BudgetUnreachable, match=why):
        solve_alpha(lambda alpha: 0.6 if alpha < 0.7 else 0.1, 0.3, patches=101)


@pytest.mark.parametrize("convention", ["flops", "paper"])
def test_the_mean_and_the_distribution_are_sums_by_hand(convention: str) -> None:
    shape, delta = create_model("vim_nano").describe(), composition_of("delta")
    removed = np.array([[10, 0], [0, 30], [10, 0], [25, 25]])
    counts = AdaptiveCounts(alpha=1.0, images=4, split="dev", content="0")
    plan = mean_plan(shape, delta, (2, 5), removed, counts, convention)
    whole, shares, lengths, works = total(dense(shape), convention), [], [], []
    for first, second in removed.tolist():
        own = [shape.patches + shape.specials] * 2
        own += [own[0] - first] * 3 + [own[0] - first - second] * (shape.depth - 5)
        costs = [
            cost(delta, shape.patches, first, shape),
            cost(delta, shape.patches - first, second, shape),
        ]
        works.append(total(count(shape, own, costs), convention))
        shares.append(1 - works[-1] / whole)
        lengths.append(own)
    assert work_removed(shape, delta, (2, 5), removed, convention).tolist() == shares
    assert plan.removed[convention] == pytest.approx(np.mean(shares), abs=1e-6)
    assert plan.total[convention] == pytest.approx(np.mean(works), rel=1e-6)
    assert plan.lengths == tuple(np.round(np.mean(lengths, 0)).astype(int).tolist())
    kept = np.sum(lengths) / (4 * shape.depth * (shape.patches + shape.specials))
    assert plan.token_ratio == pytest.approx(1 - kept)
    assert {site: removal.tokens for site, removal in plan.removals.items()} == {2: 11, 5: 14}
    assert plan.adaptive is not None
    spread = plan.adaptive.removed
    assert spread["0"] == min(shares)
    assert spread["100"] == max(shares)
    assert spread["50"] == pytest.approx(np.median(shares))
    assert spread["25"] == pytest.approx(np.quantile(shares, 0.25))


def test_of_one_count_for_all_it_is_the_plan_of_that_count_and_the_cost_of_counting() -> None:
    shape, delta = create_model("vim_nano").describe(), composition_of("delta")
    counts = AdaptiveCounts(alpha=1.0, images=3, split="dev", content="0")
    found = mean_plan(shape, delta, (2, 5), np.array([[9, 4]] * 3), counts, "flops")
    fixed = plan_of(shape, {2: 9, 5: 4}, delta)
    assert found.lengths == fixed.lengths
    counting = 4 * (shape.patches + shape.patches - 9)
    assert found.total["flops"] == fixed.total["flops"] + counting


def test_the_mean_of_the_images_it_is_solved_on_meets_the_budget(small: Specs) -> None:
    methods = ("delta@adaptive", "random@adaptive")
    said: list[str] = []
    asked = small(**ASKED | {"methods": methods, "budgets": (0.2,), "seeds": 1})
    prepared = prepare(asked, say=said.append)
    # Each takes long, and nothing else is said before the run.
    assert said == [
        f"solving the alpha of {name} at -20 % on vim_mini, by 18 images"
        for name in ("delta", "random")
    ]
    cells = [cell for cell in prepared.main if cell.budget]
    assert len(cells) == len(prepared.alphas) == 2
    for cell in cells:
        assert cell.plan is not None
        assert cell.plan.adaptive is not None
        assert cell.adaptive
        assert cell.plan.adaptive.images == 18
        assert abs(cell.plan.removed["flops"] - (cell.budget or 0)) < 0.0024
        spread = list(cell.plan.adaptive.removed.values())
        assert spread == sorted(spread)
        assert spread[0] < spread[-1]
        assert cell.key in prepared.keys
        # As a worker elsewhere receives it.
        sent = pickle.loads(pickle.dumps(cell))
        assert (sent.key, sent.steps()) == (cell.key, cell.steps())
    (first, *_) = notes_on_alphas(prepared)
    assert first.startswith("alpha of delta at -20 % on vim_mini: ")
    assert "solved on 18 test images, none of them evaluated (hash " in first


def test_the_record_has_what_the_evaluated_images_lost(
    small: Specs, run: Callable[[RunSpec], tuple[Result, Path]]
) -> None:
    spec = small(**ASKED)
    result, folder = run(spec)
    record = next(record for record in result.records if record.adaptive)
    assert record.label == "delta@adaptive"
    assert record.coarse
    files = sorted((folder / "shards" / record.key).glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files])
    removed = np.stack(frame.removed_tokens.tolist())
    assert removed.shape == (12, 3)
    prepared = prepare(spec, folder=folder)
    shape, sites = prepared.models["vim_mini"].describe(), tuple(record.removals)
    shares = work_removed(shape, composition_of("delta"), sites, removed, "flops")
    assert record.removed_share == pytest.approx(shares.mean(), abs=1e-6)
    assert record.adaptive is not None
    assert record.adaptive.removed["95"] == pytest.approx(np.percentile(shares, 95))
    tokens = pd.read_parquet(folder / "tokens" / record.key / "00000.parquet")
    for column, site in enumerate(sites):
        left = 12 * 101 - removed[:, : column + 1].sum()
        assert tokens[tokens.block == site].present.sum() == left
    gallery = pd.read_parquet(folder / "analyses" / "gallery.parquet")
    drawn = gallery[(gallery.label == record.label) & (gallery.block == sites[0])]
    assert len(drawn) == 2
    for row in drawn.itertuples():
        own = removed[frame.image.tolist().index(row.image), 0]
        assert int((np.array(row.owner) == -1).sum()) == own


def test_a_run_goes_on_with_its_alpha_and_ends_with_the_same_bytes(
    small: Specs,
    run: Callable[[RunSpec], tuple[Result, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: Callable[[Path], dict[str, bytes]],
) -> None:
    spec = small(**ASKED)
    first, whole = run(spec)
    again = tmp_path / "again"
    run_comparison(spec, again, quiet=True)
    (again / "cells" / f"{first.records[-1].key}.json").unlink()
    for file in (again / "shards").rglob("*.parquet"):
        file.unlink()

    def forbidden(*_: Any) -> Any:
        raise AssertionError("solved again")

    monkeypatch.setattr(adaptive, "solve_alpha", forbidden)
    run_comparison(spec, again, quiet=True)
    assert stored_alphas(again) == stored_alphas(whole)
    one, other = content(whole), content(again)
    names = [
        name for name in one if name.split("/")[0] in ("shards", "tokens", "cells", "analyses")
    ]
    assert {name: one[name] for name in names} == {name: other[name] for name in names}
    (again / "alphas.json").write_text("{}[")
    assert stored_alphas(again) == {}


def shares_of(result: Result) -> tuple[CellRecord, str, str]:
    """The cell of adaptive counts, and its 5th and 95th percentile in words."""
    record = next(record for record in result.records if record.adaptive)
    assert record.adaptive is not None
    spread = record.adaptive.removed
    return record, f"{100 * spread['5']:.1f}", f"{100 * spread['95']:.1f}"


def test_terminal_tables_and_export_say_not_shape_static(
    small: Specs, run: Callable[[RunSpec], tuple[Result, Path]], capsys: Out
) -> None:
    result, folder = run(small(**ASKED))
    record, low, high = shares_of(result)
    found = findings_in(folder)
    assert found is not None
    print_findings(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "adaptive, not shape-static" in shown
    assert f"not shape-static, 9 in 10 images lose {low} to {high} % of the FLOPs" in shown
    report = ReportData.of(load(folder))
    coarse = report.frame.set_index("label")["coarse"]
    assert coarse.to_dict() == {"none": False, "delta@constant-ratio": False, record.label: True}
    heads, rows = printed(report.frame, report.run.convention)
    cells = [dict(zip(heads, row, strict=True)) for row in rows]
    (flagged,) = [row for row in cells if row["Setting"] == "adaptive, not shape-static"]
    assert flagged["Removed, %"].endswith(f" [{low}, {high}]")
    assert sum("[" in row["Removed, %"] for row in cells) == 1
    compact = compact_tex(report.frame, "vim_mini", "")
    assert f"not shape-static, nine images in ten lose {low} to {high}" in compact
    assert cli.run(["export", str(folder), "--format", "json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    (row,) = [row for row in exported if row["adaptive"]]
    assert record.adaptive is not None
    assert row["adaptive"] == record.adaptive.model_dump()
    fixed = next(record for record in result.records if record.label == "delta@constant-ratio")
    assert fixed.adaptive is None
    assert not fixed.coarse


@pytest.mark.slow
def test_the_page_says_not_shape_static(
    small: Specs, run: Callable[[RunSpec], tuple[Result, Path]]
) -> None:
    result, folder = run(small(**ASKED))
    _, low, high = shares_of(result)
    assert cli.run(["report", str(folder)]) == 0
    page = (folder / "report" / "index.html").read_text()
    assert ">adaptive, not shape-static</td>" in page
    assert f"[{low}, {high}]</td>" in page
    assert "Not shape-static: each image decides" in page


def test_blind_baselines_beside_it_remove_equal_shares(small: Specs) -> None:
    spec = small(**ASKED | {"methods": ("delta",), "schedule": "adaptive", "baselines": True})
    prepared = prepare(spec)
    schedules = {c.method.name: c.setting.schedule for c in prepared.main if c.setting}
    blind = dict.fromkeys(("random", "stride", "pool"), "constant-ratio")
    assert schedules == {"delta": "adaptive", **blind}
    assert all(not cell.adaptive for cell in prepared.token_matched)


def test_what_cannot_be_adaptive_is_one_line(small: Specs, capsys: Out) -> None:
    for text in ("tome", "utr", "oracle", "storm"):
        assert cli.run(["compare", "--methods", f"{text}@adaptive", "--images", "16"]) == 2
        line = capsys.readouterr().err.strip()
        assert line.endswith(f"give it another, such as {text}@constant-ratio")
        assert len(line.splitlines()) == 1
    with pytest.raises(UserError, match="has no equal counts of tokens: use --protocol matched"):
        prepare(small(**ASKED | {"protocol": "tokens"}))
    with pytest.raises(UserError, match=r"'adaptive' is solved on images .* choose another sched"):
        prepare(small(**ASKED | {"images": 20}))
    with pytest.raises(UserError, match="solved on the images of a comparison: choose another"):
        suite.reduce("vim_nano", "delta@adaptive", 0.4)
    with pytest.raises(UserError, match="under adaptive they are not: leave one out"):
        suite.reduce("vim_nano", "delta@adaptive", counts=8)
