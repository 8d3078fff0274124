"""The cells beside the main table: which they are, what for, and that each exists once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.common.errors import UserError
from methods.base import SCHEDULES
from suite import cli
from suite.config.run_spec import RunSpec
from suite.plan.cells import Cell
from suite.plan.notes import notes_on_further
from suite.plan.prepare import prepare
from suite.plan.tuning_notes import notes_on_settings
from suite.tries.settings import Setting

Specs = Callable[..., RunSpec]
Tables = Callable[..., Path]
Out = pytest.CaptureFixture[str]
BLIND = ("random", "stride", "pool")
PICKS = {
    "mtr": Setting("staged", 0),
    "tome": Setting("rising", 4),
    "random": Setting("one-shot", 0),
    "stride": Setting("staged", 0),
    "pool": Setting("falling", 0),
}


def settings(cells: list[Cell], role: str) -> dict[str, set[Setting | None]]:
    found: dict[str, set[Setting | None]] = {}
    for cell in cells:
        if cell.role == role:
            found.setdefault(cell.label, set()).add(cell.setting)
    return found


def keys(cells: list[Cell]) -> list[str]:
    return [cell.key for cell in cells]


def test_every_cell_exists_once_and_those_of_the_table_come_first(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "mtr@falling", "tome"), across_schedules=True))
    assert len(set(keys(prepared.cells))) == len(prepared.cells)
    roles = [cell.role for cell in prepared.cells]
    assert roles == sorted(roles, key=("asked", "baseline", "blind", "schedule", "tokens").index)
    assert prepared.main == prepared.cells[: len(prepared.main)]
    # what an analysis reads is there, under whatever role
    assert set(keys([*prepared.across, *prepared.token_matched])) <= set(keys(prepared.cells))


def test_blind_baselines_have_a_cell_under_every_setting_at_every_budget(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "tome@falling", "stm@falling"), seeds=2))
    occurring = [Setting("constant-ratio", 0), Setting("falling", 0), Setting("falling", 2)]
    for name, seeds in zip(BLIND, (2, 1, 1), strict=True):
        cells = [cell for cell in prepared.cells if cell.label == name]
        found = Counter((cell.setting, cell.budget) for cell in cells)
        assert found == {(one, budget): seeds for one in occurring for budget in (0.3, 0.5)}
        shown = {cell.setting for cell in cells if cell.shown}
        assert shown == {occurring[0]}


def test_methods_run_under_each_schedule_at_the_middle_budget_where_no_table_answers(
    small: Specs,
) -> None:
    spec = small(methods=("mtr@staged", "stm"), budgets=(0.5, 0.2, 0.3), across_schedules=True)
    prepared = prepare(spec)
    found: dict[str, set[Setting | None]] = {}
    for cell in prepared.across:
        assert cell.budget == 0.3
        found.setdefault(cell.label, set()).add(cell.setting)
    assert list(found) == ["mtr", "stm", *BLIND]
    for label, under in found.items():
        window = 2 if label == "stm" else 0
        assert under == {Setting(name, window) for name in SCHEDULES}
    none = {"across_schedules": False}
    assert prepare(spec.model_copy(update=none)).across == []
    assert prepare(small(methods=("mtr",), baselines=False, across_schedules=True)).across == []
    assert prepare(small(axes=("combine",), across_schedules=True)).across == []


def test_methods_run_by_equal_counts_of_tokens_beside_equal_flops(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "tome", "delta"), budgets=(0.2, 0.3)))
    counts = set()
    for cell in prepared.token_matched:
        assert (cell.budget, cell.protocol) == (0.3, "tokens")
        assert cell.plan is not None
        counts.add(tuple(sorted((s, r.tokens) for s, r in cell.plan.removals.items())))
    assert [cell.label for cell in prepared.token_matched] == ["mtr", "tome", "delta"]
    assert len(counts) == 1
    matched = {cell.label: cell for cell in prepared.main if cell.budget == 0.3}
    for cell in prepared.token_matched:
        plan, other = cell.plan, matched[cell.label].plan
        assert plan is not None
        assert other is not None
        assert plan.removed["flops"] <= other.removed["flops"] + 0.002
    assert prepare(small(protocol="tokens")).token_matched == []
    assert prepare(small(methods=("rmeeto",), protocol="paper")).token_matched == []


def test_a_table_of_tries_sets_the_settings_and_answers_for_the_schedules(
    small: Specs, tables: Tables
) -> None:
    spec = small(across_schedules=True, tries=str(tables(PICKS)))
    prepared = prepare(spec)
    assert prepared.across == []
    found = {cell.label: (cell.setting, cell.tuned) for cell in prepared.main if cell.setting}
    assert found == {name: (setting, True) for name, setting in PICKS.items()}
    records = {r.label: (r.schedule, r.cls_window, r.tuned) for r in prepared.records if r.shown}
    assert records["tome"] == ("rising", 4, True)
    assert records["none"] == (None, None, False)
    assert settings(prepared.cells, "blind")["stride"] == {PICKS["tome"]}
    assert prepared.set_aside == 0  # picked on another split
    # A method that was not tried: it and all others are evaluated under each schedule.
    other = prepare(spec.model_copy(update={"methods": ("mtr", "delta")}))
    assert {cell.label for cell in other.across} == {"mtr", "delta", *BLIND}
    # The table does not have this budget as its middle one, or is of other sites.
    for changed in ({"budgets": (0.2, 0.3, 0.4)}, {"sites": (1, 3)}, {"flops_convention": "macs"}):
        update = spec.model_copy(update=changed)
        assert bool(prepare(update).across) == (changed != {"budgets": (0.2, 0.3, 0.4)})


def test_a_table_of_other_weights_images_or_data_is_refused_by_name(
    small: Specs, tables: Tables, tmp_path: Path
) -> None:
    for changed in ({"weights": "ab" * 32}, {"content": "ab" * 32}, {"data": "fashion-clutter"}):
        spec = small(tries=str(tables(PICKS, **changed)))
        with pytest.raises(
            UserError, match=r"no tries of vim_mini with these weights on blots"
        ) as e:
            prepare(spec)
        assert "tune --methods mtr,tome --backbones vim_mini --checkpoint random" in str(e.value)
    with pytest.raises(UserError, match="there is no table of tries at"):
        prepare(small(tries=str(tmp_path / "none.parquet")))


def test_images_that_picked_a_setting_are_never_evaluated_under_it(
    small: Specs, tables: Tables, capsys: Out
) -> None:
    folder = str(tables(PICKS, images=tuple(range(0, 24, 2))))
    prepared = prepare(small(tries=folder, split="dev"))
    picking = set(range(0, 24, 2))
    assert set(prepared.indices.tolist()) == set(range(30)) - picking
    assert prepared.set_aside == 12
    notes = notes_on_settings(prepared)
    assert notes[0] == "tuned on vim_mini: mtr staged; tome rising, window 4"
    assert notes[-1] == "left out: the 12 dev images that picked the settings"
    some = prepare(small(tries=folder, split="dev", images=9))
    assert len(some.indices) == 9
    assert not picking & set(some.indices.tolist())
    # Beside methods that are not tuned the baselines do without their picks, and all images count.
    alone = prepare(small(schedule="staged", tries=folder, split="dev"))
    assert len(alone.indices) == 30
    assert not any(cell.tuned for cell in alone.cells)
    elsewhere = prepare(small(schedule="staged", tries=folder))
    assert any(cell.tuned for cell in elsewhere.cells)
    assert len(prepare(small(tries=folder)).indices) == 30
    with pytest.raises(UserError, match=r"18 are left, fewer than asked for; use another --spl"):
        prepare(small(tries=folder, split="dev", images=20))
    every = str(tables(PICKS, images=tuple(range(30))))
    with pytest.raises(UserError, match=r"0 are left.*--schedule constant-ratio"):
        prepare(small(tries=every, split="dev"))


def test_a_plan_says_how_many_more_cells_there_are_why_and_what_they_cost(
    small: Specs, capsys: Out
) -> None:
    prepared = prepare(small(methods=("mtr@staged", "tome@rising"), across_schedules=True))
    count = Counter(cell.role for cell in prepared.cells if cell.plan)
    blind, schedule, tokens = notes_on_further(
        prepared, {"blind": 3.0, "schedule": 12.2, "tokens": 1.0}
    )
    assert blind.startswith(f"{count['blind']} more cells, about 3 s: the blind baselines under")
    assert schedule.startswith(f"{count['schedule']} more cells, about 12 s: the methods and the")
    assert "under each of 6 schedules at -50 % FLOPs" in schedule
    assert "--no-across-schedules" in schedule
    more = "1 more cell" if count["tokens"] == 1 else f"{count['tokens']} more cells"
    assert tokens.startswith(f"{more}, about 1 s: the methods by equal counts of tokens")
    line = ["plan", "--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots"]
    line += ["--images", "6", "--methods", "mtr@staged,tome", "--device", "cpu"]
    assert cli.run(line) == 0
    told = capsys.readouterr().out
    assert "more cells, about" in told
    assert told.count("tome") < 12


def test_two_spellings_are_one_plan(small: Specs) -> None:
    one = prepare(small(methods=("mtr@falling", "tome@falling")))
    other = prepare(small(methods=("mtr", "tome"), schedule="falling"))
    assert one.spec == other.spec
    assert one.records == other.records
