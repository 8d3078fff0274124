"""Random pruning: what is lost by removing tokens without looking at them."""

from methods import options
from methods.base import Method, composed

RANDOM = Method(
    name="random",
    title="Random",
    family="baseline",
    stochastic=True,
    options={
        "weights": options.weights("drop", "mean", "size", "pair"),
        "feature": options.feature("branch+residual"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    # Without a bound on its size the Target group takes all that is left: random sources, matched
    # to the rest.
    build=lambda **given: composed(
        matching="keep-target-source", score="random", target_ratio=None, **given
    ),
    about="""
Every patch token draws $u_i \\sim U[0, 1)$ and the $r$ tokens of smallest $u_i$ are dropped, per
image independently. The numbers are a function of (seed, image, site, position) alone, so they do
not depend on the batch, the device or the order of evaluation. With `weights=mean` (or size, pair)
a random source is merged into the most similar of the tokens that stay, ToMe's random bipartite
control.

**Cost.** Dropping: none. Merging: $r (n - r) F$ multiply-accumulates, $F$ the width of the feature.
""",
)
