"""Neighbour pairs averaged at the same places of every row and column: blind STORM."""

from methods import options
from methods.base import Method, composed

GRID_POOL = Method(
    name="grid-pool",
    title="Grid pooling",
    on_grid=True,
    family="baseline",
    options={"weights": options.weights("mean", "size", "sum", "drop")},
    build=lambda weights: composed(matching="grid-pairs", weights=weights),
    about="""
What is left of STORM without looking at the image. The map of patch tokens loses $r_w$ columns and
then $r_h$ rows: of the $p$ pairs of neighbours in a row those at $\\lfloor (2 i + 1) p / 2 r_w
\\rfloor$, $i = 0 \\dots r_w - 1$, become their mean, the same of every row; then the pairs of every
column likewise. The map stays a rectangle. `weights=size` weighs a token by how many it stands for,
`sum` adds as STORM does, `drop` leaves whole rows and columns out.

**Cost.** No matrix products; $8 C$ multiplications and additions for each token that goes.
""",
)
