"""Average pooling of neighbours to the exact count: merging that knows the grid alone."""

from methods import options
from methods.base import Method, Option, composed

POOL = Method(
    name="pool",
    title="Pooling",
    family="baseline",
    options={
        "path": Option("sequence", "what a run of neighbours follows", ("sequence", "grid")),
        "weights": options.weights("mean", "size"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    # Blind to content: a run depends on count and grid alone, which makes it a control for merging.
    build=lambda **given: composed(matching="runs", **given),
    about="""
The $n$ patch tokens are cut into $k = n - r$ runs of neighbours, token $j$ belonging to run
$\\lfloor j k / n \\rfloor$, and each run becomes its mean, in the place of its middle token.
`path=sequence` runs along the sequence; `path=grid` along a Z curve over the image (a clip frame by
frame), so that a run is a patch of the image and every count is possible, also on a grid that
earlier sites have thinned out. `weights=size` weighs a token by how many it stands for. With
`cls_window` $n$ counts the tokens outside the window, and a run may span it, as it may span the
class token.

**Cost.** No matrix products; $8 C r$ multiplications and additions for both streams.
""",
)
