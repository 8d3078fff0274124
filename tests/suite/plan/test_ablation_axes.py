"""Every axis expands to methods that exist, each differing from the method in one thing."""

from pathlib import Path

import pytest

from backbones.common.errors import UserError
from methods import METHODS
from methods.spec import parse, parse_all
from suite.plan.ablation_axes import AXES, ablated, axes_of, permutations, settings

PAIRS = [(name, axis) for name in METHODS for axis in axes_of([parse(name)])]


@pytest.mark.parametrize(("name", "axis"), PAIRS)
def test_settings_are_methods_that_differ_in_one_thing(name: str, axis: str) -> None:
    own, *others = settings(parse(name), axis)
    assert own.method == parse(name)
    texts = [setting.method.text for setting in others if not setting.refused]
    assert len(set(texts)) == len(texts) > 0
    for setting in others:
        if setting.refused:
            continue
        assert parse(setting.method.text) == setting.method
        option, _, value = setting.words.partition("=")
        changed = set(setting.method.options.items()) ^ set(own.method.options.items())
        if axis == "schedule":
            assert (setting.method.schedule, changed) == (value, set())
        else:
            # A reading, a decay and a share of shuffled tokens bring what they need.
            needed = {"reading": {"score"}, "decay": {"score"}, "shuffle": {"order"}}
            brought = needed.get(option, set())
            assert {key for key, _ in changed} - brought <= {option}
            assert option in {vary.option for vary in AXES[axis]}


def test_mtr_has_every_axis_and_its_defaults_are_named() -> None:
    assert axes_of([parse("mtr")]) == [axis for axis in AXES if axis != "undo"]
    # a merged token's features are those of all its sources
    assert axes_of([parse("mtr[weights=drop]")])[-1] == "undo"
    # The window may be tuned, so that the method without its option is not always that of 0.
    own, spelled = settings(parse("mtr"), "class-token")[:2]
    assert own.words == "cls_placement=exact"
    assert (spelled.words, spelled.method.text) == ("cls_window=0", "mtr[cls_window=0]")
    assert settings(parse("mtr"), "schedule")[0].words == "as it is"
    assert axes_of([parse("mtr"), parse("stride")]) == ["order", "schedule", "class-token"]


def test_an_axis_turns_round_the_method_as_it_was_given() -> None:
    base = parse("mtr[score=b]@falling")
    for axis in axes_of([base]):
        for setting in settings(base, axis)[1:]:
            assert axis == "score" or setting.method.options["score"] == "b"
            assert axis == "schedule" or setting.method.schedule == "falling"


def test_the_order_axis_shuffles_by_growing_shares_and_permutes_without_removal() -> None:
    words = [setting.words for setting in settings(parse("mtr"), "order")]
    assert words[:5] == [
        "order=restored",
        "order=score",
        "order=appended",
        "order=odd-even",
        "order=reversed",
    ]
    assert [setting.words for setting in settings(parse("tome"), "order")][:2] == [
        "as it is",
        "order=restored",
    ]
    shares = [float(word.partition("=")[2]) for word in words[5:]]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {setting.method.name for setting in permutations()} == {"permute"}
    assert len(permutations()) == 2 + len(shares)
    assert {parse("permute"), parse("permute[order=reversed]")} <= set(
        ablated([parse("tome")], ["order"])
    )


def test_the_readings_of_an_activation_are_varied_where_it_is_the_score() -> None:
    found = {
        name: {method.text for method in ablated([parse(name)], ["score"])}
        for name in ("mtr", "utr", "activation", "delta")
    }
    assert {"activation[reading=gated]", "activation[reading=projected]"} <= found["activation"]
    assert {"utr[reading=gated]", "utr[reading=projected]"} <= found["utr"]
    assert "mtr[reading=gated,score=activation]" in found["mtr"]
    assert not any("reading" in text for text in found["delta"])


def test_what_cannot_be_varied_says_so() -> None:
    with pytest.raises(UserError, match="did you mean order"):
        settings(parse("mtr"), "ordr")
    with pytest.raises(
        UserError,
        match="stride has nothing to vary on the axis score: its axes are order, schedule, class-token",
    ):
        settings(parse("stride"), "score")
    with pytest.raises(UserError, match="name another method"):
        settings(parse("none"), "order")


def test_settings_that_do_not_go_together_are_refused_not_lost() -> None:
    found = {
        setting.words: setting for setting in settings(parse("mtr[score=cls-similarity]"), "score")
    }
    assert "never negative" in found["sensitivity=4"].refused
    texts = [method.text for method in ablated([parse("mtr[score=cls-similarity]")], ["score"])]
    assert found["sensitivity=4"].method.text not in texts
    assert "mtr" in texts


def test_a_name_of_the_users_hides_no_setting() -> None:
    alias, own = settings(parse("Mine=mtr"), "size"), settings(parse("mtr"), "size")
    assert [each.words for each in alias] == [each.words for each in own]
    assert [each.method.label for each in alias] == ["Mine", *(s.method.label for s in own[1:])]
    assert axes_of([parse("Mine=mtr")]) == axes_of([parse("mtr")])


def test_settings_of_two_files_methods_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for stem, weights in (("one", "size"), ("two", "mean")):
        (tmp_path / f"{stem}.py").write_text(
            "from dataclasses import replace\nfrom methods import METHODS\n"
            f"GATE = replace(METHODS['mtr'], name='gate', title='{weights}')\n"
        )
    methods = parse_all([f"{tmp_path}/one.py:GATE", f"{tmp_path}/two.py:GATE[score=b]"])
    labels = [[each.method.label for each in settings(one, "score")] for one in methods]
    assert labels[0][0] == "gate (one)"
    assert labels[1][0] == "gate (two)[score=b]"
    assert set(labels[0]).isdisjoint(labels[1])
