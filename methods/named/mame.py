"""MaMe-like: merging ranked by Delta, with a choice of arrangements."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import NO_CODE
from methods import options
from methods.base import Method, Option, composed


def _composed(targets: float, **given: Any) -> Any:
    # `targets` matters to keep-target-source only; compositions ignore it otherwise.
    return composed(score="delta", target_ratio=targets, **given)


MAME = Method(
    name="mame",
    title="MaMe-like",
    family="merging",
    paper="MaMe, arXiv:2508.13599 (after its abstract: the method itself could not be read)",
    reference=Reference(
        key="park2025mame",
        title="Towards Efficient Vision State Space Models via Token Merging",
        authors=(
            "Park, Jinyoung",
            "Son, Minseok",
            "Kim, Changick",
        ),
        year=2025,
        arxiv="2508.13599",
    ),
    code=NO_CODE,
    year=2025,
    options={
        "direction": options.direction(),
        "window": options.window(),
        "sensitivity": options.sensitivity(),
        "matching": Option(
            "halves", "how Delta splits the tokens", ("halves", "keep-target-source")
        ),
        "targets": Option(
            1.0,
            "with keep-target-source: size of Target over that of Source",
            minimum=0,
            maximum=100,
        ),
        "feature": options.feature("branch+residual"),
        "neighbour_rank": options.neighbour_rank(),
        "weights": options.weights("mean", "size", "pair", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
**An approximation.** Only the abstract is known: $\\Delta$ says how informative a token is, tokens
are merged, and their arrangement preserves the flow of the sequence. Below is what we made of it;
do not read its results as the paper's.

1. Score: $s_i = \\frac1E \\sum_d \\sum_{\\mathrm{dir}} \\Delta_{i,d}$, as MTR's.
2. $a$ = the $\\lfloor n/2 \\rfloor$ tokens of lowest score, $b$ = the others. Each of $a$ names its
   best of $b$ by cosine.
3. The $r$ most similar pairs merge into their mean; what is informative and unlike any other stays.
4. Arrangement: `order=restored` keeps the original sequence; `appended` puts the unmerged of $a$
   before $b$, `score` sorts by $\\Delta$, `odd-even` and `reversed` are further ones.

The difference from MTR is in 2 and 3: there the $r$ of lowest $\\Delta$ go, alike or not, and only
into the next above them. `matching=keep-target-source` is that split, and the same composition as
`mtr`.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the
feature, besides the score ($E$ additions a token and direction), normalising $n$ features and
averaging. At most $\\lfloor n/2 \\rfloor$ tokens go at a site.
""",
)
