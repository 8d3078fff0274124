"""Numbers as printed, places moved apart, colours that everyone can tell from each other."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import formatting as text
from reports.figures.canvas import DASHES
from reports.style import CYCLE, DENSE, GROUPS, KNOWN, MAMBA, MARKERS, PAPER, group, looks


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12), st.floats(0.01, 5))
def test_spread_keeps_order_and_gap_and_moves_no_more_than_it_must(
    values: list[float], gap: float
) -> None:
    placed = text.spread(values, gap)
    order = sorted(range(len(values)), key=lambda index: values[index])
    steps = np.diff([placed[index] for index in order])
    assert (steps >= gap - 1e-9).all()
    assert sum(placed) == pytest.approx(sum(values), abs=1e-6)
    if len(values) == 1 or np.diff(sorted(values)).min() >= gap:
        assert placed == pytest.approx(values, abs=1e-9)


def test_spread_by_hand() -> None:
    assert text.spread([1.0, 1.0, 9.0], 2.0) == pytest.approx([0.0, 2.0, 9.0])
    assert text.spread([1.0, 1.0, 9.0], 2.0, low=0.0, high=9.0) == pytest.approx([1.0, 3.0, 8.0])
    assert text.spread([5.0, 5.0], [2.0, 6.0]) == pytest.approx([3.0, 7.0])
    assert text.spread([], 1.0) == []


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.01, 5)), min_size=1, max_size=12))
def test_spread_stays_within_its_bounds_where_there_is_room(
    things: list[tuple[float, float]],
) -> None:
    values, sizes = [value for value, _ in things], [size for _, size in things]
    low, high = -60.0, 0.0
    placed = text.spread(values, sizes, low, high)
    edges = sorted(
        (middle - size / 2, middle + size / 2) for middle, size in zip(placed, sizes, strict=True)
    )
    assert all(below[1] <= above[0] + 1e-9 for below, above in itertools.pairwise(edges))
    assert edges[0][0] >= low - 1e-9
    assert edges[-1][1] <= high + 1e-9


def test_long_names_fold_where_their_parts_begin() -> None:
    assert text.fold("mtr", 8) == "mtr"
    assert (
        text.fold("evit[fused=false,score=hidden-attention]", 18)
        == "evit[fused=false,\nscore=\nhidden-attention]"
    )
    assert text.fold("mtr = mtr[order=restored]", 12) == "mtr = mtr\n[order=\nrestored]"


def test_long_names_are_shortened_to_what_tells_them_apart() -> None:
    shuffled = [f"mtr[order=shuffled,shuffle={share}]" for share in (0.05, 0.5)]
    names = text.distinct_names(
        ["mtr", "mtr[order=shuffled]", *shuffled, "tome = tome[order=restored]"]
    )
    assert names == [
        "mtr",
        "mtr[order=shuffled]",
        "mtr[…,shuffle=0.05]",
        "mtr[…,shuffle=0.5]",
        "tome",
    ]
    both = ["mtr[order=shuffled,shuffle=0.5]", "mtr[order=appended,shuffle=0.5]"]
    assert text.distinct_names(both) == both


@given(
    st.lists(
        st.builds(
            lambda name, parts, end: f"{name}[{','.join(parts)}]{end}" if parts else name + end,
            st.sampled_from("ab"),
            st.lists(st.text("abc", min_size=3, max_size=8), max_size=4),
            st.sampled_from(["", "@x"]),
        ),
        unique=True,
        max_size=8,
    )
)
def test_shortened_names_stay_distinct(labels: list[str]) -> None:
    names = text.distinct_names(labels)
    assert len(set(names)) == len(labels)
    assert all(
        len(name) <= len(label) or len(label) <= 20
        for name, label in zip(names, labels, strict=True)
    )


@given(st.text(max_size=60), st.integers(1, 30))
def test_folding_loses_nothing(value: str, width: int) -> None:
    assert "".join(text.fold(value, width).split()) == "".join(value.split())


@pytest.mark.parametrize(
    ("stamp", "want"),
    [
        ("2026-11-02T10:00:52+00:00", "2026-11-02 10:00 UTC"),
        ("2026-11-02T10:00:52Z", "2026-11-02 10:00 UTC"),
        ("2026-11-02T01:30:00+02:00", "2026-11-01 23:30 UTC"),
        ("2026-11-02T10:00:52", "2026-11-02 10:00"),
        ("at noon", "at noon"),
        (None, ""),
    ],
)
def test_moments_name_their_zone(stamp: object, want: str) -> None:
    assert text.moment(stamp) == want


def test_sentences_are_typeset() -> None:
    assert (
        text.typeset("from -2.7 to -0.4, 40 % on fashion-2")
        == "from \u22122.7 to \u22120.4, 40\u00a0% on fashion-2"
    )


@given(st.text(max_size=60))
def test_script_json_cannot_leave_its_element(value: str) -> None:
    written = text.script_json({"k": [value, float("nan")]})
    assert not set(written) & set("<>&")
    assert json.loads(written) == {"k": [value, None]}


@given(st.text(max_size=40))
def test_markdown_cell_is_one_cell(value: str) -> None:
    written = text.markdown(value)
    assert "\n" not in written
    assert "<" not in written
    assert "|" not in written.replace("\\\\", "").replace("\\|", "")


def test_latex_by_hand() -> None:
    assert (
        text.latex(r"a_b & 50 % of $x^2 \d")
        == r"a\_b \& 50 \% of \$x\textasciicircum{}2 \textbackslash{}d"
    )


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (text.percent(0.84235), "84.2"), (text.percent(None), "–"), (text.percent(float("nan")), "–"),
        (text.points(-0.031), "−3.1"), (text.points(0.031), "+3.1"), (text.points(-0.0001), "0.0"),
        (text.interval(0.1, 0.2), "[10.0, 20.0]"), (text.interval(None, 0.2), ""),
        (text.interval(-0.00004, 0.1, signed=True), "[−0.004, +10.0]"), (text.interval(0.0, 1e-18, signed=True), "[0.0, 0.0]"),
        (text.p_value(0.0004), "<0.001"), (text.p_value(0.0512), "0.051"), (text.budget_name(0.4), "40 %"),
        (text.share_removed(0.387, 0.4), "−39 %"), (text.share_removed(0.4031, 0.4), "−40.3 %"),
        (text.budget_name(None), "dense"), (text.unit([3.1e9, 2e8]), (1e9, "G")), (text.unit([]), (1.0, "")),
    ],
)  # fmt: skip
def test_numbers_as_printed(got: object, want: object) -> None:
    assert got == want


def _linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    first, second = sorted(
        float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)
    )
    return (second + 0.05) / (first + 0.05)


@pytest.mark.parametrize(("place", "theme"), [(0, "light"), (1, "dark")])
def test_every_colour_reads_as_text(place: int, theme: str) -> None:
    for entry in [*KNOWN.values(), *CYCLE]:
        assert _contrast(entry[place], PAPER[theme]) >= 4.5


def test_colours_of_a_group_keep_their_rank_in_the_dark() -> None:
    for kind in GROUPS:
        pairs = [look[:2] for look in KNOWN.values() if look[3] == kind]
        ranked = sorted(pairs, key=lambda pair: _contrast(pair[0], PAPER["light"]))
        dark = [_contrast(pair[1], PAPER["dark"]) for pair in ranked]
        assert dark == sorted(dark), kind


# Machado, Oliveira & Fernandes (2009), severity 1.
SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
    ),
    "protanopia": np.array(
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
    ),
}


def _lab(linear: np.ndarray) -> np.ndarray:
    matrix = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(matrix @ np.clip(linear, 1e-4, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


USUAL = ("none", "mtr", "tome", "evit", "random", "stride", "pool", "downsample")


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("place", [0, 1])
def test_methods_differ_in_marker_or_to_every_eye_in_colour(sight: str, place: int) -> None:
    entries = [(name, *look[:3]) for name, look in KNOWN.items()] + [("", *look) for look in CYCLE]
    for one, other in itertools.combinations(entries, 2):
        apart = np.linalg.norm(
            _lab(SIGHT[sight] @ _linear(one[1 + place]))
            - _lab(SIGHT[sight] @ _linear(other[1 + place]))
        )
        if one[3] == other[3] or {one[0], other[0]} <= set(USUAL):
            assert apart >= 8, (one, other)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("place", [0, 1])
def test_the_methods_made_for_mamba_differ_to_every_eye_in_colour_alone(
    sight: str, place: int
) -> None:
    entries = [(name, look[place]) for name, look in KNOWN.items() if look[3] == MAMBA]
    for one, other in itertools.combinations(entries, 2):
        apart = np.linalg.norm(
            _lab(SIGHT[sight] @ _linear(one[1])) - _lab(SIGHT[sight] @ _linear(other[1]))
        )
        assert apart >= 15, (one, other)


def test_methods_of_a_group_differ_in_marker_and_share_a_range_of_hues() -> None:
    for kind in GROUPS:
        markers = [look[2] for look in KNOWN.values() if look[3] == kind]
        assert len(set(markers)) == len(markers), kind
    assert group("tome[order=appended] = tome") == KNOWN["tome"][3]
    assert group("none") == DENSE
    assert group("newcomer") == GROUPS[3]


def test_looks_are_stable_and_tell_variants_apart() -> None:
    first = looks(["mtr", "tome", "tome[order=appended]", "tome[order=sorted]", "ours"])
    assert looks(["none", "tome", "mtr"])["mtr"] == first["mtr"]
    assert first["tome[order=appended]"].light == first["tome"].light
    assert (first["tome[order=appended]"].filled, first["tome[order=appended]"].dash) == (
        False,
        "dash",
    )
    same = looks(["mtr = mtr[order=restored]", "tome[a=b] = tome"])
    assert same["mtr = mtr[order=restored]"].light == first["mtr"].light
    assert [look.filled for look in same.values()] == [True, False]
    drawn = [(look.light, look.marker, look.filled) for look in first.values()]
    assert len(set(drawn)) == 5
    assert {look.marker for look in looks(f"m{index}" for index in range(20)).values()} <= set(
        MARKERS
    )


@pytest.mark.parametrize("count", [4, 24, 48])
def test_many_variants_of_one_method_each_have_a_look_of_their_own(count: int) -> None:
    few, many = (
        looks(["mtr", *(f"mtr[order={index}]" for index in range(size))]) for size in (4, count)
    )
    assert all(
        many[label] == look for label, look in few.items()
    )  # the first ones stay what they are
    swatches = {(look.light, look.marker, look.filled) for look in many.values()}
    assert len(swatches) == count + 1
    assert {look.dash for look in many.values()} <= set(DASHES)


@pytest.mark.parametrize("sight", SIGHT)
def test_variants_that_share_a_marker_and_a_line_differ_to_every_eye_in_colour(sight: str) -> None:
    variants = looks(f"mtr[order={index}]" for index in range(24)).values()
    for one, other in itertools.combinations(variants, 2):
        if (one.marker, one.dash) == (other.marker, other.dash):
            apart = np.linalg.norm(
                _lab(SIGHT[sight] @ _linear(one.light)) - _lab(SIGHT[sight] @ _linear(other.light))
            )
            assert apart >= 8, (one, other)
