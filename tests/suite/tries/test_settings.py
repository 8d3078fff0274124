"""Each method has eighteen settings, of which the one that is right most often is picked."""

from dataclasses import replace
from itertools import product

import pytest

from methods import METHODS
from methods.base import Option
from methods.spec import parse
from suite.plan.schedule import SCHEDULES
from suite.tries.settings import (
    Setting,
    best,
    default_setting,
    settings_of,
    windows_of,
    with_setting,
)

NAMED = list(SCHEDULES)


def test_the_schedules_are_all_that_have_a_name() -> None:
    settings = settings_of(METHODS["mtr"])
    assert [(each.schedule, each.cls_window) for each in settings] == [*product(NAMED, (0, 4, 8))]


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].kind == "sequence"])
def test_the_default_of_every_method_is_tried(name: str) -> None:
    settings = settings_of(METHODS[name])
    assert default_setting(METHODS[name]) in settings
    assert len(set(settings)) == len(settings)
    if "cls_window" in METHODS[name].options:
        assert len(settings) == 18


@pytest.mark.parametrize(
    ("default", "windows"),
    [
        (0, (0, 4, 8)),
        (8, (0, 4, 8)),
        (2, (0, 2, 8)),
        (5, (0, 5, 8)),
        (7, (0, 4, 7)),
        (16, (0, 4, 16)),
    ],
)
def test_a_default_of_its_own_takes_the_place_of_the_nearest_but_none(
    default: int, windows: tuple[int, ...]
) -> None:
    option = replace(METHODS["mtr"].options["cls_window"], default=default)
    assert windows_of(replace(METHODS["mtr"], options={"cls_window": option})) == windows


def test_a_method_without_a_window_and_one_of_narrow_bounds_have_what_they_can() -> None:
    without = replace(METHODS["mtr"], options={})
    assert [setting.cls_window for setting in settings_of(without)] == [0] * 6
    narrow = replace(METHODS["mtr"], options={"cls_window": Option(1, "", minimum=1, maximum=4)})
    assert windows_of(narrow) == (1,)


def test_a_setting_is_spelled_out_and_a_name_in_the_table_is_without_it() -> None:
    spec = parse("Mine=mtr[score=b,cls_window=16]@falling")
    spelled = with_setting(spec, Setting("staged", 4))
    assert spelled.text == "Mine=mtr[cls_window=4,score=b]@staged"
    assert parse(spelled.text) == spelled
    assert spec.untuned == spelled.untuned == "mtr[score=b]"
    bare = replace(METHODS["mtr"], options={})
    assert "cls_window" not in bare.options
    assert str(Setting("staged", 0)) == "staged"
    assert str(Setting("rising", 4)) == "rising, window 4"


def test_the_most_right_answers_win_and_a_tie_goes_to_the_default() -> None:
    one, two, three = Setting("one-shot", 0), Setting("staged", 4), Setting("falling", 8)
    assert best([(one, 5), (two, 9), (three, 8)], one) == two
    assert best([(one, 9), (two, 9), (three, 8)], one) == one
    assert best([(one, 9), (two, 9), (three, 8)], three) == one
    assert best([(one, 0), (two, 0)], two) == two
    assert best([], one) is None
