"""Oracle: pruning by what the label says, an informed reference."""

from methods.base import Method

ROUNDS = 8  # ranking anew after every single token would multiply the passes by r / 8
MAX_IMAGES = 64  # of a run, since an image costs a forward pass for every token, round and site

ORACLE = Method(
    name="oracle",
    title="Leave-one-out oracle",
    family="baseline",
    kind="oracle",
    build=None,
    about="""
It sees the label, so it is no method: it says how much accuracy is to be had by a good choice of
tokens alone. At each site every patch token is left out once and the rest of the network run
without further reduction. The tokens whose absence gives the lowest cross-entropy go, $\\lceil r /
8 \\rceil$ at a time, and the remaining ones are ranked anew. It is greedy and looks at one token at
a time, so it bounds nothing: a method could do better.

It runs only when named, on at most 64 images: about $8\\,n$ forward passes of the remaining blocks
a site and image. What it costs is left out of its FLOPs.
""",
)


def tokens_per_round(remove: int) -> list[int]:
    """Split the removal of `remove` tokens at one site into equal rounds, the last smaller."""
    step = -(-remove // ROUNDS)  # rounded up
    return [min(step, left) for left in range(remove, 0, -step)] if remove else []
