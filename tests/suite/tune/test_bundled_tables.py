"""The bundled tables of tries hold what these weights answer, measured again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backbones.checkpoints.published import published_files
from methods.base import SCHEDULES
from methods.spec import parse
from suite.data import open_dataset
from suite.execution.local import execute
from suite.store.results import Results
from suite.store.run_folder import session
from suite.tries.bundled import tables
from suite.tries.files import read_tries
from suite.tries.settings import Setting, default_setting
from suite.tune.prepare import prepare_tuning
from suite.tune.spec import TuneSpec

DATA = "fashion-clutter"
BACKBONES = {row.backbone for row in published_files() if row.source == "bundled"}
ENTRIES = 5
MOST_OTHER = 5  # of 1,000 answers, where they come from other hardware
PATHS = {read_tries(path).backbone: path for path in tables()}
# Those whose data come with the suite: Tiny-ImageNet does not.
HERE = sorted(name for name, path in PATHS.items() if read_tries(path).data == DATA)

pytestmark = pytest.mark.slow


def test_every_backbone_that_comes_with_weights_has_its_tries() -> None:
    assert {"vim_nano", "vim_pico", "videomamba_nano", "deit_nano"} <= BACKBONES
    assert PATHS.keys() == BACKBONES
    for path in PATHS.values():
        origin = read_tries(path).origin
        assert (origin.split, len(origin.images), origin.budgets) == ("dev", 1000, (0.2, 0.4, 0.6))


@pytest.mark.parametrize("backbone", HERE)
def test_five_entries_are_measured_again(backbone: str, tmp_path: Path) -> None:
    table = read_tries(PATHS[backbone])
    known = [row for row in table.rows if row.correct is not None]
    # Of five methods each another schedule and budget, another choice for each backbone.
    drawn = np.random.default_rng(sum(backbone.encode())).permutation(len(known))
    entries = []
    for row in (known[index] for index in drawn):
        if len(entries) < ENTRIES and row.method not in {entry.method for entry in entries}:
            entries.append(row)
    spec = TuneSpec(
        methods=tuple(row.method for row in entries),
        backbones=(backbone,),
        images=len(table.images),
    )
    tuning = prepare_tuning(spec)
    planned = {
        (each.method.text, each.setting, each.budget): each for each in tuning.tries[backbone]
    }
    cells = [planned[row.method, row.setting, row.budget].cell for row in entries]
    prepared = replace(tuning.prepared, cells=[tuning.prepared.dense[backbone], *cells])
    origin = table.origin
    assert origin.images == tuple(prepared.indices.tolist())
    assert origin.content == open_dataset(DATA, "dev").content(table.images)
    provenance = prepared.models[backbone].provenance
    assert provenance is not None
    assert origin.weights == provenance.sha256
    with session(tmp_path / "run", spec) as store:
        assert not execute(prepared, store, lambda count: None)
        results = Results(store, prepared.shards)
        for row, cell in zip(entries, cells, strict=True):
            assert cell.plan is not None
            assert row.removed == cell.plan.removed["flops"]
            other = results.hits(cell.key)[1] != row.correct
            assert other.sum() <= MOST_OTHER, f"{row.method} {row.setting} at {row.budget}"


@pytest.mark.parametrize("backbone", sorted(PATHS))
def test_picks_are_the_best_of_equally_many_tries(backbone: str) -> None:
    frame = pd.read_parquet(PATHS[backbone])
    table = read_tries(PATHS[backbone])
    assert set(frame.groupby("method").size()) == {18 * len(table.origin.budgets)}
    for name, rows in frame.groupby("method"):
        complete = rows.groupby(["schedule", "cls_window"]).filter(
            lambda part: part.top1.notna().all()
        )
        counts = (len(table.images) * complete.top1).round()
        right = counts.groupby([complete.schedule, complete.cls_window]).sum()
        if right.empty:
            assert table.pick(str(name)) is None
            continue
        winners = [Setting(*index) for index in right.index[right == right.max()]]
        winners.sort(key=lambda each: (SCHEDULES.index(each.schedule), each.cls_window))
        default = default_setting(parse(str(name)).method)
        assert table.pick(str(name)) == (default if default in winners else winners[0])
