"""Smaller models: beside which backbones they stand, what they cost, and that no method runs on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backbones.common.errors import UserError
from suite.cli import run
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.prepare import prepare
from suite.plan.smaller import smaller_models
from suite.store.run_folder import Store
from suite.store.schema import CellRecord

Specs = Callable[..., RunSpec]
SMALL = "vim_mini[dim=8]"


@pytest.mark.parametrize(
    ("data", "changed", "found"),
    [
        ("fashion-clutter", {}, {"vim_pico": ["vim_nano"]}),
        # It makes no sense where weights or data are others, and where nothing is to stand beside.
        ("fashion-mnist", {}, {}),
        ("fashion-clutter", {"checkpoint": "random"}, {}),
        ("fashion-clutter", {"checkpoint": "weights.pth"}, {}),
        ("fashion-clutter", {"baselines": False}, {}),
        ("fashion-clutter", {"smaller": ("none",)}, {}),
        ("fashion-clutter", {"axes": ("order",)}, {}),
        # Of other backbones no smaller one is bundled.
        ("fashion-clutter", {"backbones": ("videomamba_nano", "deit_nano")}, {}),
        ("fashion-clutter", {"backbones": ("vim_nano[image_size=84]",)}, {}),
        ("fashion-clutter", {"backbones": ("vim_pico",)}, {}),
        # It stands beside the one that it differs from in size alone.
        (
            "fashion-clutter",
            {"backbones": ("videomamba_nano", "vim_nano")},
            {"vim_pico": ["vim_nano"]},
        ),
        (
            "fashion-clutter",
            {"backbones": ("vim_nano", "vim_pico")},
            {"vim_pico": ["vim_nano"]},
        ),
        # One that is named is tried beside all others, whatever the weights and data are.
        (
            "imagenet",
            {
                "checkpoint": "official",
                "baselines": False,
                "backbones": ("vim_base", "vim_small"),
                "smaller": ("vim_small", "vim_tiny"),
            },
            {"vim_small": ["vim_base"], "vim_tiny": ["vim_base", "vim_small"]},
        ),
    ],
)
def test_which_models_stand_beside_which_backbones(
    data: str, changed: dict[str, Any], found: dict[str, list[str]]
) -> None:
    assert smaller_models(RunSpec(data=data, **changed), data) == found


@pytest.mark.parametrize("convention", ["flops", "macs"])
def test_the_bundled_smaller_model_has_its_own_weights_and_its_share_of_flops(
    convention: str,
) -> None:
    spec = RunSpec(images=10, methods=("mtr",), budgets=(0.4,), flops_convention=convention)
    records = prepare(spec).records
    by_backbone = {record.backbone: record for record in records if record.method == "none"}
    nano, pico = by_backbone["vim_nano"], by_backbone["vim_pico"]
    assert records[-1] == pico
    assert (pico.role, pico.shown, nano.role) == ("smaller", False, "asked")
    assert nano.beside == {}
    # Every product has 64 channels or twice as many on the one side, here 48.
    share = 1 - pico.total[convention] / nano.total[convention]
    assert pico.beside == {"vim_nano": pytest.approx(share)}
    assert 1 - 48 / 64 < share < 1 - (48 / 64) ** 2
    assert pico.weights
    assert pico.weights != nano.weights
    assert all(record.backbone == "vim_nano" for record in records if record.shown)


def records_of(folder: Path) -> dict[tuple[str, str, float | None, int], CellRecord]:
    return {(r.backbone, r.label, r.budget, r.seed): r for r in Store(folder).cells()}


def test_it_runs_dense_alone_and_in_no_table_of_methods(
    small: Specs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"methods": ("mtr",), "budgets": (0.3,), "seeds": 1}
    result = run_comparison(small(**few, smaller=(SMALL,)), tmp_path / "with", quiet=True)
    run_comparison(small(**few, smaller=("none",)), tmp_path / "without", quiet=True)
    own_spec = small(backbones=(SMALL,), methods=("none",), baselines=False)
    run_comparison(own_spec, tmp_path / "own", quiet=True)
    with_it, without = records_of(tmp_path / "with"), records_of(tmp_path / "without")
    record = with_it.pop((SMALL, "none", None, 0))
    assert with_it == without
    # It answers as it does as a backbone of a run of its own, where it is the same cell.
    own = records_of(tmp_path / "own")[SMALL, "none", None, 0]
    assert (own.key, own.metrics) == (record.key, record.metrics)
    assert (own.role, own.beside) == ("asked", {})
    assert record.metrics is not None
    statistics = pd.read_parquet(tmp_path / "with" / "analyses" / "statistics.parquet")
    (row,) = statistics[statistics.label == SMALL].to_dict("records")
    assert (row["backbone"], row["top1"]) == ("vim_mini", record.metrics.top1)
    sentence = (
        f"a smaller model, {SMALL}, keeps {100 * record.metrics.top1:.1f} % at "
        f"{round(-100 * record.beside['vim_mini'], 1):g} % FLOPs"
    )
    assert sentence in " ".join(result.headline.paragraphs)
    rest = statistics[statistics.label != SMALL].reset_index(drop=True)
    plain = pd.read_parquet(tmp_path / "without" / "analyses" / "statistics.parquet")
    pd.testing.assert_frame_equal(rest, plain)
    for name in ("kept_tokens", "gallery"):
        table = pd.read_parquet(tmp_path / "with" / "analyses" / f"{name}.parquet")
        assert set(table.backbone) == {"vim_mini"}


def test_a_run_goes_on_where_the_smaller_model_was_left(
    small: Specs, tmp_path: Path, content: Callable[[Path], dict[str, bytes]]
) -> None:
    spec = small(smaller=(SMALL,), methods=("mtr",), budgets=(0.3,), baselines=False)
    run_comparison(spec, tmp_path, quiet=True)
    (key,) = [record.key for record in Store(tmp_path).cells() if record.role == "smaller"]
    before = content(tmp_path / "shards")
    (tmp_path / "shards" / key / "00001.parquet").unlink()
    run_comparison(spec, tmp_path, quiet=True)
    assert content(tmp_path / "shards") == before


def test_a_backbone_may_stand_beside_another_one_of_its_run(small: Specs) -> None:
    records = prepare(small(backbones=("vim_mini", SMALL), smaller=(SMALL,))).records
    dense = {record.backbone: record for record in records if record.method == "none"}
    assert len([record for record in records if record.backbone == SMALL]) > 1
    assert (dense[SMALL].role, list(dense[SMALL].beside)) == ("asked", ["vim_mini"])
    assert dense["vim_mini"].beside == {}


@pytest.mark.parametrize("name", ["vim_mini[dim=32]", "vim_mini"])
def test_a_model_that_is_not_smaller_is_refused(small: Specs, name: str) -> None:
    with pytest.raises(UserError, match="is no smaller model beside"):
        prepare(small(smaller=(name,)))


def test_a_plan_says_what_stands_beside(small: Specs, capsys: pytest.CaptureFixture[str]) -> None:
    command = "plan --backbone vim_mini --checkpoint random --data blots --methods mtr --budget 0.3"
    assert run([*command.split(), "--images", "all", "--smaller", SMALL]) == 0
    printed = capsys.readouterr().out
    assert f"smaller model beside vim_mini: {SMALL}, dense," in printed
    assert sum(SMALL in line for line in printed.splitlines()) == 1
