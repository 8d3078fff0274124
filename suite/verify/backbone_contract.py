"""What every backbone must hold to, as checks that say in words what it gets wrong.

A backbone is looked at narrow and shallow, where its settings allow that, with random weights that
tell tokens apart, on a grid of 5 x 5 patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backbones import BACKBONES, create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TRACE_FIELDS, TokenSequence
from methods import METHODS
from methods.reducer import Reducer
from suite.flops.closed_form import dense
from suite.flops.counters import count_with_torch
from suite.verify.line import Line, judged
from suite.verify.method_contract import STACKED

SIDE = 5
SMALL: Mapping[str, int] = {
    "dim": 32, "depth": 3, "layers": 2, "heads": 2, "classes": 10, "registers": 3, "frames": 2, "convolutions": 2,
}  # fmt: skip
CLOSE = 1e-4  # between sums of the same numbers in another order


@dataclass(frozen=True)
class Subject:
    """A small backbone and three inputs for it."""

    model: Backbone
    images: Tensor

    def tokens(self, rows: slice = slice(None)) -> TokenSequence:
        """What enters block 0."""
        return self.model.embed(self.images[rows], torch.arange(10, 13)[rows])


Check = Callable[[Subject], str]


def backbone_lines() -> Iterator[Line]:
    """A line for each registered backbone."""
    for name in BACKBONES:
        yield judged("backbones", name, first_problem(name), f"{len(CHECKS)} checks hold")


def first_problem(name: str) -> str:
    """What the backbone gets wrong first, empty if nothing."""
    try:
        subject = small(name)
    except Exception as error:  # a third party's constructor may raise anything
        return f"cannot be made: {type(error).__name__}: {error}"
    for check in CHECKS:
        title = (check.__doc__ or "").split("\n")[0].rstrip(".")
        try:
            with torch.inference_mode():
                problem = check(subject)
        except Exception as error:  # and so may its forward pass
            problem = f"{type(error).__name__}: {error}"
        if problem:
            return f"{problem} ({title})"
    return ""


def small(name: str) -> Subject:
    """The backbone with as few channels, blocks and patches as its settings allow, and inputs."""
    with torch.device("meta"):
        usual = create_model(name)
    config = getattr(usual, "config", None)
    known = {field.name for field in fields(config)} if is_dataclass(config) else set()
    settings: dict[str, Any] = {key: value for key, value in SMALL.items() if key in known}
    if {"patch", "image_size"} <= known:
        stride = getattr(config, "stride", getattr(config, "patch", 0))
        settings["patch"] = (
            4 * getattr(config, "patch", 0) // stride
        )  # patches go on overlapping where they did
        if "stride" in known:
            settings["stride"] = 4
        settings["image_size"] = settings["patch"] + (SIDE - 1) * 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = create_model(name, **settings)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
        frames = (model.frames,) if model.frames > 1 else ()
        return Subject(model, torch.randn(3, 3, *frames, model.image_size, model.image_size))


def check_shape(subject: Subject) -> str:
    """What it says of its sizes is what its tokens show."""
    model, tokens = subject.model, subject.tokens()
    shape = model.describe()
    if (tokens.length, len(model.blocks)) != (shape.length, shape.depth):
        return f"describe() has {shape.length} tokens and {shape.depth} blocks, not {tokens.length} and {model.depth}"
    if tokens.special.tolist() != [list(model.special_places)] * 3:
        return f"special tokens stand at {tokens.special[0].tolist()}, not at {list(model.special_places)}"
    frames, rows, columns = tokens.grid
    if frames * rows * columns != shape.patches or len(model.special_places) != shape.specials:
        return f"the grid {tokens.grid} and {len(model.special_places)} special tokens are not those of describe()"
    if not torch.equal(tokens.position, torch.arange(shape.length).expand(3, -1)):
        return "positions of the unreduced sequence are not 0, 1, 2, ..."
    return (
        ""
        if bool((tokens.size == 1).all())
        else "a token of the unreduced sequence has another size than 1"
    )


def check_pieces(subject: Subject) -> str:
    """Run block by block it gives the same bits as at once."""
    model, tokens = subject.model, subject.tokens()
    for block in range(model.depth):
        tokens = model.run(tokens, block, block + 1)
    logits = model.readout(tokens)
    if not bool(torch.isfinite(logits).all()):
        return "a logit is not finite"
    return (
        ""
        if torch.equal(logits, model(subject.images))
        else "stopping between blocks changes the logits"
    )


def check_trace(subject: Subject) -> str:
    """It shows every trace field it provides, refuses the others, and its logits do not change for it."""
    model = subject.model
    if unknown := model.provides - TRACE_FIELDS:
        return f"provides {', '.join(sorted(unknown))}, but a trace has {', '.join(sorted(TRACE_FIELDS))}"
    site = model.sites[0]
    tokens = model.run(subject.tokens(), 0, site, needs=model.provides)
    for name in sorted(model.provides - {"A"}):
        shown = getattr(tokens.trace, name)
        if shown is None:
            return f"the trace lacks {name}, which it provides"
        axis = 1 if name in STACKED else 0
        if shown.shape[axis] != 3 or tokens.length not in shown.shape:
            return (
                f"{name} of 3 images and {tokens.length} tokens has the shape {tuple(shown.shape)}"
            )
    if not torch.equal(model.readout(model.run(tokens, site)), model(subject.images)):
        return "asking for a trace changes the logits"
    for name in sorted(TRACE_FIELDS - model.provides):
        try:
            model.run(subject.tokens(), 0, site, needs=frozenset({name}))
        except UserError:
            continue
        return f"{name}, which it does not provide, was not refused with UserError"
    return ""


def check_batch(subject: Subject) -> str:
    """What becomes of an image does not depend on its batch, to the bit on CPU."""
    model = subject.model
    plan = blind_plan(model)
    whole = model.readout(model.run(subject.tokens(), plan=plan))
    for row in range(3):
        alone = model.readout(model.run(subject.tokens(slice(row, row + 1)), plan=plan))
        if not torch.equal(alone[0], whole[row]):
            return f"image {row} of a batch of 3 has other logits than the same image alone"
    return ""


def blind_plan(model: Backbone, count: int = 2) -> dict[int, Reducer]:
    """`count` evenly spaced tokens going before every site."""
    composition = METHODS["stride"].compose(model.provides)
    assert composition is not None
    return {site: Reducer(composition, count, site) for site in model.sites}


def check_reduced(subject: Subject) -> str:
    """It runs on what a reduction leaves, before every site, and with nothing to remove as if there were none."""
    model = subject.model
    end = model.run(subject.tokens(), plan=blind_plan(model))
    left = model.describe().length - 2 * len(model.sites)
    if end.length != left:
        return f"{end.length} tokens left the last block, not {left}"
    if not bool(torch.isfinite(model.readout(end)).all()):
        return "a logit is not finite after tokens went"
    nothing = model.readout(model.run(subject.tokens(), plan=blind_plan(model, 0)))
    return (
        ""
        if torch.equal(nothing, model(subject.images))
        else "reducers with nothing to remove change the logits"
    )


def check_head(subject: Subject) -> str:
    """Its head finds what it reads wherever that stands."""
    model = subject.model
    end = model.run(subject.tokens())
    turned = {
        name: getattr(end, name).flip(1) for name in ("branch", "residual", "position", "size")
    }
    logits = model.readout(end)
    other = model.readout(replace(end, **turned, special=end.length - 1 - end.special))
    error = float((logits - other).abs().max() / logits.abs().max())
    return (
        ""
        if error <= CLOSE
        else f"logits change by {error:.1e} when the tokens it reads stand in another order"
    )


def check_resized(subject: Subject) -> str:
    """It takes images of another size, with positions resampled."""
    model = subject.model
    size = model.image_size_for(SIDE + 1)
    other = model.resized(size)
    shape = other.describe()
    if shape.patches != shape.frames * (SIDE + 1) ** 2:
        return f"resized to a grid of {SIDE + 1} x {SIDE + 1} it has {shape.patches} patches"
    logits = other(
        torch.randn(
            1, *subject.images.shape[1:-2], size, size, generator=torch.Generator().manual_seed(1)
        )
    )
    return (
        ""
        if bool(torch.isfinite(logits).all())
        else "a logit is not finite at another size of image"
    )


def check_flops(subject: Subject) -> str:
    """The closed form counts its matrix products and convolutions exactly."""
    model = subject.model
    closed = dense(model.describe())
    model.set_kernel(
        "reference"
    )  # the count takes the differentiable path, on which other kernels prove themselves
    counted = count_with_torch(lambda: model(subject.images[:1]))
    model.set_kernel("auto")
    found, stated = (
        (counted.gemm, counted.conv, counted.scan),
        (closed.gemm, closed.conv, closed.scan),
    )
    return (
        "" if found == stated else f"gemm, conv and scan are {found}, the closed form says {stated}"
    )


CHECKS: tuple[Check, ...] = (
    check_shape, check_pieces, check_trace, check_batch, check_reduced, check_head, check_flops, check_resized,
)  # fmt: skip
