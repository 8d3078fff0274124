"""R-MeeTo: bipartite merging made for Mamba."""

from backbones.common.reference import Reference
from backbones.common.release import NONE_STATED, Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, composed

RMEETO = Method(
    name="rmeeto",
    title="R-MeeTo",
    family="merging",
    paper="Shi et al., Faster Vision Mamba is Rebuilt in Minutes via Merged Token Re-training "
    "(R-MeeTo), arXiv:2412.12496",
    reference=Reference(
        key="shi2024rmeeto",
        title="Faster Vision Mamba is Rebuilt in Minutes via Merged Token Re-training",
        authors=(
            "Shi, Mingjia",
            "Zhou, Yuhao",
            "Yu, Ruiji",
            "Li, Zekai",
            "Liang, Zhiyuan",
            "Zhao, Xuanlei",
            "Peng, Xiaojiang",
            "Rajpurohit, Tanmay",
            "Vedantam, Ramakrishna",
            "Zhao, Wangbo",
            "Wang, Kai",
            "You, Yang",
        ),
        year=2024,
        arxiv="2412.12496",
    ),
    code=Code("NUS-HPC-AI-Lab/R-MeeTo", NONE_STATED, "535a826"),
    year=2024,
    published=published.merging,
    options={
        "feature": options.feature("branch"),
        "neighbour_rank": options.neighbour_rank(),
        "weights": options.weights("size", "mean", "pair", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "cls_placement": options.cls_placement(),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="odd-even", **given),
    about="""
1. Cut the class token out; patch tokens of even rank are set $a$, of odd rank set $b$.
2. Each $a_i$ names its best of $b$ by the cosine of a metric: $X$ (`branch`, the default), $B$, $C$
   or $\\Delta$ of the block before, the mean of both directions.
3. The $r$ edges of largest cosine merge, weighted by size:
   $b \\leftarrow \\sum \\text{size} \\cdot x / \\sum \\text{size}$.
4. The survivors stand in their original order, the class token at its exact rank among them.

Without the retraining that the paper is about this is what it starts from, and the same composition
as `tome`.

**Special token.** The released code does not count how many merged tokens stood before the class
token but puts it at $\\lfloor p (t - r) / t \\rfloor$, $p$ its place and $t$ the tokens before.
`cls_placement=proportional` does so: it really moves the class token among the patches, into
another place of both scans, and later sites start from there. It is defined for one class token.

**Departures in public code.** For $B$, $C$ and $\\Delta$ the release turns round the states of the
backward scan in place of its tokens. Its metric `delta` is taken before bias and softplus; here it
is the step used. The last merge of the released schedule goes to 76 tokens whatever $r$ is; the
published counts used here do not. `order=appended` puts the unmerged of $a$ by position, the
released code by similarity.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the
metric, besides normalising $n$ features and averaging. At most $\\lfloor n/2 \\rfloor$ tokens go at
a site.
""",
)
