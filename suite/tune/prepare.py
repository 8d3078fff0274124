"""Lay out a cell for each try: methods x settings x budgets, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from backbones.base import Backbone
from backbones.common.errors import UserError
from methods.base import WINDOW
from methods.spec import MethodSpec, parse_all
from suite.plan.cells import Cell, blind_on
from suite.plan.images import choose_images, choose_unseen
from suite.plan.layout import layout
from suite.plan.loading import Opened, context_of
from suite.plan.prepare import Prepared, check_reachable
from suite.plan.settings import blind_baselines, choose_settings, is_asked
from suite.stats.metric import METRICS
from suite.store.schema import SAME
from suite.system.hardware import check_precision, pick_device, set_products, set_threads
from suite.tries.few_images import few_images
from suite.tries.settings import Setting, settings_of, with_setting
from suite.tune.spec import TuneSpec


@dataclass(frozen=True)
class Planned:
    """One try: the method without its setting, the setting, the budget, and the cell to evaluate.

    Tries that come to the same composition and plan share a cell.
    """

    method: MethodSpec
    setting: Setting
    budget: float
    cell: Cell


@dataclass(frozen=True)
class Tuning:
    """A tuning that can begin: the run of its cells, and by backbone its tries.

    ``asked``  the methods that were asked for, ``added`` the blind baselines that were not
    """

    spec: TuneSpec
    prepared: Prepared
    tries: dict[str, list[Planned]]
    asked: Sequence[MethodSpec]
    added: Sequence[MethodSpec]

    @property
    def notes(self) -> list[str]:
        """What a user should know of it before it runs."""
        notes = []
        if self.added:
            names = ", ".join(method.label for method in self.added)
            notes.append(f"added: {names}, which every comparison runs beside the methods")
        counts = {method: len(settings_of(method.method)) for method in (*self.asked, *self.added)}
        most = max(counts.values())
        for method, count in counts.items():
            if count < most:
                notes.append(
                    f"{method.label} has {count} tries at each budget, others {most}: without an "
                    f"option {WINDOW} (methods/options.py) only its schedule is tried"
                )
        return [*notes, *self.warnings]

    @property
    def few(self) -> str:
        """The images in words, if they are too few to pick settings by; else empty."""
        data = self.prepared.dataset
        return few_images(len(self.prepared.indices), data.kind, METRICS[data.task])

    @property
    def warnings(self) -> list[str]:
        """What is said of too few images before they are evaluated."""
        return [f"WARNING: Settings will be picked on {self.few}."] if self.few else []


def prepare_tuning(spec: TuneSpec) -> Tuning:
    """Open models and data and lay out all tries; UserError if anything needed cannot be had."""
    common = spec.run_spec()
    device = pick_device(common.device)
    dtype = check_precision(common.precision, device)
    set_products(common.precision)
    threads = set_threads(common.threads)
    asked = tunable(common.methods)
    opened = Opened()
    dataset = opened.dataset(common)
    usual: int = TuneSpec.model_fields["images"].default
    choose_images(dataset, common.images, usual)  # too few are said before models are loaded
    models: dict[str, Backbone] = {}
    cells: list[Cell] = []
    tries: dict[str, list[Planned]] = {}
    added: dict[MethodSpec, None] = {}
    for name, text in common.named.items():
        models[name] = opened.model(text, common, device, dtype)
    indices, trained = choose_unseen(dataset, common.images, models.values(), usual)
    for name, model in models.items():
        context = context_of(model, dataset, indices, common, device)
        # A comparison has them beside any method, and each must have had the same tries.
        blind = [each for each in blind_baselines(blind_on(model)) if not is_asked(each, asked)]
        added |= dict.fromkeys(blind)
        methods = [*asked, *blind]
        spelled = [with_setting(method, setting) for method, setting in pairs(methods)]
        own = layout(name, model, choose_settings(spelled, common), common, context)
        own = [replace(cell, seed=spec.seed) if cell.stochastic else cell for cell in own]
        tries[name] = planned(methods, common.budgets, own)
        cells += own
    check_reachable(cells)
    prepared = Prepared(
        common, device, threads, models, dataset, indices, cells, trained_on=trained
    )
    return Tuning(spec, prepared, tries, asked, list(added))


def tunable(texts: Sequence[str]) -> list[MethodSpec]:
    """The methods of these texts; UserError for the first that cannot be tuned."""
    methods = parse_all(texts)
    for method in methods:
        if method.method.kind != "sequence":
            raise UserError(
                f"{method} removes no token from a sequence, so it has no settings to try: leave "
                "it out"
            )
        if method.schedule or WINDOW in method.options:
            raise UserError(
                f"{method} has a setting of its own, and schedule and {WINDOW} are what is tried: "
                f"write {method.untuned}"
            )
    # Once each, under the name that a table has them by.
    return parse_all(method.untuned for method in methods)


def pairs(methods: Iterable[MethodSpec]) -> Iterator[tuple[MethodSpec, Setting]]:
    """Each method under each of its settings."""
    for method in methods:
        for setting in settings_of(method.method):
            yield method, setting


def planned(
    methods: Sequence[MethodSpec], budgets: Sequence[float], cells: Sequence[Cell]
) -> list[Planned]:
    """Find the cell of each try among the `cells` of a backbone, whose labels name their tries."""
    by_label: dict[str, list[Cell]] = {}
    for cell in cells:
        for label in cell.label.split(SAME):
            by_label.setdefault(label, []).append(cell)
    tries = []
    for method, setting in pairs(methods):
        same = by_label[with_setting(method, setting).label]
        for budget in budgets:
            # Budgets so close that they come to one plan share the cell of the first.
            cell = min(same, key=lambda cell: abs((cell.budget or 0.0) - budget))
            tries.append(Planned(method, setting, budget, cell))
    return tries
