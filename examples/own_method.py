"""Keep the tokens farthest from their image's mean token."""

from torch import Tensor

from methods.base import Method, composed
from methods.parts.score import SCORES, Score, SiteContext


def spread(context: SiteContext, direction: str) -> Tensor:
    """Distance of each patch token from the mean token, (B, n); larger is more important."""
    tokens = context.tokens.residual + context.tokens.branch
    distance = (tokens - tokens.mean(dim=1, keepdim=True)).norm(dim=2)
    return distance.gather(1, context.patches)


SCORES["spread"] = Score(
    read=spread,
    needs=lambda direction: frozenset(),  # trace fields it reads
    directed=False,  # the same for both scans
    arithmetic=lambda tokens, scans, shape: 5 * tokens * shape.dim,
)

SPREAD = Method(
    name="spread",
    title="Spread",
    family="merging",
    about="Tokens nearest to the mean token merge into the most similar next ones.",
    build=lambda: composed(
        matching="keep-target-source", score="spread", feature="branch", weights="mean"
    ),
    schedule="rising",  # unless a run or tuning says otherwise
    window=8,  # patches each side of the class token stay
)
