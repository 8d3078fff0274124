"""Average pooling of neighbours to the exact count: the merging that knows the grid and nothing else."""

from typing import Any

from methods import options
from methods.base import Method, Option, composed


def _composed(neighbours: str, **given: Any) -> Any:
    return composed(matching="runs", walk=neighbours, **given)


POOL = Method(
    name="pool",
    title="Pooling",
    family="baseline",
    options={
        "neighbours": Option("sequence", "what a run of neighbours follows", ("sequence", "grid")),
        "weights": options.weights("mean", "size"),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
The $n$ patch tokens are cut into $k = n - r$ runs of neighbours, token $j$ belonging to run
$\\lfloor j k / n \\rfloor$, and each run becomes its mean, in the place of its middle token. `neighbours=sequence` runs
along the sequence; `neighbours=grid` along a Z curve over the image (a clip frame by frame), so that a run is a patch
of the image and every count is possible, also on a grid that earlier sites have thinned out. `weights=size` weighs a
token by how many it stands for.

**Cost.** No matrix products; $8 C r$ multiplications and additions for both streams.
""",
)
