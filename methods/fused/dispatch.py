"""The reduction for inference: the plain path's result in one compiled pass over the images.

`methods.reduce` is the reference. It also serves what is not compiled: gradients, fp64, orders
other than the restored one, an inexact class token. On a CPU, in fp32, one compiled task reduces
one image while its rows are in cache: scores that read rows, the matching, coefficients, both
streams, positions, sizes, owners and the carried decay. On a GPU see `gpu`.

Cosines, and scores that are read from rows, are summed in another order than on the plain path, so
their last bits differ. Given the same pairs and weights a merge has the plain path's bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.scan.dispatch import triton_obstacle
from backbones.sequence import TokenSequence, Trace, new_sequence
from methods import reduce as compose
from methods.composition import Composition
from methods.parts.features import traced
from methods.parts.score import SiteContext

MOVED = ("branch", "residual", "position", "size", "special", "owner", "carry")


def serves(composition: Composition, tokens: TokenSequence) -> bool:
    """Whether this path may replace the plain one."""
    device = tokens.branch.device.type
    # Compiled loops have no backward, and a tracer cannot see through them.
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or device not in ("cpu", "cuda"):
        return False
    # A subclass, somebody else's, may mean something else by the same fields.
    if type(composition) is not Composition:
        return False
    if (
        composition.keeps_rectangle
        or composition.order != "restored"
        or composition.cls_placement != "exact"
    ):
        return False
    if _by_head(composition, tokens):
        return False
    if device == "cuda":
        return _on_gpu(composition, tokens) and _agrees(device)
    trace = [traced(tokens.trace, name) for name in composition.needs]
    # A frame holds addresses without types: anything but fp32 would be read as garbage.
    read = (tokens.branch, tokens.residual, tokens.size, tokens.carry, *trace)
    return all(tensor is None or tensor.dtype == torch.float32 for tensor in read) and _agrees(
        device
    )


def _by_head(composition: Composition, tokens: TokenSequence) -> bool:
    """Whether decays of one scan with heads are read, for which no loop is compiled."""
    if tokens.carry is not None:
        return len(tokens.carry) == 1
    attends = composition.score == "hidden-attention" and composition.decay
    reads_decay = composition.aligned or attends
    return reads_decay and len(traced(tokens.trace, "delta")) == 1


def _on_gpu(composition: Composition, tokens: TokenSequence) -> bool:
    if triton_obstacle():
        return False
    # imported late: Triton is not installed on machines without a GPU
    from methods.fused.gpu import reduce as gpu

    return gpu.serves(composition, tokens)


@cache
def _agrees(device: str) -> bool:
    """Whether this path reduces as the plain one does on this machine; UserError if not."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(device)

    # Sizes are no multiples of the tile's 16, so that remainders are tried, too.
    tokens = new_sequence(normal(2, 26, 24), [9], (1, 5, 5)).tracked()
    trace = Trace(
        delta=normal(2, 2, 26, 40).abs(),
        A=-normal(2, 40, 3).abs(),
        B=normal(2, 2, 26, 3),
        C=normal(2, 2, 26, 3),
        ungated=normal(2, 26, 40),
    )
    tokens = replace(tokens, residual=normal(2, 26, 24), trace=trace)
    context = SiteContext(tokens, tokens.patches(), seed=0, site=1)
    # Together they reach most of the kernels: windows and pruning, the k-th neighbour, runs, EViT's
    # sum, alignment.
    for composition in (
        Composition(
            "odd-even",
            feature="branch",
            score="norm",
            prune_ratio=0.5,
            weights="size",
            cls_window=1,
        ),
        Composition(
            "keep-target-source",
            feature="delta",
            score="activation",
            neighbour_rank=2,
            weights="mean",
        ),
        Composition("neighbours", feature="branch+residual", weights="pair"),
        Composition("fused", score="cls-similarity", weights="attention"),
        Composition("lowest", score="hidden-attention"),
        Composition("lowest", score="activation", aligned=True),
    ):
        fast, plain = reduced(composition, context, 8), compose.reduced(composition, context, 8)
        for name in MOVED:
            one, other = getattr(fast, name), getattr(plain, name)
            # a tolerance, since cosines are summed in another order
            if one is not None and not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
                raise UserError(
                    f"the compiled reduction is wrong on this machine ({name} after "
                    f"'{composition.matching}'): "
                    "use --precision fp64, which does without it"
                )
    return True


def launch_on(device: str) -> Callable[[Composition, SiteContext, int, dict[str, Tensor]], None]:
    """The function that reduces on `device`, into given tensors."""
    # imported late: a process without reductions need not load Numba, or have Triton
    if device == "cuda":
        from methods.fused.gpu import reduce as gpu

        return gpu.launch
    from methods.fused.cpu.launch import launch

    return launch


def reduced(composition: Composition, context: SiteContext, removed: int) -> TokenSequence:
    """Reduce as `methods.reduce.reduced` does."""
    tokens, left = context.tokens, context.tokens.length - removed

    def empty(like: Tensor, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    new: dict[str, Tensor] = {}
    for name in ("branch", "residual", "position", "size"):
        value = getattr(tokens, name)
        new[name] = empty(value, tokens.batch, left, *value.shape[2:])
    # special tokens and owners keep their number: only their contents change
    new["special"] = empty(tokens.special, *tokens.special.shape)
    if tokens.owner is not None:
        new["owner"] = empty(tokens.owner, *tokens.owner.shape)
    if tokens.carry is not None or composition.aligned:
        wide = tokens.carry if tokens.carry is not None else traced(tokens.trace, "delta")
        # in fp32, as the sizes
        new["carry"] = empty(tokens.size, 2, tokens.batch, left, wide.shape[3])
    launch_on(tokens.branch.device.type)(composition, context, removed, new)
    weighted = tokens.weighted or composition.proportional
    return replace(
        tokens,
        **new,  # type: ignore[arg-type]
        lattice=None,
        weighted=weighted,
        trace=None,
    )
