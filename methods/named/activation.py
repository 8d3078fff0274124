"""Activation: pruning by the clipped scan output, the score of UTR and HSA by itself."""

from methods import options
from methods.base import Method, composed

ACTIVATION = Method(
    name="activation",
    title="Activation",
    family="baseline",
    options={
        "direction": options.direction(),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=False),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="lowest", score="activation", **given),
    about="""
Score: $s_i = \\frac1E \\sum_d \\max(0, y_{i,d})$, $y$ the gated scan output. The $r$ tokens of
lowest score are dropped, the others stand in their original order. This is the score of UTR and HSA
without what those methods add.

`direction` reads the output of one scan; with `both` it is that of the block, which is its sum or
its mean.

**Cost.** No matrix products; $E + 1$ operations a token.
""",
)
