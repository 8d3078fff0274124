"""The text of a method: read, written back, and refused with the word that was meant."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from backbones.common.release import NO_CODE, NONE_STATED
from methods import METHODS
from methods.base import Method, Option
from methods.composition import Composition
from methods.spec import MethodSpec, find, parse, parse_all, parse_list


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mtr", "mtr"),
        ("mtr[]", "mtr"),
        (" mtr [ order = appended ] ", "mtr[order=appended]"),
        ("tome[weights=size,order=native]", "tome"),
        ("tome[order=restored]", "tome[order=restored]"),
        ("tome[weights=mean,order=appended]", "tome[order=appended,weights=mean]"),
        ("mtr[targets=2.0]", "mtr[targets=2]"),
        ("mtr[targets=1]", "mtr"),
        ("mtr[cls_window=0]", "mtr[cls_window=0]"),
        ("stm[protect=2.0,order=restored]@staged", "stm[cls_window=2]@staged"),
        ("evit[fused=False]", "evit[fused=false]"),
        ("none", "none"),
        ("downsample", "downsample"),
        ("mtr@falling", "mtr@falling"),
        (" mtr [order=appended] @ every-2", "mtr[order=appended]@every-2"),
        ("mtr[best=2,hybrid=0.5]", "mtr[drop_ratio=0.5,neighbour_rank=2]"),
        ("utr[hybrid_residual=1]", "utr[residual_drop_ratio=1]"),
        ("rmeeto[protect=1,special=last]", "rmeeto[cls_placement=last,cls_window=1]"),
        ("pool[neighbours=grid]", "pool[path=grid]"),
        ("pumer[pruned=0]", "pumer[prune_ratio=0]"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).text == canonical
    assert parse(parse(text).text) == parse(text)


def test_a_list_is_split_outside_brackets() -> None:
    found = parse_list("mtr, tome[weights=mean,order=appended],random,mtr[order=restored]")
    assert [spec.text for spec in found] == ["mtr", "tome[order=appended,weights=mean]", "random"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mrt", "did you mean mtr"),
        ("mtr[ordr=appended]", "did you mean order"),
        ("mtr[order=apended]", "did you mean appended"),
        ("mtr[targets=many]", "a number from 0 to 100"),
        ("mtr[targets=-1]", "a number from 0 to 100"),
        ("mtr[targets=nan]", "a number from 0 to 100"),
        ("evit[fused=maybe]", "true, false"),
        ("tome[order=score]", "takes native, restored, appended, odd-even"),
        ("stride[weights=mean]", "has no option 'weights'"),
        ("none[order=restored]", "it has none"),
        ("mtr[order]", "write name=value"),
        ("mtr[order=]", "write name=value"),
        ("mtr[order=score,order=score]", "twice"),
        ("mtr[protect=1,cls_window=2]", "'cls_window' twice"),
        ("mtr[order=score", "write name or name"),
        ("mtr]", "write name or name"),
        ("mtr@", "did you mean mtr"),
        ("delta@adaptive[alpha=1]", "as in delta[alpha=1]@adaptive"),
        ("", "write name or name"),
        ("nowhere/file.py:MINE", "there is no file .*nowhere/file.py"),
    ],
)
def test_errors_name_the_mend(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says.replace("[", r"\[")) as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(UserError, match="no method is named"):
        parse_list(" , ")


def test_equal_compositions_have_one_canonical_form() -> None:
    equal = [
        ("mtr[weights=drop]", "mtr[weights=drop,feature=c,targets=3,order=appended]"),
        ("random", "mtr[score=random,weights=drop]"),
        ("evit[fused=false,score=activation]", "mtr[score=activation,weights=drop]"),
        ("mtr[score=norm]", "mtr[score=norm,direction=forward]"),
        ("mtr[order=shuffled,shuffle=0]", "mtr[shuffle=0.5]"),
        ("pool[weights=size]", "pool[weights=size,shuffle=0.2]"),
        ("delta", "mtr[weights=drop]"),
        ("tome", "rmeeto"),
        ("tome[weights=mean]", "fambav[layers=upper]"),
        ("mame[matching=keep-target-source]", "mtr"),
        ("mtr[matching=odd-even,feature=branch,weights=size]", "tome"),
        ("pumer[prune_ratio=0,weights=size]", "tome"),
        ("pumer[prune_ratio=1,score=delta]", "delta"),
        ("mtr", "mtr[cls_window=0]"),
        ("stm", "stm[cls_window=2]"),
        ("hsa[align=false]", "activation[reading=gated]"),
        ("activation[reading=projected]", "activation[reading=projected,direction=forward]"),
        ("utr[score=delta]", "utr[score=delta,reading=gated]"),
        ("utr[drop_ratio=1,residual_drop_ratio=1]", "utr[weights=drop]"),
        ("mtr[matching=neighbours,score=c]", "stm[weights=mean,cls_window=0]"),
    ]
    for one, other in equal:
        a, b = parse(one).composition(), parse(other).composition()
        assert a is not None
        assert b is not None
        assert a.canonical() == b.canonical()
        assert a == b
    different = [
        "mtr",
        "mtr[direction=forward]",
        "mtr[targets=2]",
        "tome",
        "tome[weights=mean]",
        "mtr[shuffle=1,order=shuffled]",
    ]
    forms = [spec.composition() for spec in map(parse, different)]
    assert len(set(forms)) == len(different)


@given(st.data())
def test_any_choice_survives_being_written(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(METHODS)))
    options = METHODS[name].options
    chosen = {
        key: data.draw(st.sampled_from(option.choices))
        for key, option in options.items()
        if option.choices
    }
    spec = MethodSpec(name, METHODS[name].settings(chosen))
    assert parse(spec.text) == spec
    assert hash(parse(spec.text)) == hash(spec)
    assert all(options[key].default != value for key, value in spec.options.items())


def test_whole_numbers_and_booleans_are_typed() -> None:
    count = Option(3, "a count", minimum=1)
    assert count.read("4", "count") == 4
    for wrong in ("4.5", "0", "inf", True):
        with pytest.raises(UserError, match="a whole number from 1"):
            count.read(wrong, "count")
    assert Option(False, "a switch").read("TRUE", "switch") is True


def test_a_method_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from methods.base import Method, composed\n"
        "MINE = Method('mine', 'Mine', 'pruning', 'Drops what is short.',\n"
        "              lambda: composed(matching='lowest', score='norm'))\n"
        "OTHER = 3\n"
    )
    spec = parse(f"{file}:MINE")
    composition = spec.composition()
    assert composition is not None
    assert composition.score == "norm"
    assert spec.text == f"{file}:MINE"
    assert parse(f"{file}:MINE@one-shot").schedule == "one-shot"
    with pytest.raises(UserError, match="is not a methods"):
        find(f"{file}:OTHER")


def test_a_contradictory_method_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly the kinds"):
        Method("x", "X", "pruning", "", None)
    with pytest.raises(ValueError, match="family"):
        Method("x", "X", "pruner", "", None, kind="none")


@pytest.mark.parametrize("name", list(METHODS))
def test_cards_say_what_each_method_is(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.card.startswith(f"# {method.title} (`{name}`)")
    assert "ost" in method.card
    assert method.paper in method.card
    assert (method.year > 0) == bool(method.paper)
    for option in method.options:
        assert f"| `{option}` |" in method.card
    composition = method.compose()
    assert (composition is None) == (method.kind not in ("sequence", "order"))
    assert composition is None or composition.stochastic == method.stochastic


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS.origin(name) == "built-in"])
def test_cards_name_the_released_code_and_its_licence(name: str) -> None:
    method = METHODS[name]
    if not method.paper:
        assert method.code is None
        return
    assert method.code is not None, "say which code there is, or that none was found"
    assert method.code.text in method.card
    if method.code == NO_CODE:
        assert "No public code was found." in method.card
        return
    assert f"github.com/{method.code.repository}" in method.card
    assert f"commit {method.code.commit}; licence: {method.code.licence}" in method.card
    assert method.code.licence in {"Apache-2.0", "MIT", "CC-BY-NC-4.0", NONE_STATED}
    assert len(method.code.commit) == 7


def test_idle_fields_make_no_difference() -> None:
    idle = {
        "direction": "forward",
        "feature": "c",
        "target_ratio": 3.0,
        "path": "grid",
        "shuffle": 0.5,
        "weights": "size",
    }
    assert Composition("spaced", score="delta", order="appended", **idle) == Composition("spaced")  # type: ignore[arg-type]
    assert Composition("lowest", score="norm", **idle) == Composition("lowest", score="norm")  # type: ignore[arg-type]


def test_impossible_compositions_say_why() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"matching": "lowest"}, "give a score"),
        ({"matching": "odd-even"}, "give a feature"),
        ({"matching": "spaced", "order": "score"}, "needs a method with a score"),
        ({"matching": "runs", "weights": "attention"}, "need a method with a score"),
        ({"matching": "odd-even", "feature": "b", "prune_ratio": 0.5}, "give a score"),
        ({"matching": "lowest", "score": "cls-similarity", "sensitivity": 1.0}, "never negative"),
        (
            {"matching": "lowest", "score": "norm", "aligned": True, "order": "reversed"},
            "use weights=drop",
        ),
    ]
    for fields, says in cases:
        with pytest.raises(UserError, match=says):
            Composition(**fields)


GATE = """
from methods.base import Method, Option, composed

GATE = Method(
    name="gate", title="Gate", family="pruning", about="",
    build=lambda score: composed(matching="lowest", score=score),
    options={"score": Option("norm", "what is ranked", ("norm", "delta"))},
)
"""


def test_a_method_in_a_file_is_called_by_its_name_not_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GATE)
    labels = {
        f"{file}:GATE": "gate",
        f"{file}:GATE[score=delta]@falling": "gate[score=delta]@falling",
        f"Ours={file}:GATE[score=delta]@falling": "Ours",
        f" Our gate = {file}:GATE": "Our gate",
        "Small=mtr[order=appended]": "Small",
        "mtr@falling": "mtr@falling",
    }
    for text, label in labels.items():
        spec = parse(text)
        assert spec.label == label
        assert parse(spec.text) == spec


def test_two_files_with_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    for stem in ("one", "two"):
        (tmp_path / f"{stem}.py").write_text(GATE)
    texts = [f"{tmp_path}/one.py:GATE", f"{tmp_path}/two.py:GATE[score=delta]", "mtr"]
    assert [spec.label for spec in parse_all(texts)] == [
        "gate (one)",
        "gate (two)[score=delta]",
        "mtr",
    ]
    texts[1] = f"{tmp_path}/two.py:GATE"
    assert [spec.label for spec in parse_all(texts)] == ["gate (one)", "gate (two)", "mtr"]
    with pytest.raises(UserError, match="two methods are called 'A'"):
        parse_all(["A=mtr", "A=tome"])


def test_files_of_one_stem_are_told_apart_by_variables_and_folders(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "gate.py").write_text(f"{GATE}\nAGAIN = GATE\n")
    here, there = (f"{tmp_path}/{folder}/gate.py" for folder in ("here", "there"))
    cases = {
        (f"{here}:GATE", f"{here}:AGAIN"): ["gate (gate:GATE)", "gate (gate:AGAIN)"],
        (f"{here}:GATE", f"{there}:GATE"): ["gate (here/gate:GATE)", "gate (there/gate:GATE)"],
        # one file under two spellings
        (f"{here}:GATE", f"{tmp_path}/there/../here/gate.py:GATE"): ["gate (gate)"] * 2,
    }
    for texts, labels in cases.items():
        assert [spec.label for spec in parse_all(texts)] == labels


def test_no_method_takes_the_name_of_a_baseline_or_of_the_dense_model(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GATE.replace('name="gate"', 'name="random"'))
    assert [spec.label for spec in parse_all([f"{file}:GATE", "random"])] == [
        "random (mine)",
        "random",
    ]
    assert parse_all([f"{file}:GATE"])[0].label == "random (mine)"
    for name in ("random", "dense", "none"):
        with pytest.raises(UserError, match=f"two methods are called '{name}'"):
            parse_all([f"{name}=mtr"])


def test_a_method_that_cannot_be_built_names_the_line_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GATE.replace("composed(matching", "composed(scores=nothing, matching"))
    with pytest.raises(UserError, match=r"cannot be built \(NameError: .*mine\.py:6, in <lambda>"):
        parse(f"{file}:GATE")
    file = tmp_path / "broken.py"
    file.write_text("import torch\n\nsize = 1 / 0\n")
    with pytest.raises(UserError, match=r"ZeroDivisionError: .*\(broken\.py:3, in <module>"):
        parse(f"{file}:GATE")
