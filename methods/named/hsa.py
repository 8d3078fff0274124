"""HSA: pruning that keeps the hidden states aligned."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed


def _composed(align: bool, **given: Any) -> Any:
    return composed(matching="lowest", aligned=align, **given)


HSA = Method(
    name="hsa",
    title="HSA",
    family="pruning",
    paper="Zhan et al., Exploring Token Pruning in Vision State Space Models (HSA), NeurIPS 2024, "
    "arXiv:2409.18962",
    reference=Reference(
        key="zhan2024hsa",
        title="Exploring Token Pruning in Vision State Space Models",
        authors=(
            "Zhan, Zheng",
            "Kong, Zhenglun",
            "Gong, Yifan",
            "Wu, Yushu",
            "Meng, Zichong",
            "Zheng, Hangyu",
            "Shen, Xuan",
            "Ioannidis, Stratis",
            "Niu, Wei",
            "Zhao, Pu",
            "Wang, Yanzhi",
        ),
        year=2024,
        arxiv="2409.18962",
        meeting="Conference on Neural Information Processing Systems",
    ),
    code=Code("ZLKong/ToP-ViM", "Apache-2.0", "b5bc231"),
    year=2024,
    published=published.hsa,
    options={
        "align": Option(True, "hand the decay of dropped tokens to the next token of each scan"),
        "score": options.score("activation", "delta", "norm", "random"),
        "direction": options.direction(),
        "reading": options.reading("gated"),
        # no `order`: alignment is defined for the original order alone
        "cls_window": options.cls_window(),
    },
    build=_composed,
    about="""
1. Score: $s_i = \\frac1E \\sum_d \\max(0, y_{i,d})$, $y$ the scan's output behind its gate.
2. The $r$ tokens of lowest score are dropped from both streams; the others stand in their original
   order.
3. Alignment: a dropped token $p$ keeps its place in the scan with its input taken away,
   $h_p = e^{\\Delta_p A} h_{p-1}$. So for kept neighbours $t' < t$:
   $h_t = e^{(\\Delta_t + g_t) A} h_{t'} + \\Delta_t B_t u_t$ with
   $g_t = \\sum_{t' < p < t} \\Delta_p$, mirrored for the backward scan.
4. $g$ adds up over sites: a dropped token also hands on what it carried.

**How it was read.** From secondary notes and the released code, not from the paper. The notes give
the sum of clipped $y$ without saying where $y$ is read; the released code reads the gated output of
the backward scan. So `reading=gated` is the default, unverified.

**Left open there, and chosen here.** A token that is gone has no $\\Delta$ in later blocks;
its last one stands for it, the $\\Delta$ of the block before the site that dropped it, in each of
the $E$ channels and both directions. Not offered: gap times softplus of the bias, since a bias is
no part of a trace; gap times the kept token's own $\\Delta_t$, since that is known only inside each
later block. The decay of tokens after the last kept one of a scan is lost. Alignment is defined for
the original order only, so there is no other. `align=false` is `activation[reading=gated]`.

**Departures in public code.** The released code has no alignment; it scores by the sum of the
backward scan's output, unclipped and in flipped order, protects the class token of the first image
alone, and moves the class token to the middle.

**Cost.** No matrix products; $4 E$ additions for each dropped token, $E + 1$ operations a token for
the score, and in each later block one more addition for each channel and direction of a token ($2 E
L$): elementwise work of the scan, which by convention is in no total of FLOPs.
""",
)
