"""Permute: no token goes, the patch tokens change places."""

from methods import options
from methods.base import Method, composed

PERMUTE = Method(
    name="permute",
    title="Permute",
    family="baseline",
    kind="order",
    stochastic=True,
    options={
        "order": options.order(scored=False, merges=False, default="shuffled"),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="nothing", **given),
    about="""
1. At every site of the run all patch tokens are put in the order that `order` names, by their
   positions in the unreduced sequence; special tokens stay where they are.

Nothing is removed, so its cost is the dense model's and it has no budget: beside a reduction with
the same `order` it tells what the loss of order alone does from what the loss of tokens does.

**Cost.** None is counted.
""",
)
