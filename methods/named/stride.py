"""Evenly spaced survivors: the pruning that knows the grid and nothing else."""

from methods import options
from methods.base import Method, composed

STRIDE = Method(
    name="stride",
    title="Stride",
    family="baseline",
    options={
        "cls_window": options.cls_window(),
        "order": options.order(scored=False, merges=False),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="spaced", **given),
    about="""
Of $n$ patch tokens in sequence order the $k = n - r$ at ranks $\\lfloor (2 i + 1) n / 2 k
\\rfloor$, $i = 0 \\dots k-1$, stay: the middles of $k$ equal intervals, to the exact count. The
others are dropped. With `cls_window` $n$ counts the tokens outside the window.

**Cost.** None.
""",
)
