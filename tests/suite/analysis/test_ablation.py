"""A miniature ablation from one call to its tables, its statistics against an independent computation."""

import io
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import spearmanr

from methods.spec import parse
from suite.analysis.ablation import AblationRow, console_tables, seeds_note, sentence
from suite.comparison import Result, run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.ablation_axes import permutations, settings
from suite.stats.compare import ENVELOPE
from suite.store.schema import CellRecord

CELL = CellRecord.model_construct(split="test", kind="images", made_up=[])

Specs = Callable[..., RunSpec]
Done = tuple[Result, pd.DataFrame, Path]
ASKED: dict[str, Any] = {
    "methods": ("mtr",),
    "axes": ("order", "size"),
    "budgets": (0.3,),
    "baselines": False,
    "gallery": 0,
    "batch_size": 30,
    "shard_size": 30,
}
RUNS: dict[str, Done] = {}


@pytest.fixture
def done(small: Specs, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The run, its table, its folder; run once."""
    if not RUNS:
        folder = tmp_path_factory.mktemp("ablation")
        result = run_comparison(small(**ASKED), folder, quiet=True)
        RUNS["order"] = result, pd.read_parquet(folder / "analyses" / "ablation.parquet"), folder
    return RUNS["order"]


def correct(folder: Path, records: list[CellRecord]) -> NDArray[np.bool_]:
    """Hits (seeds, images) of the cells `records`."""
    found = []
    for record in records:
        parts = [
            pd.read_parquet(part) for part in sorted((folder / "shards" / record.key).iterdir())
        ]
        frame = pd.concat(parts)
        found.append((frame.prediction == frame.label_true).to_numpy())
    return np.stack(found)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Exact two-sided p by counting coins."""
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    n = gained + lost
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n)


def test_every_setting_has_its_row_and_the_figures_of_its_cells(done: Done) -> None:
    result, frame, folder = done
    assert not result.failures
    order = frame[(frame.axis == "order") & (frame.budget > 0)]
    assert order.spec.tolist() == [
        setting.method.text for setting in settings(parse("mtr"), "order")
    ]
    whole = frame[frame.budget == 0]
    assert whole.spec.tolist() == ["none", *(setting.method.text for setting in permutations())]
    assert frame[frame.axis == "size"].spec.tolist() == ["mtr", "mtr[weights=size]"]
    assert frame.groupby(["axis", "budget"]).is_reference.sum().tolist() == [1, 1, 1]
    for row in frame.to_dict("records"):
        cells = [r for r in result.records if r.spec == row["spec"]]
        hits = correct(folder, cells)
        assert (row["status"], row["seeds"], row["images"]) == ("ok", len(cells), 30)
        assert row["top1"] == pytest.approx(hits.mean())
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]
        for name in ("agreement", "kl", "tau"):
            assert row[name] == pytest.approx(
                np.mean([getattr(cell.metrics, name) for cell in cells])
            )
        reference = [r for r in result.records if r.spec == ("mtr" if row["budget"] else "none")]
        if not row["is_reference"]:
            assert row["difference"] == pytest.approx(
                hits.mean() - correct(folder, reference).mean()
            )
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert (frame.significant.isna() == frame.p_holm.isna()).all()
    tau = frame.set_index("spec").tau
    assert tau["none"] == tau["permute[shuffle=0.05]"] * 0 + 1 == tau["mtr"].iloc[0]
    assert tau["mtr[order=reversed]"] == tau["permute[order=reversed]"] == -1
    assert abs(tau["permute"]) < 0.1


def test_p_values_are_mcnemars_with_holms_correction_over_one_axis(done: Done) -> None:
    result, frame, folder = done
    for _, family in frame.groupby(["axis", "budget"], sort=False):
        own = correct(folder, [r for r in result.records if r.spec == family.spec.iloc[0]])[0]
        others = family[~family.is_reference]
        for row in others[others.seeds == 1].to_dict("records"):
            cells = [r for r in result.records if r.spec == row["spec"]]
            assert row["p"] == pytest.approx(mcnemar(correct(folder, cells)[0], own))
        ranked = others.sort_values("p", kind="stable")
        wanted = np.minimum(
            1, np.maximum.accumulate(ranked.p.to_numpy() * np.arange(len(ranked), 0, -1))
        )
        assert ranked.p_holm.tolist() == pytest.approx(wanted.tolist())


def test_the_words_hold_the_figures_of_the_table(done: Done) -> None:
    result, frame, folder = done
    words = pd.read_parquet(folder / "analyses" / "ablation_sentences.parquet")
    warnings, paragraphs = result.headline.warnings, result.headline.paragraphs
    assert paragraphs[: len(warnings)] == warnings
    assert [result.headline.headline, *paragraphs[len(warnings) :]] == words.sentence.tolist()
    assert words.axis.tolist() == ["order", "order", "size"]
    order = frame[(frame.axis == "order") & (frame.budget > 0)]
    text = words.sentence[0]
    assert text.startswith(
        "Axis order on vim_mini, 30 % of FLOPs removed (constant-ratio), 30 test "
    )
    assert f"mtr (order=restored) is right on {100 * order.top1.iloc[0]:.1f} %" in text
    worse, better = ((order.significant & (sign * order.difference > 0)).sum() for sign in (-1, 1))
    others = len(order) - 1
    less = "none keeps" if worse == 0 else "1 keeps" if worse == 1 else f"{worse} keep"
    assert f"Of {others} other settings {less} less and {better or 'none'} more (p below 5" in text
    assert f"corrected for {others} comparisons by Holm's method" in text
    assert (
        f"Holm's method); {len(order) - 1 - worse - better} cannot be told apart from it." in text
    )
    best = order[~order.is_reference].sort_values("difference").iloc[-1]
    assert f"{100 * best.difference:+.1f} points" in text
    assert f"rho {spearmanr(order.tau, order.top1).statistic:+.2f}" in text
    assert "nothing removed" in words.sentence[1]
    page = io.StringIO()
    shown = Console(width=140, file=page)
    for table in console_tables(folder):
        shown.print(table)
    assert all(setting in page.getvalue() for setting in order.setting)


def test_a_setting_that_cannot_run_says_why_and_stops_nothing(small: Specs, tmp_path: Path) -> None:
    spec = small(
        **ASKED | {"axes": ("class-token",), "methods": ("mtr", "tome"), "budgets": (0.6,)}
    )
    result = run_comparison(spec, tmp_path, quiet=True)
    assert not result.failures
    frame = pd.read_parquet(tmp_path / "analyses" / "ablation.parquet")
    assert set(frame.method) == {"mtr", "tome"}
    skipped = frame[frame.status == "skipped"]
    assert len(skipped)
    assert skipped.reason.str.contains("at most").all()
    # The window that a method has anyway, spelled out, is no setting of its own.
    own = frame[(frame.method == "mtr") & frame.is_reference]
    assert own.setting.tolist() == ["cls_placement=exact, cls_window=0"]
    words = pd.read_parquet(tmp_path / "analyses" / "ablation_sentences.parquet").sentence
    assert "Not measured: cls_window=" in " ".join(words)


def test_a_reference_that_cannot_run_is_said(small: Specs, tmp_path: Path) -> None:
    spec = small(**ASKED | {"axes": ("direction",), "budgets": (0.3, 0.95)})
    run_comparison(spec, tmp_path, quiet=True)
    words = pd.read_parquet(tmp_path / "analyses" / "ablation_sentences.parquet").sentence
    assert words[1].startswith(
        "Axis direction on vim_mini, 95 % of FLOPs removed (constant-ratio): mtr was skipped"
    )


def test_settings_of_one_cell_are_one_row_under_both_words(small: Specs, tmp_path: Path) -> None:
    run_comparison(small(**ASKED | {"axes": ("combine", "schedule")}), tmp_path, quiet=True)
    frame = pd.read_parquet(tmp_path / "analyses" / "ablation.parquet")
    both = frame[frame.spec == "mtr[weights=drop]"]
    assert both.setting.tolist() == ["weights=drop, drop_ratio=1"]
    assert both.label.tolist() == ["mtr[weights=drop] = mtr[drop_ratio=1]"]
    schedule = frame[frame.axis == "schedule"]
    assert schedule.setting.iloc[0].startswith("schedule=constant-ratio")
    assert not frame.duplicated(["axis", "label"]).any()


def test_the_same_answers_are_no_difference_and_a_bound_keeps_its_side() -> None:
    reference = AblationRow(
        *("size", "b", "mtr", 0.4, "weights=mean", "mtr", "mtr", True), top1=0.5
    )
    same = replace(
        reference,
        setting="weights=size",
        is_reference=False,
        interval="interval",
        difference=0.0,
        difference_low=-0.2,
        difference_high=0.2,
        p_holm=1.0,
        only_method_correct=0,
        only_reference_correct=0,
    )
    better = replace(
        same,
        setting="weights=pair",
        difference=0.1,
        difference_low=0.0004,
        significant=True,
        only_method_correct=9,
    )
    text = sentence([replace(reference, images=9, seeds=1), same, better], CELL)
    assert "Of 2 other settings none keeps less and 1 more" in text
    assert "weights=pair, +10.0 points (95 % interval +0.04 to +20.0)" in text
    assert "lowest: weights=size, right on the same images." in text


def test_nothing_is_claimed_of_nothing() -> None:
    row = AblationRow(
        *("size", "b", "mtr", 0.4, "weights=mean", "mtr", "mtr"),
        is_reference=True,
        images=9,
        seeds=1,
        top1=0.5,
        tau=1.0,
    )
    text = sentence([row], CELL)
    assert (
        text
        == "Axis size on b, 40 % of FLOPs removed, 9 test images: mtr (weights=mean) is right on 50.0 %."
    )
    clips = CellRecord.model_construct(split="val", kind="videos", made_up=["head (random)"])
    assert sentence([row], clips).startswith(
        "Axis size on b, made up in part: head (random), 40 % of FLOPs removed, 9 val videos: mtr "
    )


def test_the_terminal_says_what_an_interval_over_few_seeds_is(tmp_path: Path) -> None:
    (tmp_path / "analyses").mkdir()
    for kinds, note in ((["", "interval"], ""), (["", "interval", "range"], ENVELOPE)):
        frame = pd.DataFrame({"interval": kinds})
        frame.to_parquet(tmp_path / "analyses" / "ablation.parquet")
        assert seeds_note(tmp_path) == note
    assert "may hold zero beside a small p" in ENVELOPE
