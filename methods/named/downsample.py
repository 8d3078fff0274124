"""A smaller image: the baseline that spends fewer tokens without choosing any."""

from methods.base import Method

DOWNSAMPLE = Method(
    name="downsample",
    title="Smaller image",
    family="baseline",
    kind="image",
    build=None,
    about="""
The dense model on a smaller image, on the grid whose cost is nearest to the budget. No token
sequence is reduced; the position embedding is interpolated to the smaller grid. If a reduction
method does not beat it at the same cost, the image was merely too large. Cost: that of the dense
model at the smaller grid; the point is plotted where it lands.
""",
)
