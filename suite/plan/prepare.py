"""From settings to what will be evaluated: models, images and cells, with everything that can be refused refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from backbones import create_model
from backbones.base import Backbone
from backbones.checkpoints.published import files_of
from backbones.checkpoints.source import resolve
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.preprocessing import Preprocessing
from backbones.scan import check_kernel
from methods.composition import Composition
from methods.named.oracle import MAX_IMAGES
from methods.spec import MethodSpec, parse
from suite.config.run_spec import RunSpec
from suite.data import check_labels, open_dataset, pictured, stratified
from suite.data.base import UNDIVIDED, Dataset, digest
from suite.data.images.sources import CLASSES as GARMENTS
from suite.plan import budget as budgets
from suite.plan.ablation_axes import ablated
from suite.plan.budget import BudgetUnreachable, Free
from suite.plan.cells import BASELINES, DENSE, Cell
from suite.plan.schedule import check_sites, default_sites, named
from suite.system.hardware import check_precision, pick_device, set_threads

REDUCING = ("sequence", "oracle")  # kinds of methods that remove tokens
SOLVERS = {"matched": budgets.solve, "tokens": budgets.solve_tokens, "paper": budgets.solve}


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: the models by name, the chosen images and all cells."""

    spec: RunSpec
    device: str
    threads: int
    models: dict[str, Backbone]
    dataset: Dataset
    indices: NDArray[np.int64]
    cells: list[Cell]
    _data: dict[tuple[int, Preprocessing, int], Dataset] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def samples(self) -> int:
        """How many images, or clips of videos, each model sees under each cell."""
        return len(self.indices) * self.dataset.views

    def data_for(self, model: Backbone) -> Dataset:
        """The data in samples that `model` takes; always the same object, whose decoders stay with it."""
        taken = id(self.dataset), model.preprocessing, model.frames
        if taken not in self._data:
            self._data[taken] = self.dataset.prepared_as(model.preprocessing).in_frames(
                model.frames
            )
        return self._data[taken]

    def runnable(self, backbone: str) -> list[Cell]:
        """The cells of `backbone` that have a plan, the dense one first."""
        return [cell for cell in self.cells if cell.backbone == backbone and cell.plan is not None]

    def dense(self, backbone: str) -> Cell:
        """The unreduced cell of `backbone`."""
        return next(
            cell for cell in self.cells if cell.backbone == backbone and cell.method == DENSE
        )


def prepare(spec: RunSpec) -> Prepared:
    """Open models and data and lay out the cells; UserError for whatever cannot be had."""
    device = pick_device(spec.device)
    dtype = check_precision(spec.precision, device)
    threads = set_threads(spec.threads)
    dataset = open_dataset(spec.data, spec.split, source=spec.source, views=spec.views)
    indices = choose_images(dataset, spec)
    pictured(indices, spec.gallery)
    methods = ablated([parse(text) for text in spec.methods], spec.axes)
    check_oracle(methods, len(indices))
    models = {name: load_model(name, spec, dataset, device, dtype) for name in spec.backbones}
    cells = []
    for name, model in models.items():
        context = context_of(model, dataset, indices, spec, device)
        cells += merge_equal(layout(name, model, methods, spec, context))
    return Prepared(spec, device, threads, models, dataset, indices, cells)


def undivided(prepared: Prepared) -> str:
    """That the data set has no splits, where the one that was asked for chose nothing; empty elsewhere."""
    dataset, split = prepared.dataset, prepared.spec.split
    if dataset.split != UNDIVIDED or split == UNDIVIDED:
        return ""
    return (
        f"the data set has no splits: --split {split} is all of its {len(dataset):,} {dataset.kind}"
    )


def out_of_reach(prepared: Prepared) -> list[str]:
    """A sentence for each backbone and budget that no method can meet by removing tokens: how close one comes."""
    asked: dict[tuple[str, float], list[Cell]] = {}
    for cell in prepared.cells:
        if cell.budget and cell.kind in REDUCING:
            asked.setdefault((cell.backbone, cell.budget), []).append(cell)
    found = []
    for (backbone, budget), cells in asked.items():
        reached = [(cell.closest, cell.label) for cell in cells if cell.closest is not None]
        if reached and not any(cell.plan for cell in cells):
            share, label = min(reached, key=lambda pair: abs(pair[0] - budget))
            found.append(
                f"no method that removes tokens can remove {100 * budget:.4g} % of the work of {backbone}: the "
                f"closest, {label}, removes {100 * share:.1f} %."
            )
    return found


def context_of(
    model: Backbone, dataset: Dataset, indices: NDArray[np.int64], spec: RunSpec, device: str
) -> str:
    """Hash of all that every cell of one backbone shares: weights, images, and how numbers are computed."""
    return digest(
        {
            "weights": model.provenance.sha256 if model.provenance else None,
            "data": dataset.prepared_as(model.preprocessing).manifest(),
            "images": indices.tolist(),
            "precision": spec.precision,
            "device": device,
            "kernel": spec.kernel,
        }
    )


def check_oracle(methods: Sequence[MethodSpec], images: int) -> None:
    """UserError if the oracle, which runs the model once a token and site, is asked for too many images."""
    if images > MAX_IMAGES and any(method.method.kind == "oracle" for method in methods):
        raise UserError(
            f"oracle runs on at most {MAX_IMAGES} images, not {images:,}: add --images {MAX_IMAGES}"
        )


def choose_images(dataset: Dataset, spec: RunSpec) -> NDArray[np.int64]:
    """Indices of the images of the run, sorted."""
    if spec.images == "all":
        return np.arange(len(dataset))
    return stratified(dataset.labels, spec.images)


def load_model(
    name: str, spec: RunSpec, dataset: Dataset, device: str, dtype: torch.dtype
) -> Backbone:
    """The backbone with its weights on the device, its head checked against the labels."""
    checkpoint = (
        None if spec.checkpoint == "random" else resolve(spec.checkpoint, name, dataset.name)
    )
    with torch.random.fork_rng(devices=[]):  # untrained weights are the same in every process
        torch.manual_seed(0)
        model = create_model(name, checkpoint, kernel=spec.kernel)
    if model.mixers():
        check_kernel(spec.kernel, device, dtype)
    check_kind(dataset, model)
    mend = with_classes(name, len(dataset.classes)) if checkpoint is None else None
    check_labels(dataset, model.describe().classes, mend)
    if spec.checkpoint == "bundled":
        check_order(dataset, name)
    return model.to(device).cast(dtype)


def with_classes(name: str, classes: int) -> str:
    """What gives the untrained backbone `name`, which knows no classes, as many."""
    return f"give the untrained head as many, --backbones '{with_settings(name, classes=classes)}'"


def check_order(dataset: Dataset, backbone: str) -> None:
    """UserError if the classes are those of the weights in the box by their names, but numbered otherwise."""
    trained = {row.data for row in files_of(backbone) if row.source == "bundled"}
    ours: tuple[str, ...] = GARMENTS if "fashion-clutter" in trained else ()
    plain, wanted = (
        [re.sub(r"[\W_]", "", name).casefold() for name in names]
        for names in (dataset.classes, ours)
    )
    if plain != wanted and sorted(plain) == sorted(wanted):
        raise UserError(
            f"'{dataset.name}' numbers the classes in the order of their names, {backbone}'s weights do not: begin "
            f"each folder's name with its number (0-{ours[0]}, 1-{ours[1]}, ..., {len(ours) - 1}-{ours[-1]})"
        )


def check_kind(dataset: Dataset, model: Backbone) -> None:
    """UserError unless `model` takes what `dataset` has: images, or videos."""
    takes_clips = model.frames > 1
    if dataset.kind == "images" and takes_clips:
        raise UserError(
            f"{model.name} takes clips of {model.frames} frames and '{dataset.name}' has images: use --data video:PATH "
            f"or frames:PATH, or a backbone for images"
        )
    if dataset.kind == "videos" and not takes_clips:
        raise UserError(
            f"{model.name} takes images and '{dataset.name}' has videos: use a backbone for clips "
            f"(python -m suite list backbones), or a data set of images"
        )


def layout(
    name: str, model: Backbone, methods: Sequence[MethodSpec], spec: RunSpec, context: str
) -> Iterator[Cell]:
    """Every cell of one backbone: dense, then method by method, budget by budget, seed by seed.

    Under protocol `paper` the budgets are what the published schedules remove, and the baselines
    are matched to those.
    """
    blank = Cell(name, DENSE, None, 0, None, None, model.image_size, context)
    yield replace(blank, plan=budgets.dense_plan(model.describe()))
    asked = [method for method in dict.fromkeys(methods) if method != DENSE]
    baselines = [
        MethodSpec(name, {})
        for name in BASELINES
        if spec.baselines and MethodSpec(name, {}) not in asked
    ]
    amounts = spec.budgets
    if spec.protocol == "paper":
        published = [
            cell
            for method in asked
            for cell in published_cells(replace(blank, method=method), model, spec)
        ]
        yield from published
        amounts = tuple(
            dict.fromkeys(cell.budget for cell in published if cell.plan and cell.budget)
        )
        asked = []
    for method in [*asked, *baselines]:
        for budget in (0.0,) if method.method.kind == "order" else amounts:
            yield from method_cells(replace(blank, method=method, budget=budget), model, spec)


def published_cells(blank: Cell, model: Backbone, spec: RunSpec) -> Iterator[Cell]:
    """The cells of one method at the sites and counts of its paper, carried over to this backbone."""
    if blank.method.schedule:
        raise UserError(
            f"{blank.method}: protocol paper has each method's own schedule, leave out '@'"
        )
    shape, composition = model.describe(), blank.method.composition(model.provides)
    counts = blank.method.method.paper_counts(shape, **blank.method.options)
    blank = replace(blank, composition=composition, budget=0.0)
    if composition is None or counts is None:
        yield replace(blank, reason="its paper states no sites and counts: use --protocol matched")
        return
    if reason := unfit(composition, model):
        yield replace(blank, reason=reason)
        return
    try:
        plan = budgets.plan_of(shape, counts, composition)
    except ValueError as error:
        yield replace(blank, reason=str(error))
        return
    removed = round(plan.removed[spec.flops_convention], 4)
    for seed in range(spec.seeds if composition.stochastic else 1):
        yield replace(blank, plan=plan, seed=seed, budget=removed)


def unfit(composition: Composition, model: Backbone) -> str | None:
    """Why `model` cannot be reduced this way, None if it can."""
    specials = len(model.special_places)
    if missing := model.missing(composition.needs):
        return f"needs {', '.join(sorted(missing))}; {model.name} has none"
    if composition.aligned and (walks := model.describe().directions) != 2:
        return f"hands decay on along one scan each way; {model.name} has {walks} scans"
    if composition.needs_class_token and not specials:
        return f"needs a class token; {model.name} has none"
    if composition.special == "proportional" and specials > 1:
        return f"special=proportional places one class token; {model.name} has {specials} special tokens"
    return None


def method_cells(blank: Cell, model: Backbone, spec: RunSpec) -> Iterator[Cell]:
    """The cells of one method at one budget; a single skipped cell if the backbone or the budget rules it out."""
    shape, budget = model.describe(), blank.budget
    assert budget is not None
    sites = check_sites(spec.sites or default_sites(shape.sites), shape)
    schedule = named(blank.method.schedule or spec.schedule)
    composition = blank.method.composition(model.provides)
    blank = replace(blank, composition=composition)
    try:
        solve = SOLVERS[spec.protocol]
        if blank.kind == "oracle":
            yield replace(
                blank, plan=solve(shape, Free(), budget, sites, schedule, spec.flops_convention)
            )
            return
        if composition is None:
            grid = budgets.nearest_grid(shape, budget, spec.flops_convention)
            if grid == shape.side:
                yield replace(
                    blank,
                    reason=f"no smaller image comes closer to {100 * budget:.4g} % than the image itself",
                )
                return
            yield replace(
                blank,
                plan=budgets.smaller_image(shape, grid),
                image_size=model.image_size_for(grid),
            )
            return
        if reason := unfit(composition, model):
            yield replace(blank, reason=reason)
            return
        if blank.kind == "order":
            plan = replace(budgets.dense_plan(shape), counts=dict.fromkeys(sites, 0))
        else:
            plan = solve(shape, composition, budget, sites, schedule, spec.flops_convention)
    except BudgetUnreachable as error:
        yield replace(blank, reason=str(error), closest=error.nearest)
        return
    for seed in range(spec.seeds if composition.stochastic else 1):
        yield replace(blank, plan=plan, seed=seed)


def merge_equal(cells: Iterator[Cell]) -> list[Cell]:
    """Cells of equal identity become one, which keeps the other texts as aliases."""
    merged: dict[str, Cell] = {}
    for cell in cells:
        first = merged.setdefault(cell.key, cell)
        if first.method.text != cell.method.text:
            merged[cell.key] = replace(first, aliases=(*first.aliases, cell.method.text))
    return list(merged.values())
