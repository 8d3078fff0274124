"""STM-like: merging of neighbours, away from the class token."""

from backbones.common.reference import Reference
from backbones.common.release import NO_CODE
from methods import options
from methods.base import Method, composed

STM = Method(
    name="stm",
    title="STM-like",
    family="merging",
    paper="STM, arXiv:2509.22691 (after its abstract: the method itself could not be read)",
    reference=Reference(
        key="wen2025stm",
        title="Sequential Token Merging: Revisiting Hidden States",
        authors=(
            "Wen, Yan",
            "Ye, Peng",
            "Zhang, Lin",
            "Li, Baopu",
            "Yuan, Jiakang",
            "Yang, Yaoxin",
            "Chen, Tao",
        ),
        year=2025,
        arxiv="2509.22691",
    ),
    code=NO_CODE,
    year=2025,
    # No schedule could be read, so there is none to run as published.
    options={
        "feature": options.feature("branch+residual"),
        "weights": options.weights("delta-b", "mean", "size", "pair", "drop"),
        "cls_window": options.cls_window(2),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="neighbours", **given),
    about="""
**An approximation.** Only the abstract is known: tokens merge with their neighbours in the
sequence, symmetrically for both scan directions, and the states around the class token are
protected. Below is what we made of it; do not read its results as the paper's.

1. The $w$ patch tokens on each side of the class token (`cls_window`) take no part.
2. A bond joins each other token $i$ to the next, $g_i = \\cos(x_i, x_{i+1})$; none goes over the
   class token or its window.
3. The $r$ strongest bonds close. Each run of tokens so joined becomes one, in the place of its
   middle token.
4. It is their mean weighted by what each writes into the state,
   $w_i = \\sum_{\\mathrm{dir}} \\overline{\\Delta}_i \\, \\overline{|B|}_i$, means over channels
   and over states.
5. The survivors stand in their original order; a run is a stretch of the sequence, so nothing
   overtakes anything.

**Chosen here.** The window of 2; bonds that may chain (of pairs alone no more than half could go at
a site); the place of a run; cosine of branch + residual. Middle and window look the same from both
ends of the sequence.

**Cost.** No matrix products: $n - 1$ dot products of width $F$, besides normalising $n$ features,
the weights ($E + N$ additions a token and direction) and the average. At most
$n - 2 w S - 1 - S$ tokens go at a site, $S$ class tokens.
""",
)
