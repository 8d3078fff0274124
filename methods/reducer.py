"""The reducer: a composition at one site of a plan, on whichever path serves the tokens."""

from __future__ import annotations

import torch

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.fused import dispatch
from methods.narrow import narrowed
from methods.parts.assemble import permuted
from methods.parts.grid_pairs import Rectangle
from methods.parts.order import Chance
from methods.parts.score import SiteContext
from methods.reduce import reduced


class Reducer:
    """A composition at one site that removes `remove` patch tokens of the sequence it is given.

    One that keeps a rectangle is told its `lines`, too: the rows and columns that leave.

    ``needs`` lists the trace fields that the block before has to supply. Where `remove` is 0 the
    tokens are returned as they are, whatever the order, unless the composition only moves tokens:
    that one acts at every site.
    """

    def __init__(
        self,
        composition: Composition,
        remove: int,
        site: int,
        seed: int = 0,
        lines: tuple[int, int] = (0, 0),
    ) -> None:
        """`site` is the block whose input is reduced; random numbers depend on it and on `seed`."""
        if remove < 0:
            raise ValueError(f"cannot remove {remove} tokens")
        self.composition = composition
        self.remove = remove
        self.site = site
        self.seed = seed
        self.lines = lines
        # A site without removal asks for no trace, which would slow the block before it.
        self.needs = composition.needs if remove else frozenset[str]()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """Remove exactly `remove` patch tokens; UserError if the method's cap does not allow it."""
        return self._reduced(tokens).undoing(self.composition.undo)

    def _reduced(self, tokens: TokenSequence) -> TokenSequence:
        if self.remove == 0:
            composition, chance = self.composition, Chance(self.seed, tokens.image, self.site)
            moves = composition.matching == "nothing"
            return (
                permuted(tokens, composition.order, composition.shuffle, chance)
                if moves
                else tokens
            )
        patches = tokens.patches()
        if self.composition.keeps_rectangle:
            context = SiteContext(tokens, patches, self.seed, self.site)
            return narrowed(self.composition, context, self._rectangles(tokens))
        # A tracer cannot follow a bisection.
        if not torch.compiler.is_compiling():
            self._check_cap(patches.shape[1], tokens.special.shape[1])
        context = SiteContext(tokens, patches, self.seed, self.site)
        if dispatch.serves(self.composition, tokens):
            return dispatch.reduced(self.composition, context, self.remove)
        return reduced(self.composition, context, self.remove)

    def _rectangles(self, tokens: TokenSequence) -> tuple[Rectangle, Rectangle]:
        """The rectangle that the tokens fill, and the one that is to be left."""
        before = tokens.rectangle
        if before is None:
            raise UserError(
                f"the tokens at site {self.site} fill no rectangle: methods of the grid cannot "
                "follow one that leaves none"
            )
        after = before[0] - self.lines[0], before[1] - self.lines[1]
        fits = before[0] * before[1] - after[0] * after[1] == self.remove
        for cells, gone in zip(before, self.lines, strict=True):
            fits = fits and 0 <= gone <= self.composition.cap_of_line(cells)
        if not fits:
            raise UserError(
                f"cannot remove {self.remove} of {before[0]} x {before[1]} tokens at site "
                f"{self.site} as {self.lines[0]} rows and {self.lines[1]} columns"
            )
        return before, after

    def _check_cap(self, patches: int, specials: int) -> None:
        # Plans keep to the cap, direct callers may not, and compiled loops do not check bounds.
        cap = self.composition.cap(patches, specials)
        if self.remove > cap:
            raise UserError(
                f"cannot remove {self.remove} of {patches} tokens at site {self.site}: "
                f"at most {cap}"
            )
