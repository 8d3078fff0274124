"""A run folder read from disk, and every way in which it can be broken."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import reports
from backbones.common.errors import UserError
from reports import aggregate
from reports.report_data import ReportData
from reports.results_table import results
from reports.run import load, outcomes, recomputed
from reports.tables import compact_tex

pytestmark = pytest.mark.usefixtures("undrawn")

SAME = "tome[order=appended] = tome[order=appended,weights=size]"


def test_seeds_are_averaged_and_their_range_kept(run_folder: Path) -> None:
    run = load(run_folder)
    row = aggregate.points(run).query("label == 'random' and budget == 0.4").iloc[0]
    cells = [json.loads(path.read_text()) for path in (run_folder / "cells").glob("*.json")]
    tops = [c["metrics"]["top1"] for c in cells if c["label"] == "random" and c["budget"] == 0.4]
    assert len(tops) == 3
    assert row["top1"] == pytest.approx(sum(tops) / 3)
    assert (row["seed_low"], row["seed_high"], row["seeds"]) == (min(tops), max(tops), 3)


def test_statistics_land_on_their_cell(run_folder: Path) -> None:
    frame = aggregate.points(load(run_folder))
    stored = pd.read_parquet(run_folder / "analyses" / "statistics.parquet")
    for _, want in stored.iterrows():
        same = (
            frame["budget"].isna() if pd.isna(want["budget"]) else frame["budget"] == want["budget"]
        )
        found = frame[same & (frame["label"] == want["label"])]
        assert len(found) == 1
        assert found["top1_low"].iloc[0] == want["top1_low"]
        for column, source in (("difference", "difference"), ("difference_low", "difference_low"), ("p_holm", "p_holm"),
                               ("significant", "significant")):  # fmt: skip
            got = found[column].iloc[0]
            assert got == want[source] or (pd.isna(got) and pd.isna(want[source]))


def test_truths_are_read_as_what_they_say_whichever_way_they_were_written(
    fresh: Callable[[], Path],
) -> None:
    folder = fresh()
    path = folder / "analyses" / "statistics.parquet"
    stored = pd.read_parquet(path)
    wanted = stored["significant"].tolist()
    assert {True, False, None} == set(wanted)
    for kind in (object, "boolean", "float64"):  # the last as runs from before have it
        stored.astype({"significant": kind}).to_parquet(path)
        run = load(folder)
        assert [type(truth) for truth in run.statistics["significant"]] == [
            type(truth) for truth in wanted
        ]
        assert run.statistics["significant"].tolist() == wanted
        told = aggregate.points(run).set_index(["label", "budget"])["significant"]
        for row in stored.dropna(subset=["budget"]).itertuples():
            assert told[row.label, row.budget] is row.significant
    for odd in (0.5, "yes", [True]):
        stored.assign(significant=[odd] * len(stored)).to_parquet(path)
        with pytest.raises(
            UserError, match="no truths in the column 'significant': delete the file"
        ):
            load(folder)


def test_what_is_told_apart_is_marked_alike_on_page_and_paper(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    path = folder / "analyses" / "statistics.parquet"
    stored = pd.read_parquet(path)
    told = stored["label"].isin(["tome", "evit"])
    signed = np.where(stored["label"] == "tome", 0.05, -0.05)
    same = {
        "p_holm": 1e-4,
        "difference_low": -0.1,
        "difference_high": 0.1,
    }  # by p alone all would be marked
    stored = stored.assign(**same, difference=signed, significant=told)
    stored.to_parquet(path)
    report = ReportData.of(load(folder))
    rows = results(report)[1]
    marked = {(row["record"]["label"], row["verdict"]) for row in rows if row["verdict"]}
    assert marked == {("tome", "better"), ("evit", "worse")}
    starred = {line.partition(" &")[0] for line in compact_tex(report.frame, "vim_nano", "").splitlines()
               if "$^{*}$" in line}  # fmt: skip
    assert starred == {"tome", "evit"}


def test_dense_first_then_groups_then_the_order_asked_for(run_folder: Path) -> None:
    assert aggregate.labels(load(run_folder)) == [
        "none", "mtr", "tome", SAME, "evit", "random", "stride", "pool", "downsample",
    ]  # fmt: skip


def test_top1_is_recomputed_from_outcomes(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    run = load(folder)
    done = run.cells[run.cells["status"] == "ok"]
    assert aggregate.audit(run, recomputed(run)) == (len(done), [])
    assert len(outcomes(run, done["key"].iloc[0])) == 400
    path = folder / "cells" / f"{done['key'].iloc[0]}.json"
    cell = json.loads(path.read_text())
    cell["metrics"]["top1"] += 0.01
    path.write_text(json.dumps(cell))
    assert aggregate.audit(load(folder), recomputed(run)) == (len(done) - 1, [cell["key"]])


def test_lift_is_the_ratio_and_missing_where_nothing_is_left(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    path = folder / "analyses" / "foreground.parquet"
    frame = pd.read_parquet(path).head(2)
    frame["foreground_kept"], frame["kept"] = [0.6, 0.0], [0.4, 0.0]
    frame.to_parquet(path)
    lift = aggregate.by_block(load(folder))["lift"]
    assert lift.iloc[0] == pytest.approx(1.5)
    assert pd.isna(lift.iloc[1])


def _no_spec(folder: Path) -> None:
    (folder / "spec.yaml").unlink()


def _foreign_spec(folder: Path) -> None:
    (folder / "spec.yaml").write_text("services: {web: 1}")


def _newer(folder: Path) -> None:
    spec = yaml.safe_load((folder / "spec.yaml").read_text())
    (folder / "spec.yaml").write_text(yaml.safe_dump({**spec, "schema": 99}))


def _unsafe_yaml(folder: Path) -> None:
    (folder / "spec.yaml").write_text("schema: !!python/object/apply:os.getcwd []")


def _no_cells(folder: Path) -> None:
    shutil.rmtree(folder / "cells")


def _torn_cell(folder: Path) -> None:
    next(iter(sorted((folder / "cells").glob("*.json")))).write_text('{"status": "ok", ')


def _odd_status(folder: Path) -> None:
    next(iter(sorted((folder / "cells").glob("*.json")))).write_text('{"status": "maybe"}')


def _torn_parquet(folder: Path) -> None:
    (folder / "analyses" / "kept_tokens.parquet").write_bytes(b"PAR1 torn")


def _lacking_column(folder: Path) -> None:
    path = folder / "analyses" / "gallery.parquet"
    pd.read_parquet(path).drop(columns="owner").to_parquet(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_no_spec, "not a run folder"), (_foreign_spec, "names no schema"), (_newer, "run schema 99"),
        (_unsafe_yaml, "cannot be read"), (_no_cells, "no finished cell"), (_torn_cell, "delete it and resume"),
        (_odd_status, "status 'maybe'"), (_torn_parquet, "kept_tokens.parquet"), (_lacking_column, "lacks the column 'owner'"),
        (shutil.rmtree, "no run folder"),
    ],
)  # fmt: skip
def test_a_broken_run_is_one_clear_line(
    fresh: Callable[[], Path], harm: Callable[[Path], None], words: str
) -> None:
    folder = fresh()
    harm(folder)
    with pytest.raises(UserError, match=words) as caught:
        reports.build(folder)
    assert "\n" not in str(caught.value)


def test_a_run_with_nothing_but_the_dense_cell_still_makes_a_page(
    fresh: Callable[[], Path],
) -> None:
    folder = fresh()
    for path in (folder / "cells").glob("*.json"):
        if json.loads(path.read_text())["method"] != "none":
            path.unlink()
    shutil.rmtree(folder / "analyses")
    shutil.rmtree(folder / "shards")
    (folder / "environment.json").unlink()
    page = reports.build(folder)
    before = page.read_bytes()
    assert b"What this data can" not in before
    assert {path.name for path in (folder / "report" / "figures").iterdir()} == {
        "pareto.png",
        "pareto.svg",
    }
    stale = folder / "report" / "figures" / "sensitivity.png"
    stale.write_bytes(b"old")
    assert reports.build(folder).read_bytes() == before
    assert not stale.exists()
    assert not list((folder / "report").rglob(".*"))


def test_failed_everywhere_and_null_numbers(fresh: Callable[..., Path]) -> None:
    folder = fresh(labels=("mtr", "random"))
    for number, path in enumerate(sorted((folder / "cells").glob("*.json"))):
        cell = json.loads(path.read_text())
        if number % 2:
            cell.update(status="failed", metrics=None, flops=None, total=None, removed=None)
        elif cell["metrics"]:
            cell["metrics"].update(kl=float("nan"), agreement=None)
        path.write_text(json.dumps(cell))
    for name in ("kept_tokens", "gallery", "foreground"):
        (folder / "analyses" / f"{name}.parquet").unlink()
    assert reports.build(folder).is_file()


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOSPC, "free some space, or choose another folder"),
        (errno.EACCES, "allow it, or choose another folder"),
    ],
)
def test_a_report_that_cannot_be_written_says_what_helps(
    code: int, mend: str, fresh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    folder = fresh(labels=("mtr", "random"), budgets=(0.4,))
    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(UserError, match=f"{re.escape(os.strerror(code))}.*: {mend}"):
        reports.build(folder)


def test_what_is_left_stays_the_same_from_the_last_removal_to_the_last_block(
    run_folder: Path,
) -> None:
    run = load(run_folder)
    stored = run.foreground
    few = stored[stored["block"] < 2]
    filled = aggregate.by_block(replace(run, foreground=few))
    depth = int(run.cells["blocks"].max())
    assert depth > 2
    for _, rows in filled.groupby(["backbone", "label", "budget"]):
        assert rows["block"].tolist() == list(range(depth))
        assert rows["foreground_kept"].iloc[1:].nunique() == 1
    at_one = filled[filled["block"] == 1]
    last = filled[filled["block"] == depth - 1]
    assert last["kept"].tolist() == at_one["kept"].tolist()
