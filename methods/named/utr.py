"""UTR: unified token reduction, with an operator of its own for each stream."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import NONE_STATED, Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed


def _composed(drop_ratio: float, residual_drop_ratio: float, **given: Any) -> Any:
    return composed(
        matching="halves",
        branch_drop_ratio=drop_ratio,
        residual_drop_ratio=residual_drop_ratio,
        **given,
    )


UTR = Method(
    name="utr",
    title="UTR",
    family="hybrid",
    paper="Zhan et al., Rethinking Token Reduction for State Space Models (UTR), EMNLP 2024, "
    "arXiv:2410.14725",
    reference=Reference(
        key="zhan2024utr",
        title="Rethinking Token Reduction for State Space Models",
        authors=(
            "Zhan, Zheng",
            "Wu, Yushu",
            "Kong, Zhenglun",
            "Yang, Changdi",
            "Gong, Yifan",
            "Shen, Xuan",
            "Lin, Xue",
            "Zhao, Pu",
            "Wang, Yanzhi",
        ),
        year=2024,
        arxiv="2410.14725",
        meeting="Conference on Empirical Methods in Natural Language Processing",
    ),
    code=Code(
        "wuyushuwys/ToR_SSM",
        NONE_STATED,
        "2e9fc62",
        "one file refers to a LICENSE that is not there",
    ),
    year=2024,
    published=published.utr,
    options={
        "score": options.score(
            "activation", "delta", "b", "c", "delta-b", "norm", "cls-similarity"
        ),
        "direction": options.direction(),
        "reading": options.reading(),
        "feature": options.feature("branch"),
        "neighbour_rank": options.neighbour_rank(),
        "drop_ratio": Option(
            0.5, "q: share of the tokens that go which the branch drops", minimum=0, maximum=1
        ),
        "residual_drop_ratio": Option(
            0.0, "share of them which the residual drops", minimum=0, maximum=1
        ),
        "weights": options.weights("pair", "mean", "size", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
1. Score: $s_i = \\frac1E \\sum_d \\max(0, y_{i,d})$, $y$ the scan's output before its gate.
2. $M_A$ = the $\\lfloor n/2 \\rfloor$ least important tokens, $M_B$ = the others.
3. Each $a_i$ names its best: $f_i = \\arg\\max_{b \\in M_B} \\cos(a_i, b)$, $g_i$ that cosine.
4. The $r$ connections of largest $g$ are kept: their $a_i$ go.
5. In the branch $q r$ of them are dropped and the others merged, $f_i \\leftarrow (a_i + f_i) / 2$;
   in the residual all are merged. Both streams lose the same indices, and the survivors stand in
   their original order.

**Readings.** Paper and released code were read. The paper's $y$ is the output of the scan:
`reading=ungated`. The released code clips what comes after the output projection:
`reading=projected`. `gated` is between the two, and neither's.

**Left open by the paper, and chosen here.** Dropped are the connections of smallest $g$: a mean of
two unlike tokens is neither of them. Several $a_i$ with one $f$ are averaged in one after the
other, by descending $g$. Similarity is taken of the branch. A token merged in either stream lives
on in its target: sizes and owners count it there.

**Departures in public code.** The released code sorts every channel over the tokens by itself, so
that its rows are no tokens, always removes tokens of even position, and adds a source to another
source's target.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the
feature, besides normalising $n$ features and averaging. At most $\\lfloor n/2 \\rfloor$ tokens go
at a site.
""",
)
