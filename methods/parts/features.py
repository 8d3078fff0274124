"""Similarity features: what two tokens are compared by, and the comparison.

A feature is (B, m, F) for m chosen tokens, in fp32 at least. Traces of several directions are
summed over these; their cosine is that of the mean, which R-MeeTo takes of B, C and Delta (its
released Delta is from before bias and softplus; ours is the step used). ``keys`` are attention's,
mean over heads, as ToMe compares them. A token normalised by its root mean square points where
``branch+residual`` does, and a cosine sees no lengths: that feature is not offered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from backbones.sequence import TokenSequence, Trace
from methods.parts.cost import Cost, Widths


def rows(values: Tensor, index: Tensor) -> Tensor:
    """`values` (B, L, ...) at `index` (B, m): (B, m, ...)."""
    batch, length = values.shape[:2]
    # One flat index_select copies whole rows; gather with an expanded index was ten times slower.
    offset = torch.arange(batch, device=index.device)[:, None] * length
    flat = values.reshape(batch * length, *values.shape[2:])
    return flat.index_select(0, (index + offset).flatten()).view(*index.shape, *values.shape[2:])


def precise(values: Tensor) -> Tensor:
    """`values` in fp32; those that are fp64 stay so."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def traced(trace: Trace | None, name: str) -> Tensor:
    """The trace field `name`; a ValueError says that the block was not asked for it."""
    value: Tensor | None = None if trace is None else getattr(trace, name)
    if value is None:
        raise ValueError(
            f"the token sequence has no trace of '{name}': run the block with needs={{'{name}'}}"
        )
    return value


def summed(parts: Sequence[Tensor]) -> Tensor:
    """Sum of the parts, added up in order."""
    # not sum(), which begins by adding 0 to a whole tensor
    return reduce(add, parts)


def _directions(name: str) -> Callable[[TokenSequence], tuple[Tensor, ...]]:
    # Summed only after rows are chosen: a sum over directions first would read all L tokens.
    return lambda tokens: traced(tokens.trace, name).unbind(0)


@dataclass(frozen=True)
class Feature:
    """A similarity feature: the sum of one or several values of each token.

    ``parts``    tokens -> what is summed, each (B, L, F)
    ``needs``    trace fields it reads
    ``width``    F for a backbone
    ``per_value`` operations spent to form one of its numbers
    """

    parts: Callable[[TokenSequence], tuple[Tensor, ...]]
    needs: frozenset[str]
    width: Callable[[Widths], int]
    per_value: Callable[[Widths], int]

    def read(self, tokens: TokenSequence, index: Tensor) -> Tensor:
        """The feature (B, m, F) of the tokens at `index` (B, m)."""
        return summed([precise(rows(part, index)) for part in self.parts(tokens)])


def _joined(shape: Widths) -> int:
    """Additions to sum one number over the directions."""
    return shape.directions - 1


FEATURES: dict[str, Feature] = {
    "branch": Feature(
        lambda tokens: (tokens.branch,), frozenset(), lambda shape: shape.dim, lambda shape: 0
    ),
    "residual": Feature(
        lambda tokens: (tokens.residual,), frozenset(), lambda shape: shape.dim, lambda shape: 0
    ),
    # what the next block's norm sees: the sum is not formed before that block
    "branch+residual": Feature(
        lambda tokens: (tokens.residual, tokens.branch),
        frozenset(),
        lambda shape: shape.dim,
        lambda shape: 1,
    ),
    "b": Feature(_directions("B"), frozenset({"B"}), lambda shape: shape.states, _joined),
    "c": Feature(_directions("C"), frozenset({"C"}), lambda shape: shape.states, _joined),
    "delta": Feature(
        _directions("delta"), frozenset({"delta"}), lambda shape: shape.timescales, _joined
    ),
    "keys": Feature(
        lambda tokens: (traced(tokens.trace, "keys"),),
        frozenset({"keys"}),
        lambda shape: shape.head_width,
        lambda shape: shape.heads,
    ),
}


def length(values: Tensor) -> Tensor:
    """Length (...) of vectors (..., F), never quite zero, so that it can be divided by."""
    # clamp_min, not an epsilon added, which would change the bits of every length
    norm: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norm.clamp_min(torch.finfo(values.dtype).tiny)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of `a` (B, m, F) with every row of `b` (B, t, F): (B, m, t).

    Without gradients, on a CPU, an image's bits do not depend on its batch.
    """
    # Lengths are divided out of the m x t products, which are fewer than the numbers of the
    # features.
    across, down = length(a)[:, :, None], length(b)[:, None, :]
    alone = a.shape[0] == 1 and a.device.type == "cpu" and not torch.is_grad_enabled()
    if alone:
        # A batched product of one image takes another path than that of several, and its last bits
        # differ.
        a, b = a.expand(2, -1, -1), b.expand(2, -1, -1)
    product = torch.bmm(a, b.transpose(1, 2))
    return (product[:1] if alone else product).div_(across).div_(down)


def cosine_of_neighbours(values: Tensor) -> Tensor:
    """Cosine of every row of `values` (B, m, F) with the next: (B, m - 1)."""
    size = length(values)
    # Elementwise: a matrix product would compute n^2 cosines to use n - 1.
    return (values[:, :-1] * values[:, 1:]).sum(-1) / size[:, :-1] / size[:, 1:]


def cosine_cost(m: int, t: int, feature: str, shape: Widths) -> Cost:
    """Cost of forming, measuring and comparing m with t tokens: m t F multiply-accumulates."""
    return Cost(
        m * t * FEATURES[feature].width(shape), _measured(m + t, feature, shape) + 2 * m * t
    )


def neighbours_cost(m: int, feature: str, shape: Widths) -> Cost:
    """Cost of forming and measuring m tokens and comparing each with the next, elementwise."""
    return Cost(
        0, _measured(m, feature, shape) + 2 * max(0, m - 1) * (FEATURES[feature].width(shape) + 1)
    )


def _measured(tokens: int, feature: str, shape: Widths) -> int:
    """Operations to form the feature of so many tokens and take its length."""
    return tokens * (FEATURES[feature].width(shape) * (FEATURES[feature].per_value(shape) + 2) + 1)
