"""The closed form of FLOPs against the figures that were printed of the backbones."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from backbones import create_model
from suite.flops.closed_form import dense, total
from suite.flops.published import GIGA, printed
from suite.verify.line import Line, judged


def flops_lines() -> Iterator[Line]:
    """A line for each printed figure, the true one beside it."""
    for row in printed():
        with torch.device("meta"):
            shape = create_model(row.backbone).describe()
        here, true = row.here(shape), total(dense(shape), "flops") / GIGA
        said = f"{row.giga} G printed ({row.source}), {here} G by the same count ('{row.count}'), {true:.4g} GFLOPs true"
        if row.doubt and here != row.giga:
            yield Line("FLOPs", row.backbone, "doubted", f"{said}; {row.doubt}")
        else:
            yield judged("FLOPs", row.backbone, "" if here == row.giga else said, said)
