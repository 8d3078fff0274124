"""A method that brings its schedule, sites and window follows them where nothing else is asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.shape import Shape
from methods import METHODS
from methods.base import Method, composed
from suite.config.run_spec import RunSpec
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared, prepare
from suite.plan.tuning_notes import notes_on_settings
from suite.tries.settings import Setting
from suite.tune.prepare import prepare_tuning
from suite.tune.spec import TuneSpec

Specs = Callable[..., RunSpec]
SITES = (1, 3)
OWN = Method(
    name="own",
    title="Own",
    family="pruning",
    about="",
    build=lambda: composed(matching="lowest", score="norm"),
    schedule="falling",
    sites=lambda shape: SITES,
    window=4,
)
PICK = Setting("rising", 0)


@pytest.fixture(autouse=True)
def _registered(small: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._added, "own", OWN)


def cell(prepared: Prepared, name: str = "own") -> Cell:
    return next(each for each in prepared.main if each.method.name == name)


def sites(found: Cell) -> tuple[int, ...]:
    assert found.plan is not None
    return tuple(found.plan.removals)


@pytest.mark.parametrize(
    ("text", "changed", "setting", "where"),
    [
        ("own", {}, Setting("falling", 4), SITES),
        ("own@rising", {}, Setting("rising", 4), SITES),
        ("own[cls_window=1]", {}, Setting("falling", 1), SITES),
        ("own", {"schedule": "constant-count"}, Setting("constant-count", 4), SITES),
        ("own@rising", {"schedule": "constant-count"}, Setting("rising", 4), SITES),
        ("own", {"sites": (2, 3)}, Setting("falling", 4), (2, 3)),
        ("own", {"tries": {"own": PICK}}, PICK, SITES),
        ("own@falling", {"tries": {"own": PICK}}, Setting("falling", 4), SITES),
    ],
)
def test_text_then_command_line_then_table_then_its_own(
    text: str,
    changed: dict[str, Any],
    setting: Setting,
    where: tuple[int, ...],
    small: Specs,
    tables: Callable[..., Path],
) -> None:
    if picks := changed.get("tries"):
        changed = {"tries": str(tables(picks))}
    found = cell(prepare(small(methods=(text,), baselines=False, budgets=(0.3,), **changed)))
    assert (found.setting, sites(found)) == (setting, where)
    assert found.composition is not None
    assert found.composition.cls_window == setting.cls_window


def test_the_blind_baselines_run_at_its_sites_too(small: Specs) -> None:
    prepared = prepare(small(methods=("norm", "own"), budgets=(0.3,)))
    strides = [each for each in prepared.cells if each.method.name == "stride"]
    found = {(each.setting, each.sites) for each in strides if each.role != "tokens"}
    assert found == {(Setting("constant-ratio", 0), None), (Setting("falling", 4), SITES)}
    assert notes_on_settings(prepared)[0] == (
        "not tuned on vim_mini, as the method says itself: own falling, window 4 at its own sites"
    )


def test_tuning_varies_its_schedule_and_window_at_its_sites() -> None:
    spec = TuneSpec(
        methods=("own",),
        backbones=("vim_mini",),
        checkpoint="random",
        data="blots",
        budgets=(0.3,),
        device="cpu",
        threads=1,
    )
    tries = prepare_tuning(spec).tries["vim_mini"]
    assert {each.setting.cls_window for each in tries} == {0, 4, 8}
    own = [each for each in tries if each.method.name == "own"]
    planned = [each.cell for each in own if each.cell.plan]
    assert planned
    assert {each.sites for each in planned} == {SITES}


def test_sites_that_do_not_fit_skip_it_and_sites_that_fail_are_one_line(
    small: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(methods=("own", "norm"), baselines=False, budgets=(0.3,))
    monkeypatch.setitem(METHODS._added, "own", replace(OWN, sites=lambda shape: (1, 99)))
    assert "sites [1, 99] do not fit vim_mini" in (cell(prepare(spec)).reason or "")

    def failing(shape: Shape) -> tuple[int, ...]:
        raise KeyError("depth")

    monkeypatch.setitem(METHODS._added, "own", replace(OWN, sites=failing))
    with pytest.raises(Exception, match=r"the sites of own cannot be had \(KeyError: 'depth' \(te"):
        prepare(spec)
