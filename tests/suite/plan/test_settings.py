"""Which setting each method has, and that its spelling makes no difference."""

from collections.abc import Mapping
from typing import Any

import pytest

from backbones.common.errors import UserError
from methods.spec import parse, parse_all
from suite.config.run_spec import RunSpec
from suite.plan.settings import Chosen, choose_settings, one_spelling
from suite.tries.settings import Setting
from suite.tries.table import Origin, Tries

RATIO, STAGED, RISING = Setting("constant-ratio", 0), Setting("staged", 0), Setting("rising", 4)
PICKS = {
    "mtr": STAGED,
    "tome": RISING,
    "random": Setting("one-shot", 8),
    "stride": STAGED,
    "pool": Setting("falling", 0),
}


def tuned(picks: Mapping[str, Setting]) -> Tries:
    where = Origin("b", None, "d", "dev", "c", (1,), (0.4,), 0, None, "flops", "fp32", "cpu")
    return Tries(where, (), picks)


def chosen(*methods: str, picks: Mapping[str, Setting] | None = None, **settings: Any) -> Chosen:
    spec = one_spelling(RunSpec(methods=methods, **settings))
    return choose_settings(parse_all(spec.methods), spec, tuned(picks) if picks else None)


def of_methods(found: Chosen) -> dict[str, Setting]:
    return {method.label: one.setting for method, one in found.methods.items() if one}


def of_added(found: Chosen) -> dict[str, Setting]:
    return {method.label: one.setting for method, one in found.added.items() if one}


def of_baselines(found: Chosen) -> dict[str, list[Setting]]:
    """Every setting of each blind baseline, the one in the tables first."""
    settings, added = {}, of_added(found)
    for baseline, others in found.further.items():
        shown = [added[baseline.name]] if baseline.name in added else []
        settings[baseline.name] = [*shown, *(one.setting for one in others)]
    return settings


@pytest.mark.parametrize(
    ("text", "schedule", "expected", "is_tuned"),
    [
        ("mtr", "tuned", STAGED, True),
        ("tome", "tuned", RISING, True),
        ("tome[cls_window=0]", "tuned", Setting("rising", 0), True),
        ("tome[order=appended]", "tuned", RISING, True),
        ("tome", "falling", Setting("falling", 0), False),
        ("tome@falling", "tuned", Setting("falling", 0), False),
        ("tome[cls_window=3]@falling", "staged", Setting("falling", 3), False),
        ("stm@every-2", "tuned", Setting("every-2", 2), False),
        ("stm", "tuned", Setting("constant-ratio", 2), False),  # not in the table
        ("oracle", "tuned", RATIO, False),
    ],
)
def test_a_method_takes_its_own_schedule_or_the_runs_or_the_one_it_was_tuned_to(
    text: str, schedule: str, expected: Setting, is_tuned: bool
) -> None:
    found = chosen(text, picks=PICKS, schedule=schedule)
    ((method, resolved),) = found.methods.items()
    assert method.method.name == parse(text).name
    assert (resolved.setting, resolved.tuned) == (expected, is_tuned)
    untuned = chosen(text, schedule=schedule)
    ((_, resolved),) = untuned.methods.items()
    assert not resolved.tuned
    if is_tuned:
        window = parse(text).options.get("cls_window", 0)
        assert resolved.setting == Setting("constant-ratio", window)


def test_an_option_that_was_tuned_for_itself_comes_before_its_method() -> None:
    picks = PICKS | {"mtr[score=b]": Setting("falling", 8)}
    found = of_methods(chosen("mtr[score=b]", "mtr[score=b,cls_window=4]", picks=picks))
    assert found == {
        "mtr[score=b]": Setting("falling", 8),
        "mtr[cls_window=4,score=b]": Setting("falling", 4),
    }


def test_blind_baselines_run_under_every_setting_that_occurs_and_their_own_pick() -> None:
    found = of_baselines(chosen("mtr", "tome", picks=PICKS))
    assert found == {
        "random": [Setting("one-shot", 8), STAGED, RISING],
        "stride": [STAGED, RISING],
        "pool": [Setting("falling", 0), STAGED, RISING],
    }
    # Beside methods that are not tuned they stand at the first method's setting, as all the others.
    found = of_baselines(chosen("mtr@rising", "tome@staged", picks=PICKS))
    assert found == {
        "random": [Setting("rising", 0), STAGED, Setting("one-shot", 8)],
        "stride": [Setting("rising", 0), STAGED],
        "pool": [Setting("rising", 0), STAGED, Setting("falling", 0)],
    }
    found = of_baselines(chosen("mtr", "stm"))
    assert list(found) == ["random", "stride", "pool"]
    assert all(settings == [RATIO, Setting("constant-ratio", 2)] for settings in found.values())
    assert of_baselines(chosen("mtr", picks=PICKS, baselines=False)) == {}


def test_a_baseline_that_was_asked_for_has_its_own_row_and_the_other_settings_beside() -> None:
    found = chosen("mtr@rising", "random@staged", picks=PICKS)
    assert "random" not in of_added(found)
    rising = Setting("rising", 0)
    assert of_baselines(found)["random"] == [rising, STAGED, Setting("one-shot", 8)]
    assert of_added(found)["stride"] == rising


def test_a_method_and_its_pick_spelled_out_meet_the_same_blind_baselines() -> None:
    one = of_baselines(chosen("mtr", picks=PICKS))
    other = of_baselines(chosen("mtr@staged", picks=PICKS))
    assert {name: set(settings) for name, settings in one.items()} == {
        name: set(settings) for name, settings in other.items()
    }


@pytest.mark.parametrize(
    ("one", "other", "spelled"),
    [
        ("mtr@falling tome@falling", "mtr tome|falling", "mtr tome|falling"),
        ("mtr@falling", "mtr|falling", "mtr|falling"),
        ("mtr@falling tome@rising", "mtr tome@rising|falling", "mtr@falling tome@rising|tuned"),
        ("mtr@falling tome", "mtr@falling tome@tuned|rising", "mtr@falling tome|tuned"),
        ("mtr@falling mtr", "mtr@tuned mtr@falling", None),
        ("mtr@falling mtr@falling[]", None, None),
        ("mtr@every-02 tome", "mtr@every-2 tome", "mtr@every-2 tome|tuned"),
        ("mtr|every-02", "mtr@every-2", "mtr|every-2"),
        ("mtr@falling downsample", "mtr downsample|falling", "mtr downsample|falling"),
        (
            "mtr[score=b,feature=c]",
            "mtr[feature=c,score=b]@tuned|staged",
            "mtr[feature=c,score=b]|tuned",
        ),
        ("mtr[cls_window=0]@falling", "mtr|falling", "mtr|falling"),
        ("mtr[cls_window=0]", "mtr[cls_window=0]@tuned|falling", "mtr[cls_window=0]|tuned"),
        ("stm[cls_window=2]|rising", "stm@rising", "stm|rising"),
        ("mtr mtr@falling|falling", "mtr|falling", "mtr|falling"),
        ("A=mtr@falling tome|falling", "A=mtr tome@falling|falling", "A=mtr tome|falling"),
    ],
)
def test_every_spelling_of_the_same_settings_is_one_specification(
    one: str, other: str | None, spelled: str | None
) -> None:
    def spec(text: str) -> RunSpec:
        methods, _, schedule = text.partition("|")
        return RunSpec(methods=tuple(methods.split()), schedule=schedule or "tuned")

    if other is None:
        with pytest.raises(UserError):
            one_spelling(spec(one))
        return
    first, second = one_spelling(spec(one)), one_spelling(spec(other))
    assert one_spelling(first) == first
    if spelled is None:  # the order of methods is the user's
        assert set(first.methods) == set(second.methods)
        return
    assert first == second == spec(spelled)


@pytest.mark.parametrize("method", ["crop-shrink", "crop-shrink[zoom=1]", "downsample", "none"])
def test_what_has_no_schedule_is_given_none(method: str) -> None:
    with pytest.raises(UserError, match="removes no tokens at sites, so that it has no schedule"):
        one_spelling(RunSpec(methods=("mtr", f"{method}@falling")))
    with pytest.raises(UserError, match="has no schedule"):
        one_spelling(RunSpec(methods=(f"{method}@falling",), protocol="paper"))
    assert one_spelling(RunSpec(methods=(method,), schedule="falling")).methods == (method,)


@pytest.mark.parametrize("methods", [("mtr@faling",), ("mtr", "tome@faling")])
def test_a_schedule_that_does_not_exist_is_named(methods: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="did you mean falling"):
        one_spelling(RunSpec(methods=methods))
    with pytest.raises(UserError, match="did you mean falling"):
        one_spelling(RunSpec(schedule="faling"))


def test_published_schedules_are_no_settings_and_what_is_matched_to_them_has_one() -> None:
    found = chosen("rmeeto", "evit", protocol="paper", picks=PICKS)
    assert of_methods(found) == {}
    assert of_added(found)["mtr"] == STAGED
    assert of_baselines(found)["random"] == [Setting("one-shot", 8), STAGED]
    falling = chosen("rmeeto", protocol="paper", schedule="falling")
    assert set(of_added(falling).values()) == {Setting("falling", 0)}
