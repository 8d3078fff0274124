"""What a plan says of its tuning: who is tuned, who is not and why, and on how few images."""

from collections.abc import Callable
from pathlib import Path

import pytest

from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.notes import notes_on_further
from suite.plan.prepare import prepare
from suite.plan.tuning_notes import notes_on_settings, why_evaluated
from suite.tries.settings import Setting

Specs = Callable[..., RunSpec]
Tables = Callable[..., Path]
COMMAND = (
    "`python -m suite tune --methods {} --backbones vim_mini --checkpoint random --data blots "
    "--budgets 0.3,0.5`"
)
BLIND = {
    "random": Setting("one-shot", 0),
    "stride": Setting("staged", 0),
    "pool": Setting("falling", 0),
}
PICKS = {"mtr": Setting("staged", 0), "tome": Setting("rising", 4), **BLIND}


@pytest.fixture(autouse=True)
def _twelve_images_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.tries.few_images.FEW", 12)


def test_nothing_tuned_is_one_line_and_the_command_that_tunes(small: Specs) -> None:
    untuned, command = notes_on_settings(prepare(small()))
    assert untuned == "no tuned settings for any method on vim_mini and blots: constant-ratio"
    assert command.startswith(f"to tune: {COMMAND.format('mtr,tome')}, then add the --tries FOLDER")
    assert notes_on_settings(prepare(small(schedule="rising"))) == []
    assert notes_on_settings(prepare(small(methods=("mtr@staged", "tome@rising")))) == []


def test_the_command_tunes_all_that_follow_since_a_run_reads_one_table(
    small: Specs, tables: Tables
) -> None:
    spec = small(methods=("mtr[cls_window=4]", "delta", "stm@rising"), tries=str(tables(PICKS)))
    tuned, untuned, command = notes_on_settings(prepare(spec))
    assert tuned == "tuned on vim_mini: mtr[cls_window=4] staged, window 4"
    assert untuned == "no tuned settings for delta on vim_mini and blots: constant-ratio"
    assert COMMAND.format("mtr,delta") in command


def test_several_backbones_have_one_command(small: Specs, tables: Tables) -> None:
    both = ("vim_mini", "deit_mini")
    spec = small(methods=("tome",), backbones=both, tries=str(tables(PICKS)))
    notes = notes_on_settings(prepare(spec))
    assert notes[0] == "tuned on vim_mini: tome rising, window 4"
    assert notes[1] == "no tuned settings for any method on deit_mini and blots: constant-ratio"
    assert "tune --methods tome --backbones vim_mini,deit_mini " in notes[2]
    assert len(notes) == 3


def test_baselines_that_a_table_lacks_are_named_beside_tuned_methods(
    small: Specs, tables: Tables
) -> None:
    picks = {name: PICKS[name] for name in ("mtr", "tome", "stride")}
    spec = small(tries=str(tables(picks)))
    _, untuned, command = notes_on_settings(prepare(spec))
    assert untuned.startswith("no tuned settings for random, pool on vim_mini")
    assert COMMAND.format("mtr,tome") in command
    without = notes_on_settings(prepare(spec.model_copy(update={"baselines": False})))
    assert len(without) == 1


def test_the_method_that_stands_beside_published_ones_is_named_too(
    small: Specs, tables: Tables
) -> None:
    spec = small(methods=("rmeeto",), protocol="paper", tries=str(tables(BLIND)))
    untuned, command = notes_on_settings(prepare(spec))
    assert untuned == "no tuned settings for any method on vim_mini and blots: constant-ratio"
    assert COMMAND.format("mtr") in command


def test_what_no_tuning_can_change_has_no_command(small: Specs, tables: Tables) -> None:
    table = str(tables(PICKS, without_pick=("tome",)))
    assert notes_on_settings(prepare(small(tries=table))) == [
        "tuned on vim_mini: mtr staged",
        "no try of tome on vim_mini meets every budget: constant-ratio",
    ]
    # The oracle follows a schedule, and `tune` does not take it.
    notes = notes_on_settings(prepare(small(methods=("mtr", "oracle"), tries=str(tables(PICKS)))))
    assert notes[1] == "no tuned settings for oracle on vim_mini and blots: constant-ratio"
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"methods": ("mtr", "delta", "stm")}, "the table of tries lacks delta, stm"),
        ({"methods": ("mtr", "tome[order=appended]")}, "lacks tome[order=appended]"),
        ({"budgets": (0.2, 0.3, 0.4)}, ""),
        ({"budgets": (0.2, 0.4)}, "the table of tries has no budget of 40 %"),
        ({"methods": ("mtr[cls_window=1]", "tome")}, "lacks mtr[cls_window=1] under constant-rat"),
        ({"sites": (1, 3)}, "the table of tries is of other sites"),
        ({"flops_convention": "macs"}, "the table of tries counts FLOPs as flops"),
        ({"protocol": "tokens"}, "a table of tries answers for equal FLOPs alone"),
        ({"tries": None}, "there is no table of tries for these weights and images"),
    ],
)
def test_a_run_across_schedules_says_what_the_table_lacks(
    small: Specs, tables: Tables, changed: dict[str, object], reason: str
) -> None:
    spec = small(across_schedules=True, **{"tries": str(tables(PICKS)), **changed})
    prepared = prepare(spec)
    assert reason in why_evaluated(prepared)
    assert bool(prepared.across) == bool(reason)
    if reason:
        notes = " ".join(notes_on_further(prepared, {}))
        assert f"since {why_evaluated(prepared)} (--no-across-schedules" in notes


def test_each_backbone_has_its_own_reason(small: Specs, tables: Tables) -> None:
    spec = small(
        methods=("mtr", "delta"),
        backbones=("vim_mini", "deit_mini"),
        across_schedules=True,
        tries=str(tables(PICKS)),
    )
    assert why_evaluated(prepare(spec)) == (
        "the table of tries lacks delta (vim_mini); there is no table of tries for these weights "
        "and images (deit_mini)"
    )


def test_settings_picked_on_few_images_are_a_warning_wherever_they_are_used(
    small: Specs,
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("suite.tries.few_images.FEW", 13)
    warning = "The settings on vim_mini were picked on 12 images, few to pick settings by: "
    spec = small(methods=("mtr",), tries=str(tables(PICKS)), budgets=(0.3,), images=12, gallery=0)
    assert notes_on_settings(prepare(spec))[-1].startswith(f"WARNING: {warning}")
    result = run_comparison(spec, tmp_path / "run", quiet=True)
    (told,) = [text for text in result.headline.warnings if "picked" in text]
    assert told.startswith(warning)
    assert told.endswith("13 or more would do.")
    assert told in result.headline.paragraphs  # which the page shows
    # A table that picks nothing here is no reason to warn.
    spelled = prepare(spec.model_copy(update={"schedule": "staged", "baselines": False}))
    assert notes_on_settings(spelled) == []
