"""No reduction: the dense model every other method is compared with."""

from methods.base import Method

NONE = Method(
    name="none",
    title="Dense",
    family="baseline",
    kind="none",
    build=None,
    about="""
All tokens go through all blocks. Nothing is scored, merged or dropped, and nothing is added to the
cost.
""",
)
