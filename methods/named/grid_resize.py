"""The map of tokens resampled to fewer rows and columns, as an image is."""

from methods.base import Method, Option, composed

GRID_RESIZE = Method(
    name="grid-resize",
    title="Grid resizing",
    on_grid=True,
    family="baseline",
    options={
        "kind": Option("area", "how the map is resampled", ("area", "bilinear")),
    },
    build=lambda kind: composed(matching="grid-resize", resize=kind),
    about="""
The map of patch tokens is resampled to fewer rows and columns, both streams alike. `kind=area`: a
new cell is the mean of the old cells that it touches; `kind=bilinear`: of the four round its
centre, weighed by distance. No token stays as it was; a new one keeps the position of the old cell
at its centre, and its size counts the old cells whose centres lie in it. Blind to the image, as
`downsample` is, which makes the image smaller instead.

**Cost.** No matrix products; $2 C$ operations for each old cell that a new one touches (`area`),
$14 C$ for each new cell (`bilinear`).
""",
)
