"""PuMer: prune what is irrelevant, then merge what is alike."""

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed

PUMER = Method(
    name="pumer",
    title="PuMer",
    family="hybrid",
    paper="Cao et al., PuMer: Pruning and Merging Tokens for Efficient Vision Language Models, "
    "ACL 2023, arXiv:2305.17530",
    reference=Reference(
        key="cao2023pumer",
        title="PuMer: Pruning and Merging Tokens for Efficient Vision Language Models",
        authors=(
            "Cao, Qingqing",
            "Paranjape, Bhargavi",
            "Hajishirzi, Hannaneh",
        ),
        year=2023,
        arxiv="2305.17530",
        meeting="Annual Meeting of the Association for Computational Linguistics",
    ),
    code=Code("csarron/PuMer", "MIT", "8a00d85"),
    year=2023,
    published=published.pumer,
    options={
        "score": options.native(
            options.score(
                "hidden-attention", "cls-similarity", "cls-attention", "activation", "delta", "norm"
            ),
            "cls_attention",
            "cls-attention",
        ),
        "direction": options.direction(),
        "reading": options.reading(),
        "decay": options.decay(),
        "prune_ratio": Option(
            0.5, "share of what goes that is pruned; the rest is merged", minimum=0, maximum=1
        ),
        "feature": options.feature("branch"),
        "neighbour_rank": options.neighbour_rank(),
        "weights": options.weights("mean", "size", "pair", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=True),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="odd-even", **given),
    about="""
1. Prune: of the $r$ tokens to go, the $p = \\lfloor r/2 + 1/2 \\rfloor$ of lowest score are dropped
   (`prune_ratio` sets the share).
2. Merge: among those that stay, in sequence order, tokens of even rank name their best of odd rank
   by cosine, and the $r - p$ most similar pairs become their mean.
3. The survivors stand in their original order.

**Adapted to vision alone.** PuMer scores an image token by the attention that the words of the
query pay to it. There is no query here: the class token stands for the text, and the score is the
attention that it pays, on a scan its hidden attention (see `evit`, also for `score=cls-similarity`,
which needs no class token). Pruning and merging equal shares is the paper's setting for VQA (0.2
and 0.2).

**Left open, and chosen here.** The metric of the merge is the last mixer's output; the mean is
unweighted.

**Departures in public code.** The paper's code keeps the survivors in the order of their score,
here `order=score`, and forgets the pruning where nothing is merged. A released adaptation to Mamba
does not prune at all.

**Cost.** $\\lceil m/2 \\rceil \\lfloor m/2 \\rfloor F$ multiply-accumulates, $m = n - p$ and $F$
the width of the feature, besides the score, normalising $m$ features and averaging. At most the $r$
with $2 r - p \\le n$ go at a site.
""",
)
