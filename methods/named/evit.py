"""EViT: keep what the class token attends to, fuse the rest."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed


def _composed(fused: bool, weights: str, **given: Any) -> Any:
    # Without the fused token nothing is merged, and nothing has to be weighed.
    return composed(
        matching="fused" if fused else "lowest", weights=weights if fused else "drop", **given
    )


EVIT = Method(
    name="evit",
    title="EViT",
    family="hybrid",
    paper="Liang et al., Not All Patches are What You Need: Expediting Vision Transformers via "
    "Token Reorganizations (EViT), ICLR 2022, arXiv:2202.07800",
    reference=Reference(
        key="liang2022evit",
        title="Not All Patches are What You Need: Expediting Vision Transformers via Token "
        "Reorganizations",
        authors=(
            "Liang, Youwei",
            "Ge, Chongjian",
            "Tong, Zhan",
            "Song, Yibing",
            "Wang, Jue",
            "Xie, Pengtao",
        ),
        year=2022,
        arxiv="2202.07800",
        meeting="International Conference on Learning Representations",
    ),
    code=Code("youweiliang/evit", "Apache-2.0", "5ca95a7"),
    year=2022,
    published=published.evit,
    options={
        "score": options.native(
            options.score("hidden-attention", "cls-similarity", "cls-attention", "activation"),
            "cls_attention",
            "cls-attention",
        ),
        "direction": options.direction(),
        "reading": options.reading(),
        "decay": options.decay(),
        "fused": Option(True, "merge what is not kept into one token, instead of dropping it"),
        "weights": options.weights("attention", "mean", "size"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
1. Score: how much the class token attends to each patch token, $a_i$.
2. The tokens of highest score stay.
3. The others become one fused token $\\sum_i a_i x_i$, the weights not renormalised, as in the
   paper.
4. Survivors stand in their original order; `order=score` is the released code's, kept by descending
   score, fused last.

**On attention, as published.** Between attention and MLP, $a$ the class token's attention to the
patches, mean over heads (`cls-attention`), as it is: its row includes the class token.

**On a scan** the class token's attention is its hidden attention (`hidden-attention`, the
default): the scan written as attention, each direction reading the tokens it passed before the
class token, $\\alpha_{c,j} = \\sum_n C_c[n] \\big(\\prod_{t=j+1}^{c} e^{\\Delta_t A[n]}\\big)
\\Delta_j B_j[n]$, and the mean of $|\\alpha|$ over channels is taken (and over several special
tokens). It is EViT's own score carried over, and needs a class token. `cls-similarity` needs none:
cosine of branch + residual with the class token (mean over several; the size-weighted mean token
where there is none). `activation`: $\\frac1E \\sum_d \\max(0, y_d)$, $y$ what `reading` says. For
the fused sum these scores become weights that sum to one over all patch tokens: a softmax of the
cosine, the others divided by their sum.

**Without decay.** `decay=false` leaves the product of $e^{\\Delta_t A[n]}$ out of $\\alpha$: the
distance from the class token no longer counts, and the score is $|C_c \\cdot B_j|$ times the mean
of $\\Delta_j$. Jiang et al. (arXiv:2603.00198) report for hybrid language models that attention
without the decay tells better which tokens matter; their formula could not be read, and this is its
plain form.

**Chosen here.** To remove $r$ tokens exactly, the $r + 1$ lowest are fused into one, which takes
the place of the best-scored of them. `fused=false` drops the $r$ lowest.

**Departures in public code.** One reimplementation for Mamba keeps the least important tokens (an
ascending sort).

**Cost.** No matrix products. `hidden-attention` takes about $4 E N$ operations a token and special
token; with `decay=false` $2 N$, and $E$ a token and direction for the mean of $\\Delta$.
""",
)
