"""What a sentence on two methods says of schedules: which they follow, and what depends on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from suite.stats.compare import Comparison
from suite.stats.schedule_words import on_pair
from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts
from suite.store.schema import SAME, CellRecord
from suite.tries.settings import Setting


@dataclass(frozen=True)
class Schedules:
    """Settings of the cells of one backbone at one budget, and the verdicts over schedules.

    ``settings``  by label the setting of a cell, and whether it was tuned to it
    ``verdicts``  on the methods of the backbone; None where nothing answers
    ``kind``      whether images or videos were classified
    """

    settings: Mapping[str, tuple[Setting, bool]] = field(default_factory=dict)
    verdicts: ScheduleVerdicts | None = None
    kind: str = "images"

    @classmethod
    def of(
        cls, records: Sequence[CellRecord], budget: float, verdicts: Iterable[ScheduleVerdicts]
    ) -> Schedules:
        """Those of `records`, which are of one backbone."""
        settings = {}
        for record in records:
            if record.budget == budget and record.setting:
                settings[record.label] = record.setting, record.tuned
        backbone = records[0].backbone
        own = [each for each in verdicts if each.backbone == backbone]
        # At another budget who keeps more may be another question, but no less open.
        own.sort(key=lambda each: each.budget != budget)
        return cls(settings, own[0] if own else None, records[0].kind)

    def order(self, row: Comparison) -> OrderOverSchedules | None:
        """The verdict on two methods; None if they were not compared over schedules."""
        if self.verdicts is None:
            return None
        return self.verdicts.pair(*(without_schedule(each) for each in (row.reference, row.label)))

    def clause(self, row: Comparison) -> str:
        """The schedules that the two follow, to stand in a sentence about them."""
        labels = [label for label in (row.reference, row.label) if label in self.settings]
        if not labels:
            return ""
        settings = [self.settings[label] for label in labels]
        words = []
        for label, (setting, _) in zip(labels, settings, strict=True):
            words.append(f"{without_schedule(label)} {setting}")
        tuned = [tuned for _, tuned in settings]
        if all(tuned):
            return f", each at its tuned schedule ({'; '.join(words)})"
        if any(tuned):
            # A lead may be the tuning's: it had tries, and the other had none.
            how = {True: "tuned", False: "not tuned"}
            words = [f"{text}, {how[own]}" for text, own in zip(words, tuned, strict=True)]
            return f", under their schedules ({'; '.join(words)})"
        if len({setting for setting, _ in settings}) == 1:
            return f", under schedule {settings[0][0]}"
        return f", under their schedules ({'; '.join(words)})"

    def unsettled(self, row: Comparison) -> bool:
        """Whether who keeps more depends on the schedule, so that a lead is no win.

        It does, too, if the order under equal schedules is not that of the two at theirs.
        """
        order = self.order(row)
        if order is None:
            return False
        ahead = row.label if row.difference > 0 else row.reference
        other_way = order.verdict == "holds" and order.method != without_schedule(ahead)
        return order.verdict == "depends" or (bool(row.significant) and other_way)

    def before(self, row: Comparison) -> str:
        """What is said ahead of a difference that is no win; else empty."""
        order = self.order(row)
        if order is None or self.verdicts is None or not self.unsettled(row):
            return ""
        under_equal = on_pair(self.verdicts, order, self.kind)
        if order.verdict == "depends":
            return f"{under_equal} "
        return (
            f"Whether {row.reference} or {row.label} keeps more depends on their schedules. "
            f"{under_equal} "
        )


def without_schedule(label: str) -> str:
    """The name under which the method of a cell is compared over schedules."""
    return re.sub(r"@[a-z][a-z0-9-]*$", "", label.split(SAME)[0])
