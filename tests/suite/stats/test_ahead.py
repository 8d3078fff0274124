"""The claim that a method is ahead of every other one, against plain sums over coin flips."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from suite.stats.ahead import Claim, Contest, claim_words, claims
from suite.stats.hits import Hits

IMAGES = np.arange(400)


def hits(label: str, share: float, seed: int, removed: float = 0.4) -> Hits:
    """A method that is right on about this share of images, much the same ones as all others."""
    ease = np.random.default_rng(99).random(400)
    noise = np.random.default_rng(seed).normal(0, 0.05, 400)
    return Hits(label, (ease + noise < share)[None], IMAGES, removed)


def coin(first: Hits, second: Hits) -> Fraction:
    """Two-sided p: how often fair coins favour one side as much as the images favour one method."""
    pairs = list(zip(first.correct[0].tolist(), second.correct[0].tolist(), strict=True))
    favour = [
        sum(one and not two for one, two in pairs),
        sum(two and not one for one, two in pairs),
    ]
    flips, most = sum(favour), max(favour)
    outcomes = sum(
        comb(flips, heads) for heads in range(flips + 1) if max(heads, flips - heads) >= most
    )
    return Fraction(outcomes, 2**flips)


CONTESTS = [
    Contest("net", 0.4, hits("own", 0.9, 1), [hits("a", 0.8, 2), hits("b", 0.7, 3)]),
    Contest("net", 0.6, hits("own", 0.8, 4), [hits("a", 0.7, 5), hits("b", 0.79, 6)]),
    # One rival is ahead, however sure the lead over the other is.
    Contest("other", 0.4, hits("own", 0.6, 7), [hits("a", 0.8, 8), hits("b", 0.3, 9)]),
    Contest("other", 0.6, hits("own", 0.6, 10), [hits("a", 0.55, 11), hits("b", 0.3, 12)]),
]


def test_the_largest_p_counts_and_holm_is_over_the_claims() -> None:
    found = claims(CONTESTS)
    p_values = []
    for contest in CONTESTS:
        each = []
        for rival in contest.rivals:
            ahead = contest.method.correct.sum() > rival.correct.sum()
            each.append(float(coin(contest.method, rival)) if ahead else 1.0)
        p_values.append(max(each))
    assert [claim.p for claim in found] == pytest.approx(p_values, rel=1e-9)
    # Holm: times the number of claims that are not smaller, and never below a smaller one's.
    for claim, p in zip(found, p_values, strict=True):
        bound = 0.0
        for other in sorted(p_values):
            if other <= p:
                rest = sum(value >= other for value in p_values)
                bound = max(bound, min(1.0, rest * other))
        assert claim.p_holm == pytest.approx(bound, rel=1e-9)
        assert claim.comparisons == 4
    assert [claim.shown for claim in found] == [p < 0.05 for p in (c.p_holm for c in found)]
    assert [claim.shown for claim in found][:3] == [True, False, False]


def test_the_best_rival_is_named_and_its_lead_is_that_of_the_images() -> None:
    first, second, *_ = claims(CONTESTS)
    assert (first.best.reference, second.best.reference) == ("a", "b")
    own, rival = CONTESTS[0].method, CONTESTS[0].rivals[0]
    assert first.best.difference == pytest.approx(own.correct.mean() - rival.correct.mean())
    assert [row.reference for row in first.each] == ["a", "b"]


def test_what_does_less_work_is_shown_and_not_tested() -> None:
    rivals = [hits("a", 0.7, 2), hits("far", 0.95, 3, removed=0.415)]
    (claim,) = claims(
        [Contest("net", 0.4, hits("own", 0.9, 1), rivals, hits("downsample", 0.95, 5, 0.42))]
    )
    assert (claim.rivals, claim.best.reference, claim.shown) == (1, "a", True)
    assert [row.p is None for row in claim.each] == [True, False]
    assert claim.smaller is not None
    assert claim.smaller.difference < 0
    assert claim.smaller.p is None
    # Nothing can be claimed over methods that all do less work.
    assert claims([Contest("net", 0.4, hits("own", 0.9, 1), rivals[1:])]) == []


def test_a_rival_that_does_more_work_has_to_be_beaten_too() -> None:
    rivals = [hits("a", 0.7, 2), hits("storm", 0.95, 3, removed=0.385)]
    (claim,) = claims([Contest("net", 0.4, hits("own", 0.9, 1), rivals)])
    assert (claim.rivals, claim.best.reference, claim.p, claim.shown) == (2, "storm", 1.0, False)


def test_a_smaller_image_is_tested_at_the_same_flops_alone() -> None:
    own, rival = hits("own", 0.9, 1), hits("a", 0.7, 2)
    tested = []
    for removed in (0.35, 0.4, 0.45):
        image = hits("downsample", 0.8, 3, removed)
        (claim,) = claims([Contest("net", 0.4, own, [rival], image)])
        assert claim.smaller is not None
        tested.append(claim.smaller.p is not None)
    assert tested == [False, True, False]


def test_other_images_are_refused() -> None:
    rival = hits("a", 0.5, 2)
    moved = Hits("a", rival.correct, IMAGES + 1, 0.4)
    with pytest.raises(ValueError, match="images"):
        claims([Contest("net", 0.4, hits("own", 0.9, 1), [moved])])


def test_words_name_where_it_is_shown_and_where_not() -> None:
    def row(claim: Claim, shown: bool) -> dict[str, object]:
        place = {"backbone": claim.backbone, "budget": claim.budget, "label": claim.label}
        return place | {"significant": shown}

    found = claims(CONTESTS[:2])
    both = [row(claim, True) for claim in found]
    assert (
        claim_words(both)
        == "own is shown to be ahead of every other method at -40 % on net, -60 % on net."
    )
    one = [both[0], row(found[1], False)]
    assert claim_words(one, str.upper) == (
        "OWN is shown to be ahead of every other method at -40 % on net; not at -60 % on net."
    )
    none = [row(claim, False) for claim in found]
    assert claim_words(none) == "own is not shown to be ahead of every other method anywhere."
