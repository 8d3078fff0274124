"""The engine's cost: the stub is a backbone, its calls are recorded once, the figures add up."""

from dataclasses import replace
from pathlib import Path

import engine
import numpy as np
import pytest
import torch
from engine import EngineRow, measure_engine, one_run, recorded, register, settings, table
from stub import CLASSES, DRAWN, GRID, PATCH, StubData, StubModel

from backbones.base import Backbone
from suite.plan.prepare import prepare

ROW = EngineRow(
    images=1000,
    cells=40,
    wall=10.0,
    processor=9.0,
    own=8.0,
    own_processor=7.5,
    model=3.0,
    waiting=0.1,
    forward=8.5,
    tokens=0.2,
    outcomes=0.2,
    writing=0.4,
    records=0.3,
    statistics=0.2,
    analyses=0.3,
    report=2.0,
    peak=800,
    peak_report=850,
)
SMALL = {"methods": ("mtr", "tome"), "budgets": (0.3,), "seeds": 1, "gallery": 2}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few cells instead of forty."""
    monkeypatch.setattr(
        engine, "settings", lambda images: settings(images).model_copy(update=SMALL)
    )


def test_the_stub_is_a_backbone_whose_tokens_are_its_patches() -> None:
    model, data = StubModel(), StubData(30)
    images = torch.from_numpy(data.samples(np.arange(2), model.image_size))
    tokens = model.embed(images)
    shape = model.describe()
    assert isinstance(model, Backbone)
    assert (tokens.length, shape.length, model.depth) == (GRID**2 + 1, GRID**2 + 1, shape.depth)
    for position in (0, 10, 23, 25, 49):
        patch = position - (position > model.special_places[0])
        row, column = (PATCH * start for start in divmod(patch, GRID))
        pixels = images[1, :, row : row + PATCH, column : column + PATCH]
        assert torch.equal(tokens.branch[1, position].view(3, PATCH, PATCH), pixels)
    assert not tokens.branch[:, model.special_places[0]].any()
    traced = model.run(tokens, 0, 3, needs=frozenset({"delta_mean"}))
    assert traced.trace is not None
    assert traced.trace.delta_mean is not None
    assert traced.trace.delta_mean.shape == (2, 2, tokens.length)
    assert model(images).shape == (2, CLASSES)


def test_the_stub_classifies_its_images_and_they_repeat() -> None:
    model, data = StubModel(), StubData(DRAWN + 5)
    logits = model(torch.from_numpy(data.samples(np.arange(500), model.image_size)))
    right = (logits.argmax(1).numpy() == data.labels[:500]).mean()
    assert 0.3 < right < 0.9
    assert np.array_equal(data.sample(DRAWN + 1, 14), data.sample(1, 14))


def test_the_measured_run_has_as_many_cells_as_is_said() -> None:
    register()
    prepared = prepare(settings(100))
    assert [len(cells) for cells in (prepared.main, prepared.runnable["stub"])] == [40, 42]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_small_run_is_measured_whole(tmp_path: Path) -> None:
    row = one_run(tmp_path / "run", 40)
    assert (tmp_path / "run" / "report" / "index.html").exists()
    assert row.cells == len(list((tmp_path / "run" / "shards").iterdir()))
    assert 0 < row.model < row.own < row.wall
    assert row.wall > row.forward > row.tokens > 0
    assert min(row.outcomes, row.writing, row.records, row.statistics, row.analyses, row.report) > 0
    assert row.peak_report >= row.peak > 100


@pytest.mark.usefixtures("small")
def test_every_call_of_a_batch_is_recorded_once() -> None:
    register()
    prepared = prepare(engine.settings(40), further=False)
    calls, model_calls = recorded(prepared)
    cells = prepared.runnable["stub"]
    sites = {cell.key: sorted(cell.plan.removals) for cell in cells if cell.plan is not None}
    # no two cells share a reduction here
    assert len(calls) - len(model_calls) == sum(map(len, sites.values()))
    reduced = [cell for cell in cells if sites[cell.key]]
    smaller = {cell.image_size for cell in cells} - {prepared.models["stub"].image_size}
    heads = len(cells)
    blocks = len(model_calls) - heads - 1 - 3 * len(smaller)
    first = min(sites[reduced[0].key])
    depth = prepared.models["stub"].depth
    assert blocks == first + (len(reduced) + 1) * (depth - first) + len(smaller) * depth


def test_figures_are_of_an_image_and_cell() -> None:
    assert ROW.overhead == pytest.approx(50)
    assert ROW.overhead_processor == pytest.approx(37.5)
    assert ROW.each(ROW.writing) == pytest.approx(10)
    assert len(table([ROW, replace(ROW, images=50_000)]).rows) > 10


@pytest.mark.slow
def test_a_run_costs_little_beside_its_model_and_no_memory_for_more_images() -> None:
    first, last = measure_engine((2000, 12_000))
    assert last.overhead_processor <= 60  # microseconds an image and cell
    assert last.peak_report - first.peak_report <= 200  # MB
