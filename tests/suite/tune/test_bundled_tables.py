"""The bundled tables of tries hold what these weights answer, measured again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backbones.checkpoints.published import published_files
from methods.base import SCHEDULES
from methods.spec import parse
from suite.config.spec_file import build_spec
from suite.data import open_dataset
from suite.execution.local import execute
from suite.plan.prepare import prepare
from suite.stats.hits import Hits
from suite.stats.metric import METRICS, TOP1
from suite.stats.overlap import Overlaps
from suite.store.results import Results
from suite.store.run_folder import session
from suite.store.schema import TASKS
from suite.tries.bundled import tables
from suite.tries.few_images import FEW
from suite.tries.files import read_tries
from suite.tries.settings import Setting, default_setting, on_grid
from suite.tune.prepare import prepare_tuning
from suite.tune.spec import TuneSpec

DATA = "fashion-clutter"
TASK_OF = {row.backbone: row.task for row in published_files() if row.source == "bundled"}
ENTRIES = 5
MOST_OTHER = 5  # of 1,000 answers, where they come from other hardware
IMAGES_OTHER = 0.1  # of images, likewise, some of whose pixels are of another class
PATHS = {read_tries(path).backbone: path for path in tables()}
# Those whose data come with the suite: Tiny-ImageNet does not.
HERE = sorted(name for name, path in PATHS.items() if read_tries(path).data == DATA)

pytestmark = pytest.mark.slow


def test_every_backbone_that_comes_with_weights_has_its_tries() -> None:
    assert {"vim_nano", "vim_pico", "videomamba_nano", "deit_nano"} <= TASK_OF.keys()
    assert PATHS.keys() == TASK_OF.keys()
    for backbone, path in PATHS.items():
        table = read_tries(path)
        assert (table.split, table.origin.budgets) == ("dev", (0.2, 0.4, 0.6))
        assert table.metric == METRICS[TASK_OF[backbone]]
        # Pixels take more room than right answers.
        assert len(table.images) == 1000 if table.metric == TOP1 else len(table.images) >= FEW


@pytest.mark.parametrize("backbone", HERE)
def test_five_entries_are_measured_again(backbone: str, tmp_path: Path) -> None:
    table = read_tries(PATHS[backbone])
    known = [row for row in table.rows if row.outcomes is not None]
    # Of five methods each another schedule and budget, another choice for each backbone.
    drawn = np.random.default_rng(sum(backbone.encode())).permutation(len(known))
    entries = []
    for row in (known[index] for index in drawn):
        if len(entries) < ENTRIES and row.method not in {entry.method for entry in entries}:
            entries.append(row)
    spec = TuneSpec(
        methods=tuple(row.method for row in entries),
        task=TASK_OF[backbone],
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
    assert origin.content == open_dataset(DATA, "dev", task=TASK_OF[backbone]).content(table.images)
    provenance = prepared.models[backbone].provenance
    assert provenance is not None
    assert origin.weights == provenance.sha256
    with session(tmp_path / "run", spec) as store:
        assert not execute(prepared, store, lambda count: None)
        data = prepared.dataset
        results = Results(store, prepared.shards, TASKS[data.task], len(data.classes))
        for row, cell in zip(entries, cells, strict=True):
            assert cell.plan is not None
            assert row.removed == cell.plan.removed["flops"]
            place = f"{row.method} {row.setting} at {row.budget}"
            if isinstance(row.outcomes, Hits):
                other = results.hits(cell.key)[1] != row.outcomes.correct[0]
                assert other.sum() <= MOST_OTHER, place
            else:
                assert isinstance(row.outcomes, Overlaps)
                other = results.pixels(cell.key)[1] != row.outcomes.pixels[0]
                assert other.any((1, 2)).mean() <= IMAGES_OTHER, place


@pytest.mark.parametrize("backbone", sorted(PATHS))
def test_picks_are_the_best_of_equally_many_tries(backbone: str) -> None:
    frame = pd.read_parquet(PATHS[backbone])
    table = read_tries(PATHS[backbone])
    figure = table.metric.column
    for name, rows in frame.groupby("method"):
        # Methods that keep a rectangle have no window: six settings instead of 18.
        settings = 6 if on_grid(str(name)) else 18
        assert len(rows) == settings * len(table.origin.budgets)
        complete = rows.groupby(["schedule", "cls_window"]).filter(
            lambda part: part[figure].notna().all()
        )
        # Sums of equally many right answers may differ in their last digits.
        right = complete.groupby(["schedule", "cls_window"])[figure].sum().round(9)
        if right.empty:
            assert table.pick(str(name)) is None
            continue
        winners = [Setting(*index) for index in right.index[right == right.max()]]
        winners.sort(key=lambda each: (SCHEDULES.index(each.schedule), each.cls_window))
        default = default_setting(parse(str(name)).method)
        assert table.pick(str(name)) == (default if default in winners else winners[0])


def test_the_default_comparison_of_segmenters_runs_nothing_for_schedules() -> None:
    prepared = prepare(build_spec(task="segmentation", methods=("mtr", "tome"), device="cpu"))
    assert not prepared.across
    assert prepared.tries.keys() == {"vim_nano_conv"}
    untried = prepare(build_spec(task="segmentation", methods=("mtr", "utr"), device="cpu"))
    assert untried.across
