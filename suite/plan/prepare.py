"""Plan a run: open its images and models, lay out its cells, and refuse what cannot run."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from methods.base import UNDO
from methods.named.oracle import MAX_IMAGES
from methods.spec import MethodSpec, parse_all
from suite.config.run_spec import RunSpec
from suite.data import pictured
from suite.data.base import UNDIVIDED, Dataset, Seen
from suite.data.loading.preprocess import Photographs
from suite.plan.ablation_axes import ablated
from suite.plan.adaptive import Alpha, Alphas, stored_alphas
from suite.plan.cells import DENSE, REMOVING, Cell, blind_on, planned_record
from suite.plan.delta_spread import SiteChoice, at_sites, choose_sites, stored_sites
from suite.plan.further import further_cells
from suite.plan.images import choose_images, choose_unseen
from suite.plan.layout import layout, merge_equal
from suite.plan.loading import Opened, context_of, seen_by, shown_as_usual, weights_hash
from suite.plan.rectangles import mean_work, without_adaptive
from suite.plan.settings import Chosen, one_spelling
from suite.plan.smaller import smaller_models, with_smaller
from suite.plan.tuning import check_tries, find_tries, picking_images, settings_on
from suite.store.results import cut_shards
from suite.store.schema import CellRecord
from suite.store.unstated import UNSTATED
from suite.system.hardware import check_precision, pick_device, set_products, set_threads
from suite.tries.table import Tries


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: models by name, numbers of the chosen images, and all cells.

    ``models``         those that methods run on, then smaller ones
    ``spec``           in its one spelling
    ``methods``        those that were asked for
    ``cells``          each once, those of the main table first on every backbone
    ``across``         every method under every schedule, where no table of tries answers for it
    ``token_matched``  every method by equal counts of tokens; these and ``across`` are among
                       ``cells`` by their keys, where another label may stand for the same cell
    ``settings``       those of all methods by backbone, from the table in ``tries`` if any
    ``sites``          by backbone the sites that were chosen by a rule
    ``alphas``         of adaptive counts, by what was asked (`suite.plan.adaptive.Alphas`)
    ``set_aside``      how many images picked settings, and so are no evidence for them
    ``trained_on``     how many were left out because a model was trained on them
    """

    spec: RunSpec
    device: str
    threads: int
    models: dict[str, Backbone]
    dataset: Dataset
    chosen: NDArray[np.int64]
    cells: list[Cell]
    methods: Sequence[MethodSpec] = ()
    across: list[Cell] = field(default_factory=list)
    token_matched: list[Cell] = field(default_factory=list)
    settings: dict[str, Chosen] = field(default_factory=dict)
    tries: dict[str, Tries] = field(default_factory=dict)
    sites: dict[str, SiteChoice] = field(default_factory=dict)
    alphas: dict[str, Alpha] = field(default_factory=dict)
    set_aside: int = 0
    trained_on: int = 0
    left_out: dict[int, str] = field(default_factory=dict, compare=False)
    skip_damaged: bool = False
    seen: dict[int, Seen] = field(default_factory=dict, repr=False, compare=False)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the chosen images that can be read."""
        return self._readable(self.chosen)

    def _readable(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        return images[~np.isin(images, list(self.left_out))] if self.left_out else images

    def samples(self, backbone: str) -> int:
        """Images, clips of videos or windows of pictures that it sees under each cell."""
        return round(len(self.indices) * self.mean_views[backbone])

    @cached_property
    def mean_work(self) -> dict[str, float]:
        """By backbone how many times an item costs the FLOPs that are stated, in the mean.

        Those are of a clip, a window or a square.
        """
        work = dict(self.mean_views)
        for name, model in self.models.items():
            data = self.data[name]
            if data.inference == "whole":
                work[name] = mean_work(model, data, self.indices, self.spec.flops_convention)
        return work

    @cached_property
    def mean_views(self) -> dict[str, float]:
        """By backbone the clips of a video, or windows of a picture, in the mean; else 1."""
        views = {}
        for name, model in self.models.items():
            views[name] = self.data[name].mean_views(self.indices, model.image_size)
        return views

    @property
    def size(self) -> str:
        """How many cells run on how many images or videos, in words."""
        size = f"{len(self.keys):,} cells on {len(self.indices):,} {self.dataset.kind}"
        left_out = self._left_out_note(self.left_out.values())
        texts = (size, self.unused_split, self.training_note, left_out)
        return "; ".join(text for text in texts if text)

    @property
    def training_note(self) -> str:
        """That images were left out which the weights were trained on; empty if none were."""
        if not self.trained_on:
            return ""
        return f"left out: {self.trained_on:,} {self.dataset.kind} that the weights were trained on"

    @property
    def left_out_note(self) -> str:
        """The images that are damaged or gone, without which the run goes on; else empty.

        For what is stored and shown: without the folder of the data, which may name a user.
        """
        return self._left_out_note(self.left_out_below)

    @property
    def left_out_below(self) -> list[str]:
        """What is wrong with each image that was left out, paths below the folder of the data."""
        data = self.dataset
        texts = list(self.left_out.values())
        return list(map(data.below, texts)) if isinstance(data, Photographs) else texts

    def _left_out_note(self, texts: Collection[str]) -> str:
        if not texts:
            return ""
        return (
            f"left out of {len(self.chosen):,} {self.dataset.kind}, damaged or gone: "
            f"{len(texts):,} ({'; '.join(texts)})"
        )

    @property
    def unused_split(self) -> str:
        """That the data set has no splits, if one was set that chose nothing; else empty."""
        if self.dataset.split != UNDIVIDED or self.spec.split == UNDIVIDED:
            return ""
        # Said as it is used: of weights trained on a part of it the rest is evaluated.
        part = "the rest" if self.trained_on else "all"
        return (
            f"the data set has no splits: --split {self.spec.split} is {part} of its "
            f"{len(self.dataset):,} {self.dataset.kind}"
        )

    @property
    def shards(self) -> list[NDArray[np.int64]]:
        """Numbers of the images of each shard, which may have none that can be read."""
        # Cut before images are left out, so that each stays in its shard.
        return [self._readable(part) for part in cut_shards(self.chosen, self.spec.shard_size)]

    @cached_property
    def data(self) -> dict[str, Dataset]:
        """The data in samples as each backbone takes them."""
        # One object for each kind of sample, since its decoding processes belong to it.
        kinds: dict[tuple[Preprocessing, int, str, int], Dataset] = {}
        data = {}
        for name, model in self.models.items():
            kind = model.preprocessing, model.frames, model.inference, model.multiple
            if kind not in kinds:
                kinds[kind] = seen_by(model, self.dataset, self.spec.inference)
            data[name] = kinds[kind]
        return data

    @cached_property
    def runnable(self) -> dict[str, list[Cell]]:
        """By backbone the cells that have a plan, the dense one first."""
        runnable: dict[str, list[Cell]] = {name: [] for name in self.models}
        for cell in self.cells:
            if cell.plan is not None:
                runnable[cell.backbone].append(cell)
        return runnable

    @property
    def main(self) -> list[Cell]:
        """The cells of the main tables and figures."""
        return [cell for cell in self.cells if cell.shown]

    @property
    def backbones(self) -> dict[str, Backbone]:
        """The models that methods run on."""
        return {name: self.models[name] for name in self.spec.named}

    def spec_on(self, backbone: str) -> RunSpec:
        """The spec, with the numbers of the sites where they were chosen by a rule."""
        return at_sites(self.spec, self.sites.get(backbone))

    @property
    def keys(self) -> list[str]:
        """Keys of the cells that have a plan."""
        return [cell.key for cell in self.cells if cell.plan is not None]

    @property
    def dense(self) -> dict[str, Cell]:
        """The unreduced cell of each backbone."""
        return {cell.backbone: cell for cell in self.cells if cell.method == DENSE}

    @property
    def records(self) -> list[CellRecord]:
        """What is stored of each cell before it ran, in their order."""
        records = []
        for cell in self.cells:
            weights = self.models[cell.backbone].provenance
            images = len(self.indices)
            records.append(planned_record(cell, self.spec, self.dataset, images, weights))
        return records


def refuse_undo(methods: Sequence[MethodSpec], mend: str = "add --task segmentation") -> None:
    """UserError for a method that says how pixels are filled in, of a task without pixels."""
    for method in methods:
        if UNDO in method.options:
            raise UserError(f"{method}: {UNDO} is of pixels: {mend}, or leave it out")


def prepare(
    spec: RunSpec,
    opened: Opened | None = None,
    further: bool = True,
    folder: Path | None = None,
    trained_on: frozenset[str] = frozenset(),
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """Plan the run of `spec`; UserError if anything it needs cannot be had.

    Data and models that are `opened` already are used again, and others are added to them. Without
    `further` cells the plan has those of the main table alone. What a run in `folder` has chosen by
    images, it keeps: sites and alphas. Images are left out whose hashes are among `trained_on`, and
    those that the weights are known to be trained on. `say` gets a line of what takes long.
    """
    opened = opened or Opened()
    # What fails at once comes before what takes long to load.
    spec = one_spelling(spec)
    device = pick_device(spec.device)
    dtype = check_precision(spec.precision, device)
    set_products(spec.precision)
    threads = set_threads(spec.threads)
    dataset = opened.dataset(spec)
    count = len(choose_images(dataset, spec.images))
    named = parse_all(spec.methods)
    methods = ablated(named, spec.axes)
    if dataset.task != "segmentation":
        refuse_undo(named)
    # The oracle runs a pass for each token and site.
    if count > MAX_IMAGES and any(method.method.kind == "oracle" for method in methods):
        raise UserError(
            f"oracle runs on at most {MAX_IMAGES} images, not {count:,}: add --images {MAX_IMAGES}"
        )
    models: dict[str, Backbone] = {}
    tries: dict[str, Tries] = {}
    settings: dict[str, Chosen] = {}
    smaller = smaller_models(spec, dataset.name)
    texts = spec.named | spec.smaller_named
    for name in dict.fromkeys((*spec.named, *smaller)):
        # Smaller models that nobody named are bundled ones.
        models[name] = opened.model(texts.get(name, name), spec, device, dtype)
        if name not in spec.named:
            continue
        table = None
        if shown_as_usual(models[name], dataset, spec.inference):
            table = find_tries(spec, name, weights_hash(models[name]), dataset)
        elif spec.tries:
            raise UserError(
                f"--tries {Path(spec.tries).name}: they are of other images than --inference "
                f"{spec.inference} shows {name}: leave out one of the two"
            )
        if table:
            tries[name] = table
        variants, blind = methods[len(named) :], blind_on(models[name])
        settings[name] = settings_on(dataset, named, spec, table, variants, blind)
    check_tries(spec, tries, named, dataset)
    picking = picking_images([tries[name] for name in tries if settings[name].tuned], dataset)
    indices, trained = choose_unseen(
        dataset, spec.images, models.values(), without=picking, trained_on=trained_on
    )
    pictured(indices, spec.gallery)  # refuses pictures that are not among the images
    contexts = {
        name: context_of(model, dataset, indices, spec, device) for name, model in models.items()
    }
    laid_out: list[Cell] = []
    more: list[Cell] = []
    asked = {name: models[name] for name in settings}
    sites = choose_sites(
        spec, opened, dataset, indices, asked, stored_sites(folder) if folder else {}
    )
    alphas = Alphas(spec, opened, dataset, indices, stored_alphas(folder) if folder else {}, say)
    for name, chosen in settings.items():
        on = at_sites(spec, sites.get(name))
        main = layout(name, models[name], chosen, on, contexts[name], alphas)
        own: list[Cell] = []
        if further:
            own = further_cells(models[name], named, on, main, chosen, tries.get(name))
        if seen_by(models[name], dataset, spec.inference).inference == "whole":
            main, own = without_adaptive(main), without_adaptive(own)
        laid_out += merge_equal([*main, *own])
        more += own
    laid_out = with_smaller(laid_out, smaller, models, contexts, spec)
    shown = [cell for cell in laid_out if cell.shown]
    if spec.protocol == "paper":
        check_published(shown)
    check_reachable(shown)
    return Prepared(
        spec,
        device,
        threads,
        models,
        dataset,
        indices,
        laid_out,
        methods=named,
        across=[cell for cell in more if cell.role == "schedule"],
        token_matched=[cell for cell in more if cell.role == "tokens"],
        settings=settings,
        tries=tries,
        sites=sites,
        alphas=alphas.used,
        set_aside=len(picking),
        trained_on=trained,
    )


def check_published(cells: Sequence[Cell]) -> None:
    """UserError if no method runs as published, so that there is nothing to match others to."""
    published = [cell for cell in cells if cell.protocol == "paper" and cell.method != DENSE]
    if any(cell.plan for cell in published):
        return
    for cell in published:
        if cell.reason and cell.reason != UNSTATED:
            raise UserError(
                f"protocol paper: {cell.label} cannot run on {cell.backbone} as published "
                f"({cell.reason}): use --protocol matched"
            )
    raise UserError(
        "protocol paper: no method that was named has published sites and counts: add one that "
        "has, such as rmeeto, or use --protocol matched"
    )


def check_reachable(cells: Sequence[Cell]) -> None:
    """UserError if there are methods that remove tokens and none of them meets any budget."""
    # A smaller image removes no tokens: alone it compares nothing.
    reduced = [cell for cell in cells if cell.budget and cell.kind in REMOVING]
    nearest = [(cell, cell.closest) for cell in reduced if cell.closest is not None]
    if not nearest or any(cell.plan for cell in reduced):
        return
    cell, share = min(nearest, key=lambda pair: abs(pair[1] - (pair[0].budget or 0.0)))
    mend = "ask for that"
    if share < (cell.budget or 0.0):
        # What one method reaches, another may not: a comparison needs a budget for all.
        most: dict[tuple[str, str], float] = {}
        for other, removed in nearest:
            key = (other.backbone, other.label)
            most[key] = max(removed, most.get(key, 0.0))
        common = math.floor(1000 * min(most.values())) / 10
        mend = f"all methods can remove {common:.1f} %: ask for no more"
    raise UserError(
        f"no method can remove {100 * (cell.budget or 0.0):.4g} % of the FLOPs of "
        f"{cell.backbone}: the closest, {cell.label}, removes {100 * share:.1f} %; {mend}"
    )
