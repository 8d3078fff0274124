"""The contract of every backbone: embed, run blocks with reductions between them, read out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from backbones.common.errors import UserError
from backbones.layers.mixer import Mixer
from backbones.preprocessing import Inference, Preprocessing
from backbones.provenance import Provenance
from backbones.sequence import TokenSequence
from backbones.shape import KINDS, Shape

NO_NEEDS: frozenset[str] = frozenset()
# A rounded A or step bias changes for how many tokens a state is remembered.
RECURRENT = (
    *("A_log", "A_b_log", ".D", ".D_b", "dt_proj.bias", "dt_proj_b.bias", "dt_bias"),
    *("A_logs", ".Ds", "dt_projs_bias"),
)


class Reducer(Protocol):
    """A reduction at a site: maps the tokens that enter a block to fewer or reordered ones."""

    @property
    def needs(self) -> frozenset[str]:
        """Trace fields of the block before the site that the reducer reads."""
        ...

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """The reduced sequence."""
        ...


class Blocks(Protocol):
    """A sequence of modules."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> nn.Module:
        """The block before which site `index` is."""
        ...

    def __iter__(self) -> Iterator[nn.Module]:
        """All of them, in order."""
        ...


class Backbone(nn.Module):
    """A stack of blocks over a token sequence.

    Site i is the place before block i (0-based) and uses the trace of block i-1; `sites` lists
    those at which tokens may be reduced. The engine may stop and branch between any two blocks:
    ``readout(run(embed(images), 0, depth, plan))`` is the whole forward pass. Subclasses implement
    everything that raises NotImplementedError here. Those without a `config` also override
    `image_size_for` and `resized`, which read it; the others override `positions_here`.
    """

    task: ClassVar[Literal["classification", "segmentation"]] = "classification"
    provides: ClassVar[frozenset[str]]
    # whether it takes pictures that are no squares (`on_rectangle`)
    takes_rectangles: ClassVar[bool] = False
    # whether its blocks run only on patch tokens that fill a rectangle (`TokenSequence.rectangle`)
    needs_rectangle: ClassVar[bool] = False
    name: str  # `create_model` sets it, and the three at the end
    config: Any  # a dataclass of sizes, as in `backbones.models.sizes`
    pos_embed: Tensor
    image_size: int
    frames: int = 1  # of a clip; 1: the backbone takes images
    preprocessing: Preprocessing = Preprocessing()  # the published one, if there is
    # of a segmenter: what it is shown of a picture, as published, and of which number the sides of
    # a whole one are multiples
    inference: Inference = "centre"
    multiple: int = 1
    picture: tuple[int, int] | None = None  # height and width in pixels of what is no square
    provenance: Provenance | None = None
    code: str | None = None  # hash of the file of a third party's backbone

    @property
    def blocks(self) -> Blocks:
        """The blocks in order; each maps (tokens, needs) to tokens."""
        raise NotImplementedError

    @property
    def special_places(self) -> tuple[int, ...]:
        """Indices of the special tokens in the unreduced sequence."""
        raise NotImplementedError

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """Normalised images (B, 3, H, W), or clips (B, 3, T, H, W), to the input of block 0."""
        raise NotImplementedError

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of the output of the last block; a segmenter's (B, classes, h, w)."""
        raise NotImplementedError

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        # of patches that neither overlap nor leave gaps
        return grid * self.config.patch

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        raise NotImplementedError

    def _shape(self, **mixer_sizes: Any) -> Shape:
        """A shape with the sizes that all configurations have, and those given of the mixer."""
        config = self.config
        rows, columns = self.patch_grid
        sizes: dict[str, Any] = dict.fromkeys(KINDS["a scan"], 0) | mixer_sizes
        return Shape(
            name=self.name,
            depth=self.depth,
            dim=config.dim,
            patch=(1, config.patch, config.patch),
            channels=3,
            patches=self.frames * rows * columns,
            rows=rows if self.picture else 0,
            specials=len(self.special_places),
            classes=config.classes,
            frames=self.frames,
            **sizes,
        )

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.config.grid, self.config.grid

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample a position embedding of another square grid to this model's.

        None if it is not of a square grid.
        """
        return None

    def resized(self, image_size: int) -> Self:
        """The same weights for square images of another size, position embedding interpolated."""
        other = copy.copy(self)
        other.config = replace(self.config, image_size=image_size)
        other.image_size = image_size
        # The embedding becomes a plain tensor, so that in training the gradient flows to the one
        # embedding that is learned.
        other._parameters = {
            name: value for name, value in self._parameters.items() if name != "pos_embed"
        }
        positions = other.positions_here(self.pos_embed)
        # a model's own embedding is always of a square grid
        assert positions is not None
        other.pos_embed = positions
        return other

    def check_rectangles(self) -> None:
        """UserError unless the model takes images that are no squares."""
        if not self.takes_rectangles:
            raise UserError(
                f"{self.name} takes squares alone, and whole pictures are none: use --inference "
                "slide"
            )

    def on_rectangle(self, height: int, width: int) -> Self:
        """The same weights for images of `height` x `width` pixels; UserError if it takes none."""
        self.check_rectangles()
        other = copy.copy(self)
        other.picture = height, width
        return other

    def fitted(
        self, state: Mapping[str, Tensor], changed: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Adapt published weights to this model's names and shapes, and say in words what changed.

        `changed` are the settings in which the caller wants this model to differ from the one that
        was trained: another image size resamples ``pos_embed``. Other mismatches are left for the
        loader to refuse.
        """
        adapted, notes = dict(state), list[str]()
        positions, own = state.get("pos_embed"), getattr(self, "pos_embed", None)
        if "image_size" not in changed or positions is None or own is None:
            return adapted, notes
        if positions.ndim == own.ndim == 3 and positions.shape[1] != own.shape[1]:
            resampled = self.positions_here(positions)
            if resampled is not None:
                adapted["pos_embed"] = resampled
                notes.append(
                    f"positions resampled from {positions.shape[1]} tokens to {resampled.shape[1]}"
                )
        return adapted, notes

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
        """Run blocks `start` to `stop` (exclusive), with `plan`'s reducers before their blocks.

        The last block's trace has the fields `needs`, for a reducer that the caller applies next. A
        reducer at `start` reads the trace that `tokens` carry. UserError for a field that no block
        of this backbone provides.
        """
        stop = self.depth if stop is None else stop
        plan = plan or {}
        for index in range(start, stop):
            reducer = plan.get(index)
            if reducer is not None:
                tokens = reducer(tokens)
            # A trace costs time and memory: a block shows only what the next site reads.
            traced = NO_NEEDS
            if index + 1 == stop:
                traced = needs
            elif index + 1 in plan:
                traced = plan[index + 1].needs
            if missing := self.missing(traced):
                raise UserError(
                    f"{self.name} has no {', '.join(sorted(missing))}: "
                    f"choose a method that needs {', '.join(sorted(self.provides)) or 'no trace'}"
                )
            tokens = self.blocks[index](tokens, traced)
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images or clips, as `readout` gives them, without reduction."""
        return self.readout(self.run(self.embed(images)))

    def set_kernel(self, kernel: str) -> None:
        """Make every mixer use the selective-scan kernel called `kernel`."""
        for mixer in self.mixers():
            mixer.kernel = kernel

    def cast(self, dtype: torch.dtype) -> Self:
        """Convert the weights to `dtype`, those of the recurrence to at least fp32, as in Mamba."""
        for name, parameter in self.named_parameters():
            # fp64 stays fp64
            wide = torch.promote_types(dtype, torch.float32)
            parameter.data = parameter.data.to(wide if name.endswith(RECURRENT) else dtype)
        return self

    def mixers(self) -> list[Mixer]:
        """The mixers that scan, in the order of the blocks; a transformer has none."""
        return [module for module in self.modules() if isinstance(module, Mixer)]

    def missing(self, needs: frozenset[str]) -> frozenset[str]:
        """The trace fields among `needs` that this backbone does not provide."""
        return needs - self.provides


def check_image_size(
    images: Tensor, size: int, name: str, picture: tuple[int, int] | None = None
) -> None:
    """UserError unless `images` are (B, 3, size, size) and normalised, so of floating point.

    Or of the height and width of a `picture`.
    """
    height, width = picture or (size, size)
    if images.ndim != 4 or images.shape[1:] != (3, height, width):
        raise UserError(
            f"{name} takes images of shape (B, 3, {height}, {width}), got {tuple(images.shape)}: "
            f"{_shape_advice(tuple(images.shape), size)}"
        )
    if not images.is_floating_point():
        raise UserError(
            f"{name} takes normalised images, got numbers of type {str(images.dtype)[6:]}: divide "
            "them by 255, then take off the mean and divide by the deviation of its preprocessing"
        )


def _shape_advice(shape: tuple[int, ...], size: int) -> str:
    """How to make images of this shape ones that a backbone of side `size` takes."""
    if len(shape) == 2:
        return "add batch and channels, images.expand(1, 3, -1, -1)"
    if len(shape) == 3 and shape[0] == 3:
        return "add the dimension of the batch, images[None]"
    if len(shape) == 3 and shape[0] == 1:
        return "repeat the grey channel and add the batch, images.expand(3, -1, -1)[None]"
    if len(shape) == 3 and shape[2] == 3:
        return "put the channels first and add the batch, images.permute(2, 0, 1)[None]"
    if len(shape) != 4:
        return "stack them along a first dimension"
    _, channels, height, width = shape
    if channels != 3 and width == 3:
        return "put the channels first, images.permute(0, 3, 1, 2)"
    if channels == 1:
        return "repeat the grey channel, images.expand(-1, 3, -1, -1)"
    if channels != 3:
        return "keep red, green and blue, images[:, :3]"
    if height != width:
        return f"crop or resize them to squares of {size}"
    return f"resize them, or create the model with image_size={width}"
