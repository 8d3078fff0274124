"""Adaptive counts: an image keeps the tokens whose score is not far below its own mean.

Huang et al. (TE-VMamba, CVPR 2026), as their released code does it, keep at a site the tokens of
score s >= m - alpha d, m and d the mean and the standard deviation of the image's own scores, and
at least 5 % of them; there s is the mean of Delta over channels, and alpha is 0.1. Here the score
is that of the method, mean and deviation are over the patch tokens that may leave, and the method's
own cap stands for the 5 %. One alpha serves all sites; `suite.plan.adaptive` solves it for a
budget. So many tokens as lie below that are then removed by the method as ever, hence the lowest.

Not known of the paper: how it chose its alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.parts.cost import Cost, Widths
from methods.parts.match import unprotected
from methods.parts.score import SiteContext
from methods.reduce import scored
from methods.reducer import Reducer


def below(score: Tensor, alpha: float) -> Tensor:
    """How many of the scores (B, n) of each image lie below their mean - `alpha` x deviation."""
    # In fp64, where neither the batch nor the order of a sum can turn a comparison.
    score = score.double()
    deviation, mean = score.std(1, correction=0, keepdim=True), score.mean(1, keepdim=True)
    return (score < mean - alpha * deviation).sum(1)


@dataclass(frozen=True)
class AdaptiveStep:
    """A composition at one site, where each image decides how many tokens leave.

    ``site`` is the block whose input is reduced; ``seed`` is a random method's.
    """

    composition: Composition
    alpha: float
    site: int
    seed: int = 0

    @property
    def needs(self) -> frozenset[str]:
        """Trace fields of the block before the site."""
        return self.composition.needs

    def counts(self, tokens: TokenSequence) -> Tensor:
        """How many patch tokens (B,) leave each image."""
        context = SiteContext(tokens, tokens.patches(), self.seed, self.site)
        score = scored(context, self.composition)
        assert score is not None  # `Composition.removes_lowest` has been asked
        specials = tokens.special.shape[1]
        if self.composition.cls_window and specials:
            free = unprotected(context.patches, tokens.special, self.composition.cls_window)
            score = score.gather(1, free)
        cap = self.composition.cap(context.patches.shape[1], specials)
        return below(score, self.alpha).clamp(max=cap)

    def reducer(self, count: int) -> Reducer:
        """What removes `count` tokens of each of some images."""
        return Reducer(self.composition, count, self.site, self.seed)


def cost(composition: Composition, patches: int, removed: int, shape: Widths) -> Cost:
    """Work at one site of one image where `removed` of `patches` tokens turn out to leave.

    The score is read even if none does. Beside it 4 for each token that may leave: mean 1,
    deviation 3.
    """
    count = Cost(0, 4 * composition.free(patches, shape.specials))
    if removed:
        return count + composition.cost(patches, removed, shape)
    return count + Cost(0, composition.score_arithmetic(patches, shape))
