"""ToMe: bipartite soft matching, as published on attention and adapted to a scan."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, composed


def _composed(attention: str, **given: Any) -> Any:
    return composed(matching="odd-even", proportional=attention == "proportional", **given)


TOME = Method(
    name="tome",
    title="ToMe",
    family="merging",
    paper="Bolya et al., Token Merging: Your ViT But Faster (ToMe), ICLR 2023, arXiv:2210.09461",
    reference=Reference(
        key="bolya2023tome",
        title="Token Merging: Your ViT But Faster",
        authors=(
            "Bolya, Daniel",
            "Fu, Cheng-Yang",
            "Dai, Xiaoliang",
            "Zhang, Peizhao",
            "Feichtenhofer, Christoph",
            "Hoffman, Judy",
        ),
        year=2023,
        arxiv="2210.09461",
        meeting="International Conference on Learning Representations",
    ),
    code=Code("facebookresearch/ToMe", "CC-BY-NC-4.0", "af95e4b"),
    year=2023,
    published=published.tome,
    options={
        "feature": options.native(options.feature("branch"), "keys", "keys"),
        "sources": options.native(options.sources(), "keys", "odd"),
        "neighbour_rank": options.neighbour_rank(),
        "weights": options.weights("size", "mean", "pair", "delta-b", "drop"),
        "attention": options.attention(),
        "cls_window": options.cls_window(),
        "cls_placement": options.cls_placement(),
        "order": options.native(options.order(scored=False, merges=True), "keys", "appended"),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
1. Cut the special tokens out; of the patch tokens, those of one parity of rank are set $a$, the
   others set $b$.
2. Each $a_i$ names its best $b$: $f(i) = \\arg\\max_j \\cos(m_{a_i}, m_{b_j})$, edge $g_i$ that
   cosine.
3. The $r$ edges of largest $g$ merge, the others do not.
4. $b \\leftarrow (\\sum \\text{size} \\cdot x) / \\sum \\text{size}$ over $b$ and what goes into
   it; sizes add up.
5. A merged token keeps the place of its destination $b$.

**On attention, as published.** Between attention and MLP; the metric $m$ is the keys, mean over
heads; later attention is proportional,
$\\text{softmax}(q k^\\top / \\sqrt d + \\log \\text{size})$; $a$ are the patches of odd rank (the
published split counts the class token, which stands first), and the unmerged of $a$ stand before
all of $b$ (`order=appended`), which attention minds only through the next split.

**On a scan, adapted.** The metric is the last mixer's output (`branch`): there are no keys.
Proportional attention has no counterpart. $a$ are the patches of even rank, and survivors stand in
their original order: the published one is what a scan does not forgive. `weights=drop` drops the
sources instead.

**Departures in public code.** ToMe protects index 0, which is a patch where the class token is in
the middle; here special tokens take no part, wherever they stand, and their rank afterwards is
exact.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the
feature (of one head for the keys), besides normalising $n$ features and averaging. At most
$\\lfloor n/2 \\rfloor$ tokens go at a site.
""",
)
