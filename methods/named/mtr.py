"""MTR: merging ranked by Mamba's timescale."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import NO_CODE
from methods import options
from methods.base import Method, Option, composed


def _composed(targets: float, drop_ratio: float, **given: Any) -> Any:
    # One ratio for both streams: a token dropped from both is gone. UTR has one for each.
    return composed(
        target_ratio=targets,
        branch_drop_ratio=drop_ratio,
        residual_drop_ratio=drop_ratio,
        **given,
    )


MTR = Method(
    name="mtr",
    title="MTR",
    family="merging",
    paper="Training-free Token Reduction for Vision Mamba (MTR), arXiv:2507.14042",
    reference=Reference(
        key="ma2025mtr",
        title="Training-free Token Reduction for Vision Mamba",
        authors=(
            "Ma, Qiankun",
            "Zhang, Ziyao",
            "Su, Chi",
            "Chen, Jie",
            "Song, Zhen",
            "Zheng, Hairong",
            "Gao, Wen",
        ),
        year=2025,
        arxiv="2507.14042",
    ),
    code=NO_CODE,
    year=2025,
    options={
        "score": options.score(
            "delta",
            "b",
            "c",
            "delta-b",
            "activation",
            "norm",
            "cls-similarity",
            "hidden-attention",
            "random",
        ),
        "direction": options.direction(),
        "reading": options.reading(),
        "decay": options.decay(),
        "window": options.window(),
        "sensitivity": options.sensitivity(),
        "matching": Option(
            "keep-target-source",
            "how the tokens are split",
            ("keep-target-source", "halves", "odd-even", "neighbours"),
        ),
        "targets": Option(
            1.0,
            "size of the Target group, as a multiple of the Source group's",
            minimum=0,
            maximum=100,
        ),
        "feature": options.feature("branch+residual"),
        "neighbour_rank": options.neighbour_rank(),
        "drop_ratio": Option(
            0.0,
            "share of the sources, the last to be matched, that is dropped",
            minimum=0,
            maximum=1,
        ),
        "weights": options.weights("mean", "size", "pair", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "cls_placement": options.cls_placement(),
        "order": options.order(scored=True, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
1. Score: $s_i = \\frac1E \\sum_d \\sum_{\\mathrm{dir}} \\Delta_{i,d}$, the timescale after bias and
   softplus, averaged over channels, the backward scan flipped back to image order. A large
   $\\Delta$ writes much of the token into the state.
2. Split by descending score: **Keep**, then **Target**, then **Source**, the $r$ lowest.
3. Every source goes into its most similar target: $f(a) = \\arg\\max_{b \\in T} \\cos(x_a, x_b)$.
4. A target becomes the mean of itself and its sources, in both streams; the sources are gone.
5. The survivors stand in their original order.

**How it was read.** From the abstract and a third-party summary, not from the paper.

**Left open there, and chosen here.** Target is the next $\\min(r, n - r)$ tokens above
Source (`targets` scales it); similarity is taken of branch + residual; several sources and their
target are averaged unweighted; special tokens are outside all groups; between equal scores the
earlier token ranks higher. `score=b` and `score=c` read the mean over states of $|B|$ and $|C|$,
summed over directions; `delta-b` is their product with $\\Delta$, direction by direction;
`activation` is $\\frac1E \\sum_d \\max(0, y_d)$, $y$ what `reading` says.

**Another reading.** The method is also summarised as positional sensitivity and local
responsiveness by max-pooling. `window=3` replaces a score by the largest in the 3 x 3 grid cells
round the token (cells whose token is gone are empty); `sensitivity=` $\\lambda$ multiplies it by
$e^{-\\lambda d}$, $d$ the distance to the class token in the unreduced sequence over its length: a
state that is read at the class token has forgotten what is far away.

**Ablations of the split.** `matching=halves` merges the $r$ most similar pairs of a less and a more
important half, `odd-even` those of ToMe's two sets, `neighbours` those that stand side by side (see
`utr`, `tome`, `stm`).

**Cost.** $r\\, t\\, F$ multiply-accumulates, $t = \\min(r, n - r)$ targets and $F$ the width of the
feature, besides the score ($E$ additions a token and direction), normalising $r + t$ features and
averaging. At most $n - 1$ tokens go at a site.
""",
)
