"""The closed form of FLOPs against the figures that were printed of the backbones."""

from __future__ import annotations

from collections.abc import Iterator

from backbones import without_weights
from suite.flops.closed_form import dense, total
from suite.flops.published import GIGA, printed
from suite.verify.line import Line, judged


def flops_lines() -> Iterator[Line]:
    """A line for each printed figure, with the true one."""
    for row in printed():
        shape = without_weights(row.backbone).describe()
        counted, true = row.here(shape), total(dense(shape), "flops") / GIGA
        detail = (
            f"{row.giga} G printed ({row.source}), {counted} G by the same count "
            f"('{row.count}'), {true:.4g} GFLOPs true"
        )
        if row.doubt and counted != row.giga:
            yield Line("FLOPs", row.backbone, "doubted", f"{detail}; {row.doubt}")
        else:
            problem = "" if counted == row.giga else detail
            yield judged("FLOPs", row.backbone, problem, detail)
