"""STORM: every row and column merges equally many neighbours, so that the map stays a rectangle."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed


def _composed(pairs: str, feature: str, score: str, window: int, **given: Any) -> Any:
    by_feature = pairs == "similarity"
    return composed(
        matching="grid-pairs",
        feature=feature if by_feature else None,
        score=None if by_feature else score,
        pair_window=window,
        **given,
    )


STORM = Method(
    name="storm",
    title="STORM",
    on_grid=True,
    family="merging",
    paper="Lv et al., Spatial-Aware Reduction Framework: Towards Efficient and Faithful Visual "
    "State Space Models (STORM), ICML 2026, arXiv:2606.19932",
    reference=Reference(
        key="lv2026storm",
        title="Spatial-Aware Reduction Framework: Towards Efficient and Faithful Visual State "
        "Space Models",
        # Given names are known of the first three only.
        authors=(
            "Lv, Jindi",
            "Li, Aoyu",
            "Zhou, Yuhao",
            "Zhu",
            "Wang",
            "Ye",
            "Duan",
            "Feng",
            "Lv",
        ),
        year=2026,
        arxiv="2606.19932",
        meeting="International Conference on Machine Learning",
    ),
    code=Code("AOLIAO12312/STORM", "MIT", "5ced3ce"),
    year=2026,
    published=published.storm,
    options={
        "pairs": Option(
            "similarity",
            "what pairs are ranked by: how alike their cells are, or the smaller importance of "
            "the two",
            ("similarity", "importance"),
        ),
        "distance": Option("l1", "how alike two cells are", ("l1", "l2", "cosine")),
        "feature": options.feature("residual"),
        "score": options.score(
            "magnitude",
            "delta",
            "b",
            "c",
            "delta-b",
            "activation",
            "norm",
            "cls-similarity",
            "cls-attention",
            "hidden-attention",
            "random",
        ),
        "direction": options.direction(),
        "reading": options.reading(),
        "decay": options.decay(),
        "window": Option(
            5,
            "pairs in a window, over which the merges of a row or column are shared out; 0: one "
            "window",
            minimum=0,
        ),
        "weights": options.weights("sum", "mean", "size", "drop"),
    },
    build=_composed,
    about="""
The map of $h \\times w$ patch tokens becomes one of $(h - r_h) \\times (w - r_w)$.

1. *Rows.* Cells $2j$ and $2j + 1$ of a row are a pair; an odd last cell is in none and stays. A
   pair scores $s_j = -\\lVert x_{2j} - x_{2j+1} \\rVert_1$, $x$ the residual before the last block.
2. The pairs of a row are cut into windows of 5. The $r_w$ merges are shared out over the windows in
   proportion to their lengths, the remainder to the largest fractions; in a window the pairs of
   highest score merge, the even cell into the odd one.
3. *Columns.* The same on the narrowed map, $r_h$ merges a column, planned on what $x$ has become.
4. A merged token is the **sum** of its sources, in both streams: the residual, and the output of
   the block's mixer, which are added afterwards. Every row loses equally many cells, and so does
   every column: the map stays a rectangle, and two-dimensional scans and convolutions run on it as
   on a smaller image. The class token and registers take no part; `position` is that of the cell
   that stayed.

`pairs=importance,weights=drop` is the paper's form for EViT: the pairs whose smaller importance is
smallest lose their less important cell; importance is the mean of $|x|$ over channels
(`score=magnitude`), or any other score. `weights=mean` and `size` divide by the number of tokens
that met here, or of patches that they stand for.

**How it was read.** The abstract, the project's page and the released code (MIT licence), not the
paper's text. On drawn maps this method leaves what the release leaves.

**Where it stands.** The release plans on a block's input and reduces input and mixer output before
they are added. A site of this suite is that place: between a block's mixer and the addition at the
start of the next. Two backbones differ: on Adventurer an MLP stands between, so that $x$ holds the
mixer's output, and on a transformer the site is between attention and MLP.

**The budget.** Whole rows and columns leave, so that a budget is met as near as the map allows; a
cell that is more than 0.2 point off is marked, and not tested against others.

**Faults of the release, not repeated.** The sum is never divided by a size: where the answer is
read from a mean over all tokens it weighs a token by how many it is made of. Its `mean` counts from
the target's own values and is wrong. Its baseline ToMe on VMamba prunes instead of merging, and
folds what is left into a smaller square, so that plain ToMe's loss there is in part the folding's.
The row of its README for PlainMamba-L3 with STORM(EViT) is a copy of VMamba-B's.

**Cost.** No matrix products. $2 F$ operations for each pair that is compared, $F$ the width of the
feature; $F$ for each merge between rows and columns, $2 C$ for each token that merges. At most half
of each side leaves at a site.
""",
)
