"""Delta: pruning by Mamba's timescale, MTR's score without its merge."""

from methods import options
from methods.base import Method, composed

DELTA = Method(
    name="delta",
    title="Delta pruning",
    family="baseline",
    options={
        "direction": options.direction(),
        "window": options.window(),
        "sensitivity": options.sensitivity(),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=False),
        "shuffle": options.shuffle(),
    },
    # MTR's Source group is the same r tokens, so the difference from MTR is the merge alone.
    build=lambda **given: composed(matching="lowest", score="delta", **given),
    about="""
Score: $s_i = \\frac1E \\sum_d \\sum_{\\mathrm{dir}} \\Delta_{i,d}$, the timescale after bias and
softplus. The $r$ tokens of lowest score are dropped, the others stand in their original order:
MTR's score without its merge, so the two together say what merging adds. It is the same composition
as `mtr[weights=drop]`.

`delta@adaptive`, a schedule that other scores can have, too, drops of each image the tokens whose
score is below its mean less $\\alpha$ deviations, as TE-VMamba (Huang et al., CVPR 2026) prunes by
this score.

**Cost.** No matrix products; the mean of $\\Delta$ over channels is $E$ additions a token and
direction.
""",
)
