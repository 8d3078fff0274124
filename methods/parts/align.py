"""Hidden-state alignment (HSA): kept tokens take over the decay of the tokens dropped between them.

In the full scan a token p with no input still lets the state decay by exp(Delta_p A). Once p is
dropped, that decay is added to the next token the scan meets, so that h_t = exp((Delta_t + g_t) A)
h_{t-1} + Delta_t B_t u_t with g_t the sum of the last-seen Delta of the tokens dropped between t
and the token before it, in each direction of its own. One scan hands on the decay of the gap before
a token, whichever way it reads: the block turns it round with its tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.parts.assemble import Arrangement
from methods.parts.features import rows, traced


def aligned(before: TokenSequence, after: TokenSequence, arrangement: Arrangement) -> TokenSequence:
    """Add the decay of the tokens dropped from `before` to the carry of `after`, in place.

    Both sequences are in order of position. A dropped token hands on what it carried itself, too.
    The decay of tokens that a scan meets after its last survivor is lost: nothing reads that state.
    """
    delta = traced(before.trace, "delta")
    carry = after.carry
    # Added to in place: assembly has gathered the old carry into a tensor of its own.
    if carry is None:
        carry = delta.new_zeros(len(delta), after.batch, after.length, delta.shape[-1])
    gone, last = arrangement.gone, after.length - 1
    # The survivors before a dropped token are one more than the slot of the nearest of them.
    nearest = arrangement.before.gather(1, gone) - 1
    # After a gap the forward scan meets the survivor behind it, the backward scan the one before.
    for direction, heir in enumerate((nearest + 1, nearest)[: len(delta)]):
        amount = rows(delta[direction], gone)
        if before.carry is not None:
            amount = amount + rows(before.carry[direction], gone)
        # Without an heir zeros are added to some row, which keeps images of one shape.
        amount = amount.where(((heir >= 0) & (heir <= last))[..., None], 0)
        _accumulate(carry[direction], heir.clamp(0, last), amount)
    return replace(after, carry=carry)


def _accumulate(values: Tensor, index: Tensor, amount: Tensor) -> None:
    """Add `amount` (B, r, E) to the rows `index` (B, r) of `values` (B, k, E), in place."""
    # One flat index over all images: whole rows are added, not single numbers.
    offset = torch.arange(values.shape[0], device=values.device)[:, None] * values.shape[1]
    values.view(-1, values.shape[2]).index_add_(0, (index + offset).flatten(), amount.flatten(0, 1))
