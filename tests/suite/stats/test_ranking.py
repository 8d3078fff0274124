"""The ranking of methods: groups by hand, and a line that stays short."""

import numpy as np
import pytest

from suite.stats.compare import compare_to_reference
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.ranking import answer, rank

COUNT = 200


def wrong_on(label: str, *images: int) -> Outcomes:
    numbers = np.arange(COUNT)
    return Hits(label, ~np.isin(numbers, images)[None], numbers, 0.4)


def test_methods_are_grouped_by_the_first_that_is_told_apart() -> None:
    cells = [
        wrong_on("far", *range(60)),
        wrong_on("best", 0, 1, 2, 3),
        wrong_on("near", *range(6)),
        wrong_on("middle", *range(30)),
        wrong_on("beside", *range(33)),
    ]
    places = rank(cells)
    assert [(place.outcomes.label, place.group) for place in places] == [
        ("best", 1),
        ("near", 1),
        ("middle", 2),
        ("beside", 2),
        ("far", 3),
    ]
    # Within a group against its best, at its head against the best of the group above.
    assert [place.against.reference if place.against else None for place in places] == [
        None,
        "best",
        "best",
        "middle",
        "middle",
    ]
    beside = {row.label: row for row in compare_to_reference(cells[1], [cells[0], *cells[2:]])}
    assert places[1].against == beside["near"]
    assert places[2].against == beside["middle"]
    assert [bool(place.against and place.against.significant) for place in places] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_equal_accuracies_keep_their_order_and_one_alone_is_compared_with_none() -> None:
    places = rank([wrong_on("one", 1), wrong_on("other", 2)])
    assert [place.outcomes.label for place in places] == ["one", "other"]
    (alone,) = rank([wrong_on("alone", 1)])
    assert (alone.group, alone.against) == (1, None)
    assert rank([]) == []


@pytest.mark.parametrize("leaders", [["MTR"], ["MTR", "ToMe"], ["MTR", "ToMe", "EViT", "UTR"]])
@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("smaller", [None, (0.862, 0.381)])
def test_the_answer_has_at_most_twenty_words(
    leaders: list[str], settled: bool, smaller: tuple[float, float] | None
) -> None:
    text = answer(0.4, leaders, 0.76, 0.152, "ToMe", settled, smaller)
    # A number and its per-cent sign are bound.
    assert len(text.replace(" %", "%").split()) <= 20
    assert "at 40 % fewer FLOPs" in text
    assert ("leads" in text) == (len(leaders) == 1 and settled)
    assert ("the schedule decides" in text) == (len(leaders) == 1 and not settled)
    assert ("a smaller image keeps 86.2 %" in text) == bool(smaller)


def test_the_answer_of_one_method_alone_names_no_other() -> None:
    assert answer(0.4, ["MTR"], 0.76, 0.0, "", True) == "MTR keeps 76.0 % at 40 % fewer FLOPs."
