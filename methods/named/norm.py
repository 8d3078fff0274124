"""Token norm: pruning by length, the cheapest score there is."""

from methods import options
from methods.base import Method, composed

NORM = Method(
    name="norm",
    title="Token norm",
    family="baseline",
    options={
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=False),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="lowest", score="norm", **given),
    about="""
Score: $s_i = \\lVert \\text{branch}_i + \\text{residual}_i \\rVert_2$, the length of what enters
the next block, before its norm. The $r$ tokens of smallest length are dropped, the others stand in
their original order.

It looks at nothing the scan computes, so a score read from the scan should beat it.

**Cost.** No matrix products; $3 C + 1$ operations a token.
""",
)
