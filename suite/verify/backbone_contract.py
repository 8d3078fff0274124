"""The contract of a backbone, as checks that say in words what a backbone gets wrong.

The suite's own are checked, and a third party's. A backbone is made narrow and shallow, where its
settings allow it, with random weights that tell tokens apart, on a grid of 5 x 5 patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backbones import BACKBONES, find, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError, describe_error
from backbones.common.labels import labelled
from backbones.common.naming import bracketed
from backbones.sequence import TRACE_FIELDS, TokenSequence
from backbones.shape import Shape, halved
from methods import METHODS
from methods.reducer import Reducer
from suite.flops.closed_form import dense
from suite.flops.counters import count_with_torch
from suite.plan.cells import needs_rectangle
from suite.plan.grid_budget import grid_plan
from suite.verify.checks import Finding, distinct_model, finding_lines, problem_of, title
from suite.verify.line import Line, judged
from suite.verify.step_contract import STACKED

SIDE = 5
SMALL: Mapping[str, int] = {
    "dim": 32,
    "depth": 3,
    "layers": 2,
    "heads": 2,
    "classes": 10,
    "registers": 3,
    "frames": 2,
    "convolutions": 2,
    "early": 1,
    "third": 2,
    "last": 1,
}
STREAMS = ("branch", "residual")
HANDED_ON = ("position", "size", "special", "image", "owner")
ALWAYS = ("special", "image")  # also by a block that halves the map of tokens
CLOSE = 1e-4  # between sums of the same numbers in another order


class Subject(NamedTuple):
    """A small backbone and three inputs for it."""

    model: Backbone
    images: Tensor

    def tokens(self, rows: slice = slice(None)) -> TokenSequence:
        """The tokens that enter block 0."""
        return self.model.embed(self.images[rows], torch.arange(10, 13)[rows])


Check = Callable[[Subject], str]


def backbone_lines() -> Iterator[Line]:
    """A line for each registered backbone, with the first check that fails."""
    for name in BACKBONES:
        yield judged("backbones", name, first_problem(name), f"{len(CHECKS)} checks hold")


def check_lines(texts: Sequence[str]) -> Iterator[Line]:
    """A line for each check on these backbones; those that fail for the same reason are one.

    UserError for a backbone that cannot be made.
    """
    for label, text in labelled(texts, BACKBONES).items():
        subject = small(text)
        findings = [Finding(title(check), problem_of(check, subject)) for check in CHECKS]
        yield from finding_lines("backbones", label, findings)


def first_problem(name: str) -> str:
    """The first thing that the backbone gets wrong; empty if there is nothing."""
    try:
        subject = small(name)
    except UserError as error:
        return str(error)
    except Exception as error:  # a third party's constructor may raise anything
        return f"cannot be made: {describe_error(error)}"
    for check in CHECKS:
        if problem := problem_of(check, subject):
            return f"{problem} ({title(check)})"
    return ""


def small(name: str) -> Subject:
    """The backbone with as few channels, blocks and patches as its settings allow, and inputs."""
    config = getattr(without_weights(name), "config", None)
    # a third party's backbone need not have one, nor take its fields as settings
    usual = settings_of(name, config) if is_dataclass(config) else {}
    settings: dict[str, Any] = {key: value for key, value in SMALL.items() if key in usual}
    if {"patch", "image_size"} <= usual.keys():
        # patches that overlap go on overlapping
        settings["patch"] = 4 * usual["patch"] // usual.get("stride", usual["patch"])
        if "stride" in usual:
            settings["stride"] = 4
        settings["image_size"] = settings["patch"] + (SIDE - 1) * 4
    model = distinct_model(name, 1, **settings)
    frames = (model.frames,) if model.frames > 1 else ()
    generator = torch.Generator().manual_seed(1)
    shape = (3, 3, *frames, model.image_size, model.image_size)
    return Subject(model, torch.randn(shape, generator=generator))


def settings_of(name: str, config: Any) -> Mapping[str, Any]:
    """The sizes in `config` that the function that makes the backbone takes as settings."""
    taken = signature(find(bracketed(name)[0]).factory).parameters
    anything = any(each.kind is Parameter.VAR_KEYWORD for each in taken.values())
    return {key: value for key, value in vars(config).items() if anything or key in taken}


def check_shape(subject: Subject) -> str:
    """What it says of its sizes is what its tokens show."""
    model, tokens = subject.model, subject.tokens()
    shape = model.describe()
    if (tokens.length, len(model.blocks)) != (shape.length, shape.depth):
        return (
            f"describe() has {shape.length} tokens and {shape.depth} blocks, not {tokens.length} "
            f"and {model.depth}"
        )
    if tokens.special.tolist() != [list(model.special_places)] * 3:
        places = list(model.special_places)
        return f"special tokens are at {tokens.special[0].tolist()}, not at {places}"
    frames, rows, columns = tokens.grid
    if frames * rows * columns != shape.patches or len(model.special_places) != shape.specials:
        return (
            f"the grid {tokens.grid} and {len(model.special_places)} special tokens are not those "
            "of describe()"
        )
    # Methods and tables name tokens by position, and so need one numbering for all.
    if not torch.equal(tokens.position, torch.arange(shape.length).expand(3, -1)):
        return "positions of the unreduced sequence are not 0, 1, 2, ..."
    if not bool((tokens.size == 1).all()):
        return "a token of the unreduced sequence has another size than 1"
    return ""


def check_pieces(subject: Subject) -> str:
    """Run block by block it gives the same bits as at once."""
    model, tokens = subject.model, subject.tokens()
    # As the evaluation tree stops, wherever a method has a site.
    for block in range(model.depth):
        tokens = model.run(tokens, block, block + 1)
    logits = model.readout(tokens)
    if not bool(torch.isfinite(logits).all()):
        return "a logit is not finite"
    same = torch.equal(logits, model(subject.images))
    return "" if same else "stopping between blocks changes the logits"


def check_trace(subject: Subject) -> str:
    """It shows every trace field that it provides, refuses others, and keeps its logits."""
    model = subject.model
    if unknown := model.provides - TRACE_FIELDS:
        fields_of_trace = ", ".join(sorted(TRACE_FIELDS))
        return f"provides {', '.join(sorted(unknown))}, but a trace has {fields_of_trace}"
    # Before the first block there is no trace yet.
    site = model.sites[0]
    tokens = model.run(subject.tokens(), 0, site, needs=model.provides)
    # A is a parameter and has neither images nor tokens
    for name in sorted(model.provides - {"A"}):
        shown = getattr(tokens.trace, name)
        if shown is None:
            return f"the trace lacks {name}, which it provides"
        axis = 1 if name in STACKED else 0
        if shown.shape[axis] != 3 or tokens.length not in shown.shape:
            shape = tuple(shown.shape)
            return f"{name} of 3 images and {tokens.length} tokens has the shape {shape}"
    if not torch.equal(model.readout(model.run(tokens, site)), model(subject.images)):
        return "asking for a trace changes the logits"
    for name in sorted(TRACE_FIELDS - model.provides):
        try:
            model.run(subject.tokens(), 0, site, needs=frozenset({name}))
        except UserError:
            continue
        return f"{name}, which it does not provide, was not refused with UserError"
    return ""


def check_handed_on(subject: Subject) -> str:
    """A block hands on what it does not mix, and leaves its input unchanged."""
    model = subject.model
    tokens = model.run(subject.tokens().tracked(), 0, model.sites[0])
    tokens = blind_plan(model)[0][model.sites[0]](tokens)
    halvings = model.describe().halvings
    for block in range(model.sites[0], model.depth):
        # Methods and blocks share tokens: whoever changed them would change another's.
        before = {name: getattr(tokens, name).clone() for name in (*STREAMS, *HANDED_ON)}
        after = model.run(tokens, block, block + 1)
        for name, value in before.items():
            if not torch.equal(getattr(tokens, name), value):
                return f"block {block} changes the {name} of its input in place"
            handed_on = name in HANDED_ON and (block not in halvings or name in ALWAYS)
            if handed_on and not torch.equal(getattr(after, name), value):
                return f"block {block} gives its tokens another {name}"
        tokens = after
    return ""


def check_batch(subject: Subject) -> str:
    """What becomes of an image does not depend on its batch, to the bit on CPU."""
    model = subject.model
    plan = blind_plan(model)[0]
    batch = model.readout(model.run(subject.tokens(), plan=plan))
    for row in range(3):
        alone = model.readout(model.run(subject.tokens(slice(row, row + 1)), plan=plan))
        if not torch.equal(alone[0], batch[row]):
            return f"image {row} of a batch of 3 has other logits than the same image alone"
    return ""


def blind_plan(model: Backbone, count: int = 2) -> tuple[dict[int, Reducer], int]:
    """Reducers that remove `count` evenly spaced tokens before every site, and the tokens left.

    Where tokens have to fill a rectangle they remove half of `count` columns while there are more.
    """
    shape = model.describe()
    if needs_rectangle(model):
        composition = METHODS["grid-pool"].compose(model.provides)
        assert composition is not None
        plan = grid_plan(shape, narrowed_maps(shape, count // 2), composition)
        lines = {site: (removal.rows, removal.columns) for site, removal in plan.removals.items()}
        tokens = {site: removal.tokens for site, removal in plan.removals.items()}
        reducers = {
            site: Reducer(composition, tokens.get(site, 0), site, lines=lines.get(site, (0, 0)))
            for site in model.sites
        }
        return reducers, plan.lengths[-1]
    composition = METHODS["stride"].compose(model.provides)
    assert composition is not None
    left = shape.length - count * len(model.sites)
    return {site: Reducer(composition, count, site) for site in model.sites}, left


def narrowed_maps(shape: Shape, columns: int) -> dict[int, tuple[int, int]]:
    """The map left at each site if `columns` leave at every one that has at least twice as many."""
    now, left = shape.rectangles[0], {}
    for block in range(shape.depth):
        now = halved(now) if block in shape.halvings else now
        if block in shape.sites and now[1] >= 2 * columns:
            now = left[block] = now[0], now[1] - columns
    return left


def check_reduced(subject: Subject) -> str:
    """It runs on the tokens that a reduction leaves, and on all as if there were no reduction."""
    model = subject.model
    plan, left = blind_plan(model)
    end = model.run(subject.tokens(), plan=plan)
    if end.length != left:
        return f"{end.length} tokens left the last block, not {left}"
    if not bool(torch.isfinite(model.readout(end)).all()):
        return "a logit is not finite after tokens went"
    # A site at which nothing leaves must be no site at all.
    nothing = model.readout(model.run(subject.tokens(), plan=blind_plan(model, 0)[0]))
    same = torch.equal(nothing, model(subject.images))
    return "" if same else "reducers with nothing to remove change the logits"


def check_head(subject: Subject) -> str:
    """Its head finds the tokens that it reads anywhere in the sequence."""
    model = subject.model
    end = model.run(subject.tokens())
    streams = ("branch", "residual", "position", "size")
    # After an order such as `score` the class token may stand anywhere.
    turned = {name: getattr(end, name).flip(1) for name in streams}
    logits = model.readout(end)
    other = model.readout(replace(end, **turned, special=end.length - 1 - end.special))
    error = float((logits - other).abs().max() / logits.abs().max())
    if error > CLOSE:
        return f"logits change by {error:.1e} when the tokens it reads are in another order"
    return ""


def check_resized(subject: Subject) -> str:
    """It takes images of another size, with positions resampled."""
    model = subject.model
    size = model.image_size_for(SIDE + 1)
    other = model.resized(size)
    shape = other.describe()
    if shape.patches != shape.frames * (SIDE + 1) ** 2:
        return f"resized to a grid of {SIDE + 1} x {SIDE + 1} it has {shape.patches} patches"
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, *subject.images.shape[1:-2], size, size, generator=generator)
    finite = bool(torch.isfinite(other(images)).all())
    return "" if finite else "a logit is not finite at another size of image"


def check_flops(subject: Subject) -> str:
    """The closed form counts its matrix products and convolutions exactly."""
    model, images = subject.model, subject.images[:1]
    if stages := len(model.describe().halvings):
        # Where tokens are few, products are padded with rows: the last map is as large as others.
        model = model.resized(model.image_size_for(SIDE << stages))
        images = torch.zeros(1, 3, model.image_size, model.image_size)
    closed = dense(model.describe())
    # the count takes the differentiable path, on which other kernels must pass a check first
    model.set_kernel("reference")
    count = count_with_torch(lambda: model(images))
    model.set_kernel("auto")
    counted = (count.gemm, count.conv, count.scan)
    stated = (closed.gemm, closed.conv, closed.scan)
    if counted != stated:
        return f"gemm, conv and scan are {counted}, the closed form says {stated}"
    return ""


CHECKS: tuple[Check, ...] = (
    check_shape,
    check_pieces,
    check_trace,
    check_handed_on,
    check_batch,
    check_reduced,
    check_head,
    check_flops,
    check_resized,
)
