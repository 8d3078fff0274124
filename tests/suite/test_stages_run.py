"""Everything around a model, on one that halves its map of tokens between stages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import suite
from backbones import BACKBONES
from backbones.common.errors import UserError
from backbones.models.sizes import StagedConfig
from backbones.models.vmamba import VMamba
from backbones.unreduce import unreduce
from suite.cli import run as command
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.notes import notes_on_baselines
from suite.plan.prepare import prepare
from suite.plan.run_time import estimate_seconds
from suite.plan.tuning_notes import notes_on_settings
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store

pytestmark = pytest.mark.usefixtures("undrawn")

Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]
STAND_IN = (
    "The tokens of staged_mini have to fill a rectangle, and random, stride and pool leave none: "
    "grid-pool and grid-resize are the blind baselines there."
)
NO_MAP = "leaves no rectangle of tokens, which staged_mini needs: use a method of the grid"


def staged_mini(**overrides: Any) -> VMamba:
    """Five layers in four stages, on maps of 10, 5, 3 and 2 squared."""
    sizes = {"dim": 8, "early": 1, "third": 2, "last": 1, "image_size": 40, "classes": 3}
    return VMamba("staged_mini", StagedConfig(**(sizes | overrides)))


@pytest.fixture
def staged(small: Specs, monkeypatch: pytest.MonkeyPatch) -> Specs:
    """A maker of specs on `staged_mini`."""
    monkeypatch.setitem(BACKBONES._added, "staged_mini", staged_mini)

    def spec(**changed: Any) -> RunSpec:
        values = {"backbones": ("staged_mini",), "methods": ("storm",), "budgets": (0.3,)}
        return small(**(values | changed))

    return spec


@pytest.fixture
def model() -> VMamba:
    torch.manual_seed(0)
    return staged_mini().requires_grad_(False)


IMAGES = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_baselines_of_the_grid_stand_in_and_the_note_says_why(staged: Specs) -> None:
    prepared = prepare(staged(backbones=("staged_mini", "vim_mini"), methods=("storm", "tome")))
    labels = {name: [] for name in prepared.backbones}
    for cell in prepared.main:
        labels[cell.backbone].append((cell.method.text, cell.role))
    assert labels["staged_mini"] == [
        *(("none", "asked"), ("storm", "asked"), ("tome", "asked")),
        *(("grid-pool", "baseline"), ("grid-resize", "baseline"), ("downsample", "baseline")),
    ]
    assert {"random", "stride", "pool"} <= {label for label, _ in labels["vim_mini"]}
    assert "grid-pool" not in {label for label, _ in labels["vim_mini"]}
    (skipped,) = (cell.reason for cell in prepared.main if not cell.plan)
    assert skipped == NO_MAP
    assert notes_on_baselines(prepared) == [STAND_IN]
    assert notes_on_baselines(prepare(staged(baselines=False, methods=("storm",)))) == []
    assert not any("grid" in note for note in notes_on_settings(prepared))
    assert estimate_seconds(prepared) > 0


def test_a_comparison_has_outcomes_kept_tokens_and_a_verdict(staged: Specs, tmp_path: Path) -> None:
    methods = ("storm", "grid-pool", "mtr")
    spec = staged(methods=methods, across_schedules=True, gallery=0)
    run_comparison(spec, tmp_path, quiet=True)
    store = Store(tmp_path)
    records = {record.label: record for record in store.cells() if record.shown}
    assert records["mtr"].reason == NO_MAP
    assert {label for label, record in records.items() if record.status == "ok"} == {
        *("none", "storm", "grid-pool", "grid-resize", "downsample")
    }
    lengths = records["none"].lengths
    assert lengths == [100] * 2 + [25] * 2 + [9] * 4 + [4] * 2
    headline = json.loads((tmp_path / "analyses" / "headline.json").read_text("utf-8"))
    assert STAND_IN in headline["blind"]
    assert headline["blind"][0].startswith("Blind baselines at their best, staged_mini, 30 ")


def test_kept_tokens_are_cells_of_the_coarser_map(staged: Specs, tmp_path: Path) -> None:
    methods = ("storm", "grid-pool")
    spec = staged(methods=methods, budgets=(0.12,), sites=(3, 5), baselines=False, gallery=1)
    run_comparison(spec, tmp_path, quiet=True)
    kept = pd.read_parquet(tmp_path / "analyses" / "kept_tokens.parquet")
    # cells of the second stage are 2 x 2 patches of the first
    for label in ("storm", "grid-pool"):
        own = kept[(kept.label == label) & (kept.block > 2)]
        image = own[own.block == own.block.min()].pivot(index="row", columns="col", values="kept")
        cells = image.to_numpy().reshape(5, 2, 5, 2)
        assert (cells == cells[:, :1, :, :1]).all()
        assert 0 < cells.mean() < 1
    gallery = pd.read_parquet(tmp_path / "analyses" / "gallery.parquet")
    assert {len(owner) for owner in gallery.owner} == {100}


def test_what_cells_share_is_what_each_gives_alone(staged: Specs, tmp_path: Path) -> None:
    spec = staged(methods=("storm", "storm[weights=mean]"), gallery=0, budgets=(0.2, 0.3))
    run_comparison(spec, tmp_path, quiet=True)
    prepared = prepare(spec)
    results = Results(Store(tmp_path), cut_shards(prepared.indices, spec.shard_size))
    model = prepared.models["staged_mini"]
    samples = prepared.data["staged_mini"].samples(np.arange(4), 40)
    for cell in prepared.main:
        if cell.plan is None or cell.image_size != 40:
            continue
        with torch.inference_mode():
            tokens = model.embed(torch.from_numpy(samples), torch.arange(4))
            logits = model.readout(model.run(tokens, plan=cell.reducers()))
        frame = results.outcomes(cell.key)
        assert frame.prediction[:4].tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("method", ["storm", "grid-pool", "grid-resize"])
def test_every_patch_is_followed_over_the_halvings(model: VMamba, method: str) -> None:
    reduced = suite.reduce(model, method, 0.3)
    trace = reduced.trace(IMAGES)
    assert trace.kept.shape == (2, 10, 10)
    assert trace.lengths == reduced.plan.lengths
    assert (trace.kept.sum((1, 2)) == reduced.plan.lengths[-1]).all()
    assert (trace.size.sum((1, 2)) == 100).all()
    tokens = model.run(model.embed(IMAGES).tracked(), plan=reduced._reducers)
    places = torch.arange(tokens.length, dtype=torch.float32).expand(2, -1)[..., None]
    full = unreduce(places, tokens)
    assert full.shape == (2, 100, 1)
    for image in range(2):
        counted = torch.bincount(full[image, :, 0].long(), minlength=tokens.length)
        assert torch.equal(counted.float(), tokens.size[image])
    assert reduced(IMAGES).shape == (2, 3)


def test_counts_are_taken_at_the_sites_of_all_stages(model: VMamba) -> None:
    reduced = suite.reduce(model, "storm", counts={1: 19, 3: 9})
    assert reduced.plan.lengths == (100, 81, 25, 16, 4, 4, 4, 4, 1, 1)
    assert "28 tokens in all" in repr(reduced)
    # at every site the nearest map: 90 for 92, 16 for 17, then as few as there can be
    many = suite.reduce(model, "grid-pool", counts=8)
    assert many.plan.lengths == (100, 90, 25, 16, 4, 1, 1, 1, 1, 1)
    with pytest.raises(UserError, match="leaves no rectangle of tokens"):
        suite.reduce(model, "tome", counts=5)
    with pytest.raises(UserError, match=r"do not fit staged_mini: name different ones of 1, 3, "):
        suite.reduce(model, "storm", counts={2: 5})


def test_under_protocol_paper_storm_follows_its_release(staged: Specs) -> None:
    prepared = prepare(staged(methods=("storm", "tome"), protocol="paper"))
    found = {cell.method.text: cell for cell in prepared.main}
    plan = found["storm"].plan
    assert plan is not None
    # shares of the released maps: 52 of 56, 24 of 28, ...
    assert [plan.lengths[block] for block in (0, 1, 3)] == [100, 81, 16]
    assert found["tome"].reason == NO_MAP
    assert found["grid-pool"].plan is not None


def test_other_commands_take_it_or_say_why_not(
    staged: Specs, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # a narrow table breaks the reason over lines
    data = ["--checkpoint", "random", "--data", "blots", "--device", "cpu", "--threads", "1"]
    sensitivity = ["sensitivity", "--backbone", "staged_mini", *data, "--images", "2"]
    assert command([*sensitivity, "--runs", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "error: staged_mini needs tokens that fill a rectangle, and without a single one they fill "
        "none: choose another backbone"
    )
    run = ["--backbones", "staged_mini", *data, "--images", "6", "--budgets", "0.3"]
    assert command(["plan", *run, "--methods", "storm,mtr"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert STAND_IN in out
    assert "leaves no rectangle of tokens" in out
    tune = ["tune", *run, "--methods", "storm", "--runs", str(tmp_path), "--name", "t"]
    assert command([*tune, "--json"]) == 0
    capsys.readouterr()
    tries = pd.read_parquet(tmp_path / "t" / "tries-staged_mini.parquet")
    assert set(tries.method) == {"storm", "grid-pool", "grid-resize"}
