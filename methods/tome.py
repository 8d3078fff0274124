"""ToMe: bipartite soft matching, adapted to a scan."""

from methods import options, published
from methods.base import Method, composed

TOME = Method(
    name="tome",
    title="ToMe",
    family="merging",
    paper="Bolya et al., Token Merging: Your ViT But Faster (ToMe), ICLR 2023, arXiv:2210.09461",
    year=2023,
    published=published.merging,
    options={
        "feature": options.feature("branch"),
        "best": options.best(),
        "weights": options.weights("size", "mean", "pair", "delta-b", "drop"),
        "protect": options.protect(),
        "special": options.special(),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="odd-even", **given),
    about="""
1. Cut the special tokens out; patch tokens of even rank are set $a$, of odd rank set $b$.
2. Each $a_i$ names its best $b$: $f(i) = \\arg\\max_j \\cos(m_{a_i}, m_{b_j})$, edge $g_i$ that cosine.
3. The $r$ edges of largest $g$ merge, the others do not.
4. $b \\leftarrow (\\sum \\text{size} \\cdot x) / \\sum \\text{size}$ over $b$ and what goes into it; sizes add up.
5. A merged token keeps the place of its destination $b$, and the survivors stand in their original order.

**Adapted.** The metric $m$ is the last mixer's output (`branch`): there are no attention keys. Proportional attention
has no counterpart in a scan. The published order is `order=appended`: the unmerged of $a$, then all of $b$, which a
scan does not forgive. `weights=drop` drops the sources instead.

**Departures in public code.** ToMe protects index 0, which is a patch where the class token is in the middle; here
special tokens take no part, wherever they stand, and their rank afterwards is exact.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the feature, besides
normalising $n$ features and averaging. At most $\\lfloor n/2 \\rfloor$ tokens go at a site.
""",
)
