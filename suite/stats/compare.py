"""Compare every method with the reference method at one budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from suite.stats.correctness import Outcomes, counted
from suite.stats.single import holm

SAME_WORK = 0.005  # largest difference of removed shares of FLOPs that counts as the same work
# The same of what removes whole rows and columns, which no token of a small image excuses.
SAME_WORK_COARSE = 0.002
ALPHA = 0.05  # of the corrected test
ENVELOPE = (
    "Where a method or its reference has two to four seeds, the range of their difference is the "
    "envelope of the 95 % intervals of the single seeds, not a paired interval over all of them. "
    "It may hold zero beside a small p, which is of these seeds together: then the two are not "
    "told apart."
)


@dataclass(frozen=True)
class Comparison:
    """One method against the reference, differences as method minus reference in [-1, 1].

    Attributes:
        label: the method.
        reference: the method it is compared with.
        images: images both were evaluated on.
        accuracy: top-1 or mIoU of the method, mean over seeds.
        reference_accuracy: that of the reference.
        difference: the first minus the second.
        difference_low: lower end of the difference's interval or range, corrected as p_holm is.
        difference_high: upper end.
        kind: "interval", or "range" if seeds are too few for one.
        only_method_correct: images on which the method is better (over seeds).
        only_reference_correct: images on which the reference is.
        smallest: smallest difference these images can show at the discordance seen.
        p: exact two-sided p; None if the two differ too much in work to be tested.
        p_holm: p after Holm's correction over all tested rows.
        comparisons: tested rows, for which p_holm and the interval are corrected.

    """

    label: str
    reference: str
    images: int
    accuracy: float
    reference_accuracy: float
    difference: float
    difference_low: float
    difference_high: float
    kind: Literal["interval", "range"]
    only_method_correct: int
    only_reference_correct: int
    smallest: float
    p: float | None = None
    p_holm: float | None = None
    comparisons: int | None = None

    @property
    def rejected(self) -> bool:
        """Whether the corrected test rejects equality at 5 %."""
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def significant(self) -> bool | None:
        """Whether the test rejects equality and the interval excludes zero; None without a test.

        Every mark of a difference from the reference, in words, tables or figures, follows this.
        """
        if self.p_holm is None:
            return None
        return self.rejected and not self.difference_low <= 0 <= self.difference_high

    def __str__(self) -> str:
        """Both accuracies and their difference, in one line: mtr 76.0 %, tome 60.8 %: +15.2 ..."""
        low, high = 100 * self.difference_low, 100 * self.difference_high
        p, name = (self.p, "p") if self.p_holm is None else (self.p_holm, "p_holm")
        tested = "not tested, other FLOPs" if p is None else f"{name} = {p:.2g}"
        return (
            f"{self.label} {100 * self.accuracy:.1f} %, {self.reference} "
            f"{100 * self.reference_accuracy:.1f} %: {100 * self.difference:+.1f} points "
            f"({low:+.1f} to {high:+.1f}), {tested}"
        )


def compare(method: Outcomes, reference: Outcomes, *, more_work: bool = False) -> Comparison:
    """Compare `method` with `reference` on the same images.

    Nothing is corrected; p is only given if their work is the same within 0.5 point (0.2 where
    whole rows and columns leave), and the interval agrees with it. With `more_work` it is given,
    too, if the reference does more: to be ahead of it says no less.
    """
    p = _tested(method, reference)
    if p is None and more_work and reference.removed < method.removed:
        p = method.paired(reference).p
    return _comparison(method, reference, p, ALPHA)


def _tested(method: Outcomes, reference: Outcomes) -> float | None:
    """Two-sided p of their difference; None if their work differs too much."""
    if other_work(method.removed, reference.removed, method.coarse or reference.coarse):
        return None
    return method.paired(reference).p


def _comparison(method: Outcomes, reference: Outcomes, p: float | None, level: float) -> Comparison:
    """The comparison with the interval at which a test of this p rejects at `level`."""
    pairing = method.paired(reference)
    spread = pairing.spread() if p is None else pairing.corrected(p, level)
    ahead, behind = pairing.ahead
    return Comparison(
        label=method.label,
        reference=reference.label,
        images=method.count,
        accuracy=method.accuracy,
        reference_accuracy=reference.accuracy,
        difference=method.accuracy - reference.accuracy,
        difference_low=spread.low,
        difference_high=spread.high,
        kind=spread.kind,
        only_method_correct=ahead,
        only_reference_correct=behind,
        smallest=pairing.smallest,
        p=p,
    )


def other_work(one: float, other: float, coarse: bool = False) -> bool:
    """Whether two removed shares of FLOPs are too far apart for their cells to be compared.

    `coarse`: one of them is of a method that removes whole rows and columns.
    """
    return abs(one - other) > (SAME_WORK_COARSE if coarse else SAME_WORK)


def same_answers(images: int, kind: str = "images") -> str:
    """What is said of two methods that are right on the very same of `images`."""
    if images == 1:
        return f"both right or both wrong on the only {kind.removesuffix('s')}"
    return f"right on the same of all {counted(images, kind)}"


def compare_to_reference(reference: Outcomes, others: Sequence[Outcomes]) -> list[Comparison]:
    """Compare each of `others` with `reference`, with Holm's correction over the tested ones.

    Pass the cells of one backbone, data set and budget: the family of the correction. The reference
    itself is left out. ValueError for cells that were not evaluated on the same images.
    """
    # The reference is not compared with itself: a p of 1 would make Holm's family larger.
    methods = [other for other in others if other.label != reference.label]
    return compare_pairs([(method, reference) for method in methods])


def compare_pairs(pairs: Sequence[tuple[Outcomes, Outcomes]]) -> list[Comparison]:
    """Compare the first of each pair with the second: one family of Holm's correction.

    The interval of a tested row is corrected as its p: at the level at which Holm's procedure tests
    that row, so that the two agree.
    """
    p_values = [_tested(method, reference) for method, reference in pairs]
    tested = [p for p in p_values if p is not None]
    corrected = iter(holm(tested))
    rows = []
    for (method, reference), p in zip(pairs, p_values, strict=True):
        if p is None:
            rows.append(_comparison(method, reference, None, ALPHA))
            continue
        p_holm = next(corrected)
        # p < level exactly where p_holm < ALPHA; between ALPHA over their number and ALPHA
        row = _comparison(method, reference, p, ALPHA * p / p_holm)
        rows.append(replace(row, p_holm=p_holm, comparisons=len(tested)))
    return rows
