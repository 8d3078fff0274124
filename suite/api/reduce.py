"""`suite.reduce`: a model whose tokens are reduced by a method, as a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from backbones import create_model
from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.spec import MethodSpec, parse
from suite.api.adopt import adopt
from suite.api.trace import TokenTrace, traced
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.evaluation.runner import embed
from suite.plan.budget import Plan
from suite.plan.cells import DENSE, REMOVING, Cell
from suite.plan.layout import at_own_sites, bare_cell, counted_plan, planned_cell
from suite.plan.loading import check_runs
from suite.plan.prepare import refuse_undo
from suite.plan.schedule import ADAPTIVE, check_sites, default_sites, spell
from suite.plan.settings import one_spelling, resolve
from suite.plan.tuning import tries_of_weights
from suite.tries.settings import Setting

Counts = int | Sequence[int] | Mapping[int, int]
# What methods of other kinds do instead of removing tokens.
OTHER_KINDS = {
    "none": "leaves the model as it is: call the model itself",
    "order": "moves tokens and removes none: use it in a comparison",
    "oracle": "reads the labels of a data set: use it in a comparison",
}


class Reduced(nn.Module):
    """A backbone that runs with fewer tokens; made by `suite.reduce`.

    It is called as the model is: ``reduced(images)`` gives logits (B, classes) for normalised
    images (B, 3, S, S), or clips (B, 3, T, S, S); of a segmenter those of its head's map, (B,
    classes, h, w), to be interpolated to the pixels (docs/python.md). Its only submodule is
    the backbone, ``model``, whose weights are shared with the model that was given. Copies, pickles
    and state dicts (``model.*``) are those of any module.

    ``model``       the backbone, a `backbones.base.Backbone`
    ``method``      text of the method with its options, such as ``mtr[score=b]``
    ``setting``     its schedule and class-token window, None where counts were given
    ``tuned``       whether the setting was picked for these weights on images of their data
    ``plan``        tokens that enter each block, and FLOPs by convention
                    (`suite.plan.budget.Plan`)
    ``convention``  how the FLOPs of the budget are counted: flops, macs or paper
    """

    model: Backbone

    def __init__(self, model: Backbone, cell: Cell, convention: str) -> None:
        """`cell` is a planned cell of `model`, as in a comparison."""
        super().__init__()
        self.model = model
        self.convention = convention
        self._cell = cell
        # Made once: a tracer cannot follow how a cell makes and keeps them.
        self._reducers = cell.reducers()

    @property
    def method(self) -> str:
        """Text of the method with its options."""
        return self._cell.method.text

    @property
    def setting(self) -> Setting | None:
        """Schedule and class-token window of the method; None where counts were given."""
        return self._cell.setting

    @property
    def tuned(self) -> bool:
        """Whether the setting was picked on other images for these weights."""
        return self._cell.tuned

    @property
    def plan(self) -> Plan:
        """Tokens that enter each block, what leaves before it, and FLOPs by convention."""
        assert self._cell.plan is not None
        return self._cell.plan

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Logits (B, classes) of normalised images (B, 3, S, S) or clips (B, 3, T, S, S).

        `numbers` (B,) are those of the images in their data set; only a method that draws at random
        reads them, 0..B-1 by default. Without a gradient to compute, each image has the bits that
        `compare` gives it, whatever its batch.
        """
        with self._gradients(images):
            sized, tokens = self._embedded(images, numbers)
            return sized.readout(sized.run(tokens, plan=self._reducers))

    def trace(self, images: Tensor, numbers: Tensor | None = None) -> TokenTrace:
        """Run the model and tell what became of every patch; the arguments are `forward`'s.

        UserError for a method whose tokens are not patches of the image, such as ``crop-shrink``.
        """
        if self._cell.view is not None:
            raise UserError(
                f"{self.method} makes its tokens of a window of the image, so that no patch of the "
                "image becomes one of them: call the model, or trace a method that removes tokens"
            )
        with self._gradients(images):
            sized, tokens = self._embedded(images, numbers)
            final = sized.run(tokens.tracked(), plan=self._reducers)
            return traced(self.model, images, final, sized.readout(final), self.plan.lengths)

    def _embedded(self, images: Tensor, numbers: Tensor | None) -> tuple[Backbone, TokenSequence]:
        model, cell = self.model, self._cell
        if images.shape[:1] == (0,):
            raise UserError("the batch has no images: give at least one")
        # Where they are resized first, the backbone cannot tell a wrong size.
        if model.frames == 1 and (cell.view is not None or cell.image_size != model.image_size):
            check_image_size(images, model.image_size, model.name)
        return embed(model, images, numbers, cell.image_size, cell.view)

    def _gradients(self, images: Tensor) -> torch.no_grad | nullcontext[None]:
        """Leave gradients on only where something asks for one: inference has kernels of its own.

        They are faster, and an image's bits do not depend on its batch.
        """
        asked = images.requires_grad or any(part.requires_grad for part in self.parameters())
        return nullcontext() if asked else torch.no_grad()

    def __repr__(self) -> str:
        """The model, the method with its setting, and what it saves, in one line."""
        counts = [removal.tokens for removal in self.plan.removals.values()]
        how = f" at {self.setting}"
        if self.setting is None:
            same = len(set(counts)) == 1
            how = f" at {counts[0]} tokens a site" if same else f" at {sum(counts)} tokens in all"
        if not counts:  # of a smaller image, or a window of it
            how = ""
        removed = 100 * self.plan.removed[self.convention]
        unit = "MACs" if self.convention == "macs" else "FLOPs"
        method = f"{self._cell.method.label}{how}"
        return f"Reduced({self.model.name}, {method}: -{removed:.1f} % {unit})"


def reduce(
    model: nn.Module | str,
    method: str,
    budget: float | None = None,
    counts: Counts | None = None,
    *,
    schedule: str = "tuned",
    sites: Sequence[int] | None = None,
    seed: int = 0,
    tries: str | None = None,
    convention: str = "flops",
) -> Reduced:
    """Reduce the tokens of `model` by `method`, as `compare` would: a module that gives logits.

    `model` is a backbone of `backbones.create_model`, the name of one whose weights are bundled,
    such as ``vim_nano``, which is frozen (``requires_grad_`` thaws it), or an instance of timm's
    ViT or DeiT, or of the authors' class of Vim, VideoMamba or Mamba-Reg (see `suite.api.adopt`).
    Its weights are shared, not copied. `method` is a text as on the command line: ``mtr``,
    ``mtr[score=b]@falling``, ``file.py:MINE``.

    Give either a `budget`, the share of the model's FLOPs to remove (0.4: 40 %, the method's own
    cost included, within 0.24 point), or `counts`: so many patch tokens at every site (ToMe's r; as
    many as the method can take where fewer are left), at each site in order, or {block: tokens}. A
    method of the grid removes whole rows and columns: as nearly so many as it can.

    With a budget, `schedule` spreads the removal: ``tuned`` is the setting picked for these weights
    in the bundled table or in `tries` (a `tune` run), else the method's own, constant-ratio if it
    brings none. `sites` are blocks before which tokens leave, by default those of `compare`; `seed`
    is a random method's; `convention` counts FLOPs as flops, macs or paper.

    UserError, in one line, for what cannot be reduced, and why.
    """
    backbone = _opened(model)
    if (budget is None) == (counts is None):
        raise UserError("give either budget=0.4 (share of the FLOPs) or counts=8 (tokens a site)")
    if isinstance(sites, str):
        raise UserError(
            f"sites cannot be '{sites}': give numbers of blocks, such as [2, 4]; those that a rule "
            "chooses on images are printed by 'python -m suite plan --sites delta-spread'"
        )
    given: dict[str, Any] = {"methods": (method,), "schedule": schedule, "tries": tries}
    given |= {"sites": sites, "flops_convention": convention}
    if budget is not None:
        given["budgets"] = (budget,)
    # The words and bounds are those of a comparison.
    spec = one_spelling(build_spec(**given))
    named = parse(spec.methods[0])
    if counts is not None and spec.schedule == ADAPTIVE.name:
        raise UserError(f"counts are fixed, and under {ADAPTIVE.name} they are not: leave one out")
    if named.method.kind in OTHER_KINDS:
        raise UserError(f"{named.label} {OTHER_KINDS[named.method.kind]}")
    if backbone.task != "segmentation":
        refuse_undo([named], "give a segmenter")
    base = Cell(backbone.name, DENSE, None, seed, None, None, backbone.image_size, context="")
    if counts is None:
        cell = _to_budget(base, named, backbone, spec)
    else:
        cell = _by_counts(base, named, backbone, spec, counts)
    return Reduced(backbone, cell, convention)


def _opened(model: nn.Module | str) -> Backbone:
    """The backbone that is meant by `model`."""
    if isinstance(model, str):
        opened = create_model(model, "bundled").requires_grad_(False)
        if opened.code is not None:
            check_runs(opened, "cpu")
        return opened
    if isinstance(model, nn.Module):
        return adopt(model)
    raise UserError(
        f"cannot reduce a {type(model).__name__}: give a model, or the name of a bundled backbone"
    )


def _to_budget(base: Cell, method: MethodSpec, model: Backbone, spec: RunSpec) -> Cell:
    """The cell of `method` that meets the budget; UserError if there is none."""
    resolved = None
    if method.method.kind in REMOVING:
        table = tries_of_weights(model, spec.tries)
        resolved = resolve(method, spec.schedule, table, spec.sites)
    cell = bare_cell(base, method, resolved, model)
    cell = planned_cell(replace(cell, budget=spec.budgets[0]), model, spec)
    if cell.plan is None:
        nearest = f": ask for budget={cell.closest:.4f}" if cell.closest else ""
        raise UserError(f"{method.label} on {model.name}: {cell.reason}{nearest}")
    return cell


def _by_counts(
    base: Cell, method: MethodSpec, model: Backbone, spec: RunSpec, counts: Counts
) -> Cell:
    """The cell of `method` that removes so many tokens at the sites; UserError if it cannot."""
    cell = bare_cell(base, method, None, model)
    name = f"{method.label} on {model.name}"
    sites = spec.sites
    assert not isinstance(sites, str)  # refused where it was given
    if method.method.sites is not None and sites is None:
        cell = at_own_sites(cell, method.method.sites, model.describe())
        sites = cell.sites
    if cell.composition is None or cell.reason:
        raise UserError(f"{name}: {cell.reason or 'removes no tokens, give a budget'}")
    asked = _asked(counts, sites, model, cell.composition)
    try:
        return replace(cell, plan=counted_plan(model.describe(), asked, cell.composition))
    except ValueError as error:
        raise UserError(f"{name}: {error}, so many the method cannot take: give fewer") from None


def _asked(
    counts: Counts, sites: Sequence[int] | None, model: Backbone, composition: Composition
) -> dict[int, int]:
    """How many tokens are asked of each site."""
    shape = model.describe()
    if not isinstance(counts, Mapping) and sites is None:
        # ToMe's r is taken in every layer of a transformer, however many there are.
        sites = shape.sites if shape.transforms else default_sites(shape.sites)
    chosen = check_sites(list(counts) if isinstance(counts, Mapping) else sites or (), shape)
    if isinstance(counts, Mapping):
        asked = dict(counts)
    elif isinstance(counts, Sequence):
        if len(counts) != len(chosen):
            raise UserError(
                f"{len(counts)} counts do not fit the {len(chosen)} sites {spell(chosen)} of "
                f"{model.name}: give one for each, or {{block: tokens}}"
            )
        asked = dict(zip(chosen, counts, strict=True))
    else:
        asked = dict.fromkeys(chosen, counts)
    for tokens in asked.values():
        if not isinstance(tokens, Integral) or tokens < 0:
            raise UserError(f"counts cannot be {tokens}: give whole numbers of tokens from 0 on")
    # On the grid the nearest maps are taken, whatever is asked.
    if isinstance(counts, Integral) and not composition.keeps_rectangle:
        left = shape.patches
        for site in chosen:
            # As ToMe's published rule: what pairs tokens takes at most half of them.
            asked[site] = min(asked[site], composition.cap(left, shape.specials))
            left -= asked[site]
    return {site: int(tokens) for site, tokens in asked.items()}
