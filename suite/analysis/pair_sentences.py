"""Two methods in a sentence: who keeps more, by how much, and how sure that is.

Every sentence about a difference has its interval, never a p alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from suite.analysis.pair_schedules import Schedules
from suite.plan.notes import called
from suite.stats.compare import Comparison, same_answers
from suite.stats.correctness import counted
from suite.stats.metric import TOP1, Metric
from suite.stats.verdict import Verdict, too_few

NO_SCHEDULES = Schedules()


@dataclass(frozen=True)
class Setting:
    """Where a comparison was made.

    ``budget``   as a fraction, as the accuracy of the dense model
    ``made_up``  parts of the backbone that its weights do not have
    ``kind``     whether images or videos were classified
    ``split``    of the data
    ``metric``   by which methods are compared
    """

    backbone: str
    dataset: str
    budget: float
    dense_accuracy: float
    made_up: Sequence[str] = ()
    kind: str = "images"
    split: str = ""
    metric: Metric = TOP1

    @property
    def place(self) -> str:
        """Data set and backbone."""
        return f"{self.dataset} ({called(self.backbone, self.made_up)})"

    def compared(self, row: Comparison) -> str:
        """The images on which two methods were compared."""
        return counted(row.images, self.kind, self.split)


def best_tested(rows: Iterable[Comparison], named: Collection[str]) -> Comparison | None:
    """The most accurate of the tested rows; of equal ones that of a method in `named`."""
    # A method that was not named but is better must not be passed over in the headline.
    tested = [row for row in rows if row.p_holm is not None]
    return max(tested, key=lambda row: (row.accuracy, row.label in named), default=None)


def best_sentence(
    setting: Setting,
    judged: Verdict,
    best: Comparison | None,
    schedules: Schedules = NO_SCHEDULES,
) -> str:
    """The reference against the best other method of the same work; None if there is none."""
    # That the data cannot rank is said first; the difference follows as a measurement.
    doubt = "" if judged.can_rank else f"{judged.text} "
    if best is None:
        return (
            f"{doubt}No other method was run at the same FLOPs, within 0.5 point, on "
            f"{setting.place}."
        )
    budget = f"with {100 * setting.budget:.4g} % of FLOPs removed{schedules.clause(best)}"
    place = f"On {setting.compared(best)} of {setting.place} {budget}"
    unsettled = schedules.unsettled(best)
    relation = _relation(best, "the best of the others, ", setting, unsettled)
    power = f"{too_few(best.images, setting.kind)}."
    if best.smallest < 1:
        power = power_sentence(best.smallest, best.images, setting.kind)
    figures = f"{_figures(best)}; dense {percent(setting.dense_accuracy)}"
    return f"{doubt}{schedules.before(best)}{place}, {relation} ({figures}). {power}"


def power_sentence(smallest: float, images: int, kind: str) -> str:
    """How small a difference may go unseen: the one found in four runs of five."""
    return (
        f"With {counted(images, kind)}, a difference below {100 * smallest:.1f} points is easily "
        "missed."
    )


def pair_sentence(setting: Setting, row: Comparison, schedules: Schedules = NO_SCHEDULES) -> str:
    """The reference of `row` against its method, in figures."""
    where = f"On {called(setting.backbone, setting.made_up)}, {setting.compared(row)}"
    place = f"{where}, with {100 * setting.budget:.4g} % removed{schedules.clause(row)}"
    relation = _relation(row, "", setting, schedules.unsettled(row))
    return f"{schedules.before(row)}{place}, {relation} ({_figures(row)})."


def _relation(row: Comparison, rank: str, setting: Setting, unsettled: bool) -> str:
    """The reference of `row` against its method, called by its `rank`, in words.

    A difference that is `unsettled`, since it depends on the schedule, is a measurement and no win.
    """
    metric = setting.metric.name
    points = f"{abs(100 * row.difference):.1f} points of {metric}"
    other = f"{rank}{row.label}," if rank else row.label
    if row.only_method_correct == row.only_reference_correct == 0:
        return f"{row.reference} and {other} are {same_answers(row.images, setting.kind)}"
    gap = signed_points(-100 * row.difference)
    signed = f"{row.reference} minus {row.label} is {gap} points of {metric}"
    if not row.significant:
        # The seeds that ran may differ together, while the range over them reaches zero.
        scope = ""
        if row.rejected:
            scope = " seed by seed" if row.kind == "range" else " for seeds in general"
        return f"{row.reference} and {other} cannot be told apart{scope}: {signed}"
    if unsettled:
        return signed
    if row.difference < 0:
        return f"{row.reference} keeps {points} more than {rank}{row.label}"
    return f"{row.reference} keeps {points} less than {row.label}"


def _figures(row: Comparison) -> str:
    """Interval of reference minus method with its p, and both accuracies."""
    # Rows are method minus reference; the sentence has the reference first, so ends change places.
    low, high = signed_points(-100 * row.difference_high), signed_points(-100 * row.difference_low)
    spread = f"95 % interval {low} to {high}"
    if row.kind == "range":
        spread = f"{low} to {high} over the 95 % intervals of the seeds"
    assert row.p_holm is not None, "only tested rows are put into words"
    p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.3f}"
    if row.rejected and not row.significant:
        p += " for these seeds together"
    corrected = f"Holm-corrected for {comparisons_words(row.comparisons)}"
    accuracies = f"{percent(row.reference_accuracy)} against {percent(row.accuracy)}"
    return f"{spread}, {p}, {corrected}; {accuracies}"


def comparisons_words(count: int | None) -> str:
    """For how many comparisons something is corrected."""
    return "1 comparison" if count == 1 else f"{count} comparisons"


def signed_points(points: float) -> str:
    """One digit, or as many as show on which side of zero the number lies."""
    points = round(points, 6)  # a mean may miss zero by rounding
    if not points:
        return "0.0"
    # An interval that excludes zero must not be printed with an end of 0.0.
    digits = 1
    while not float(f"{points:.{digits}f}"):
        digits += 1
    return f"{points:+.{digits}f}"


def percent(share: float) -> str:
    """A share of the images."""
    return f"{100 * share:.1f} %"
