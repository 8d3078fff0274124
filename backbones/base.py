"""The contract of every backbone: embed, run any range of blocks with reductions between, read out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from backbones.common.errors import UserError
from backbones.layers.mixer import BidirectionalMixer, Mixer
from backbones.preprocessing import Preprocessing
from backbones.provenance import Provenance
from backbones.sequence import TokenSequence
from backbones.shape import Shape

NO_NEEDS: frozenset[str] = frozenset()
# a rounded A or step bias changes how long a state is remembered
RECURRENT = ("A_log", "A_b_log", ".D", ".D_b", "dt_proj.bias", "dt_proj_b.bias")


class Reducer(Protocol):
    """Anything that can stand at a site: takes the tokens that enter a block, gives fewer (or reordered) ones."""

    @property
    def needs(self) -> frozenset[str]:
        """Trace fields of the block before the site that the reducer reads."""
        ...

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """The reduced sequence."""
        ...


class Backbone(nn.Module):
    """A stack of blocks over a token sequence.

    Site i stands before block i (0-based) and uses the trace of block i-1; `sites` lists those at
    which tokens may be reduced. The engine may stop and branch between any two blocks:
    ``readout(run(embed(images), 0, depth, plan))`` is the whole forward pass. Subclasses give
    everything that raises NotImplementedError here.
    """

    provides: ClassVar[frozenset[str]]
    name: str
    image_size: int
    frames: int = 1  # of a clip; 1: the backbone takes images
    preprocessing: Preprocessing = Preprocessing()
    provenance: Provenance | None = None

    @property
    def blocks(self) -> nn.ModuleList | Sequence[nn.Module]:
        """The blocks in order; each maps (tokens, needs) to tokens."""
        raise NotImplementedError

    @property
    def special_places(self) -> tuple[int, ...]:
        """Where the special tokens stand in the unreduced sequence."""
        raise NotImplementedError

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, H, W) normalised images, or (B, 3, T, H, W) clips, to the sequence that enters block 0."""
        raise NotImplementedError

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of the sequence that left the last block."""
        raise NotImplementedError

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        raise NotImplementedError

    def resized(self, image_size: int) -> Backbone:
        """The same weights for square images of another size, position embedding interpolated."""
        raise NotImplementedError

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow."""
        raise NotImplementedError

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """A position embedding of another square grid resampled to this model's; None if it is of no square."""
        return None

    def fitted(
        self, state: Mapping[str, Tensor], asked: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Published weights under this model's names and shapes, and in words what had to be changed for that.

        `asked` are the settings in which the caller wants this model to differ from the one the
        weights are of: another image size resamples ``pos_embed``. What does not fit otherwise is
        left as it is, to be refused.
        """
        given, notes = dict(state), list[str]()
        positions, own = given.get("pos_embed"), getattr(self, "pos_embed", None)
        if (
            "image_size" in asked
            and positions is not None
            and own is not None
            and positions.ndim == own.ndim == 3
        ):
            here = self.positions_here(positions) if positions.shape[1] != own.shape[1] else None
            if here is not None:
                given["pos_embed"] = here
                notes.append(
                    f"positions resampled from {positions.shape[1]} tokens to {here.shape[1]}"
                )
        return given, notes

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def sites(self) -> tuple[int, ...]:
        """The blocks before which tokens may be reduced, in order."""
        return self.describe().sites

    def run(
        self,
        tokens: TokenSequence,
        start: int = 0,
        stop: int | None = None,
        plan: Mapping[int, Reducer] | None = None,
        needs: frozenset[str] = NO_NEEDS,
    ) -> TokenSequence:
        """Blocks `start` to `stop` (exclusive), with `plan`'s reducer before each block it names.

        The last block's trace holds `needs`, for a reducer that the caller will apply next. A
        reducer at `start` reads the trace that `tokens` carry.
        """
        stop = self.depth if stop is None else stop
        plan = plan or {}
        for index in range(start, stop):
            reducer = plan.get(index)
            if reducer is not None:
                tokens = reducer(tokens)
            following = plan.get(index + 1) if index + 1 < stop else None
            wanted = (
                following.needs
                if following is not None
                else needs
                if index + 1 == stop
                else NO_NEEDS
            )
            tokens = self.blocks[index](tokens, wanted)
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images or clips, as `embed` takes them, nothing removed."""
        return self.readout(self.run(self.embed(images)))

    def set_kernel(self, kernel: str) -> None:
        """Make every mixer use the selective-scan kernel called `kernel`."""
        for module in self.modules():
            if isinstance(module, Mixer):
                module.kernel = kernel

    def cast(self, dtype: torch.dtype) -> Self:
        """Convert the weights to `dtype`, those of the recurrence to fp32 at least, as Mamba asks for."""
        for name, parameter in self.named_parameters():
            recurrent = name.endswith(RECURRENT)
            parameter.data = parameter.data.to(
                torch.promote_types(dtype, torch.float32) if recurrent else dtype
            )
        return self

    def mixers(self) -> list[BidirectionalMixer]:
        """The bidirectional mixers, in the order of the blocks."""
        return [module for module in self.modules() if isinstance(module, BidirectionalMixer)]

    def missing(self, needs: frozenset[str]) -> frozenset[str]:
        """The trace fields among `needs` that this backbone cannot give."""
        return needs - self.provides


def check_image_size(images: Tensor, size: int, name: str) -> None:
    """UserError unless `images` are (B, 3, size, size)."""
    if images.ndim != 4 or images.shape[1:] != (3, size, size):
        raise UserError(
            f"{name} takes images of shape (B, 3, {size}, {size}), got {tuple(images.shape)}: "
            f"resize them, or create the model with image_size={images.shape[-1]}"
        )
