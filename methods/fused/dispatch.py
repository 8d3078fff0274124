"""The reduction for inference: the plain path's result in one compiled pass over the images.

`methods.reduce` is the truth, and serves gradients, fp64 and what is not here: orders other than
the restored one, an inexact class token. On a CPU, in fp32, one compiled task does all of one image
while its rows are in cache: scores that read rows, the matching, coefficients, both streams,
positions, sizes, owners and what is carried. On a GPU see `gpu`.

Cosines, and scores that are read from rows, are summed in another order than on the plain path, so
their last bits differ. Given the same pairs and weights a merge has the plain path's bits.
"""

from __future__ import annotations

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
    """Whether this path stands for the plain one."""
    device = tokens.branch.device.type
    if torch.is_grad_enabled() or device not in ("cpu", "cuda"):
        return False
    if (
        type(composition) is not Composition
    ):  # a third party's, which may mean something else by its fields
        return False
    if composition.order != "restored" or composition.cls_placement != "exact":
        return False
    if device == "cuda":
        return _on_gpu(composition, tokens) and _agrees(device)
    trace = [traced(tokens.trace, name) for name in composition.needs]
    read = (tokens.branch, tokens.residual, tokens.size, tokens.carry, *trace)
    return all(tensor is None or tensor.dtype == torch.float32 for tensor in read) and _agrees(
        device
    )


def _on_gpu(composition: Composition, tokens: TokenSequence) -> bool:
    if triton_obstacle():
        return False
    from methods.fused.gpu import reduce as gpu

    return gpu.serves(composition, tokens)


@cache
def _agrees(device: str) -> bool:
    """Whether this path reduces as the plain one does on this machine; UserError if not."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(device)

    tokens = new_sequence(normal(2, 26, 24), [9], (1, 5, 5)).tracked()
    trace = Trace(delta=normal(2, 2, 26, 40).abs(), y=normal(2, 26, 40))
    tokens = replace(tokens, residual=normal(2, 26, 24), trace=trace)
    context = SiteContext(tokens, tokens.patches(), seed=0, site=1)
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
        Composition("lowest", score="activation", aligned=True),
    ):
        found, wanted = reduced(composition, context, 8), compose.reduced(composition, context, 8)
        for name in MOVED:
            one, other = getattr(found, name), getattr(wanted, name)
            if one is not None and not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
                raise UserError(
                    f"the compiled reduction is wrong on this machine ({name} after "
                    f"'{composition.matching}'): "
                    "use --precision fp64, which does without it"
                )
    return True


def reduced(composition: Composition, context: SiteContext, removed: int) -> TokenSequence:
    """What `methods.reduce.reduced` gives."""
    if context.tokens.branch.device.type == "cuda":
        from methods.fused.gpu import reduce as gpu

        return gpu.reduced(composition, context, removed)
    from methods.fused.cpu.launch import launch

    tokens, left = context.tokens, context.tokens.length - removed

    def empty(like: Tensor, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    new: dict[str, Tensor] = {
        name: empty(value, tokens.batch, left, *value.shape[2:])
        for name in ("branch", "residual", "position", "size")
        if (value := getattr(tokens, name)) is not None
    }
    new["special"] = empty(tokens.special, *tokens.special.shape)
    if tokens.owner is not None:
        new["owner"] = empty(tokens.owner, *tokens.owner.shape)
    if tokens.carry is not None or composition.aligned:
        inner = (tokens.carry if tokens.carry is not None else traced(tokens.trace, "delta")).shape[
            3
        ]
        new["carry"] = empty(tokens.branch, 2, tokens.batch, left, inner)
    launch(composition, context, removed, {name: getattr(tokens, name) for name in MOVED}, new)
    weighted = tokens.weighted or composition.proportional
    return replace(tokens, **new, weighted=weighted, trace=None)  # type: ignore[arg-type]
