"""The settings of all methods on one backbone: the schedule and class-token window of each.

A method follows the schedule in its text, or else the run's; where that is `tuned`, the one that it
was tuned to, or else its own (`Method.schedule`). The run's sites come before a method's own. The
blind baselines run under every setting that occurs, so that none is a borrowed advantage; on a
backbone whose tokens have to fill a rectangle those of the grid stand in for the others. However
the settings are spelled (in a method's text, for the whole run, in a file), `one_spelling` makes
one specification of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backbones.common.errors import UserError
from backbones.shape import Shape
from methods.base import SCHEDULES, WINDOW
from methods.spec import MethodSpec, parse_all
from suite.config.run_spec import RunSpec
from suite.plan.cells import MATCHED
from suite.plan.schedule import ADAPTIVE, find_schedule
from suite.stats.verdict import BLIND
from suite.tries.settings import Setting, default_setting
from suite.tries.table import Tries

TUNED = "tuned"
Sites = Callable[[Shape], Iterable[int]]
SCHEDULED = ("sequence", "oracle")  # kinds of methods whose tokens leave by a schedule


@dataclass(frozen=True)
class Resolved:
    """The setting of a method, and whether it was picked by tuning.

    ``sites``  shape -> the blocks before which its tokens leave; None: those of the run
    """

    setting: Setting
    tuned: bool = False
    sites: Sites | None = None


@dataclass(frozen=True)
class Chosen:
    """The settings on one backbone.

    ``methods``  of every method that was asked for; None of one that has no setting
    ``added``    of every method that stands beside them in the tables; None likewise
    ``further``  of every blind baseline the other settings under which it runs
    ``blind``    the blind baselines of this backbone
    """

    methods: Mapping[MethodSpec, Resolved | None]
    added: Mapping[MethodSpec, Resolved | None]
    further: Mapping[MethodSpec, tuple[Resolved, ...]]
    blind: tuple[MethodSpec, ...] = ()

    @property
    def tuned(self) -> bool:
        """Whether any of them was picked on images of the table of tries."""
        resolved = [*self.methods.values(), *self.added.values()]
        for settings in self.further.values():
            resolved += settings
        return any(one is not None and one.tuned for one in resolved)


def one_spelling(spec: RunSpec) -> RunSpec:
    """Give a comparison its one spelling; UserError for a schedule that does not exist or fit.

    A schedule that all methods share is the run's, others stand in the methods' texts, options are
    sorted, and the default window is left out where a schedule is named.
    """
    methods = parse_all(spec.methods)
    schedules: dict[MethodSpec, str] = {}
    for method in methods:
        schedule = method.schedule or spec.schedule
        if schedule != TUNED:
            schedule = find_schedule(schedule).name
        if has_setting(method, spec):
            if schedule == ADAPTIVE.name:
                refuse_adaptive(method, spec.protocol)
            schedules[method] = schedule
    common = spec.schedule
    if schedules:
        shared = set(schedules.values())
        common = shared.pop() if len(shared) == 1 else TUNED
    texts = []
    for method in methods:
        if method in schedules:
            method = _spelled(method, schedules[method], common)
        elif method.schedule and method.method.kind not in SCHEDULED:
            raise UserError(
                f"{method}: {method.name} removes no tokens at sites, so that it has no schedule: "
                "leave out '@' and what follows"
            )
        texts.append(method.text)
    return spec.model_copy(update={"methods": tuple(dict.fromkeys(texts)), "schedule": common})


def _spelled(method: MethodSpec, schedule: str, common: str) -> MethodSpec:
    """A method with its schedule where that is not the `common` one of the run."""
    options = dict(method.options)
    if schedule != TUNED and options.get(WINDOW) == default_setting(method.method).cls_window:
        del options[WINDOW]
    own = schedule if schedule not in (common, TUNED) else ""
    return replace(method, options=options, schedule=own)


def refuse_adaptive(method: MethodSpec, protocol: str) -> None:
    """UserError if an image cannot decide how many tokens `method` removes, or is not to."""
    composition = method.composition()
    if composition is None or not composition.removes_lowest:
        raise UserError(
            f"{method.untuned} cannot have the schedule {ADAPTIVE.name}, under which the tokens of "
            f"lowest score leave: give it another, such as {method.untuned}@constant-ratio"
        )
    if protocol == "tokens":
        raise UserError(
            f"the schedule {ADAPTIVE.name} has no equal counts of tokens: use --protocol matched"
        )


def has_setting(method: MethodSpec, spec: RunSpec) -> bool:
    """Whether a setting is chosen for `method`: published schedules have their own."""
    published = spec.protocol == "paper" and method.name not in MATCHED
    return method.method.kind in SCHEDULED and not published


def added_methods(
    methods: Sequence[MethodSpec], spec: RunSpec, blind: Sequence[MethodSpec]
) -> list[MethodSpec]:
    """The methods that stand beside those asked for; they come last, and are no reference."""
    if not spec.baselines:
        return []
    added = [*blind, MethodSpec("downsample", {})]
    # Any setting of MTR that was named is matched, so that no further one is needed.
    if spec.protocol == "paper" and all(method.name != "mtr" for method in methods):
        added.insert(0, MethodSpec("mtr", {}))
    return [method for method in added if not is_asked(method, methods)]


def is_asked(plain: MethodSpec, methods: Iterable[MethodSpec]) -> bool:
    """Whether the method `plain` is among `methods`, under whatever setting."""
    return any(method.untuned == plain.name for method in methods)


def choose_settings(
    methods: Sequence[MethodSpec],
    spec: RunSpec,
    tries: Tries | None = None,
    variants: Sequence[MethodSpec] = (),
    blind: Sequence[str] = BLIND,
) -> Chosen:
    """Settle the settings of `methods`, which were asked for, and of those beside them.

    A blind baseline stands at its own pick beside methods that are tuned, else at the setting of
    the first method. It runs, too, under the settings of the other methods and its own pick.
    `variants` of methods, as of an ablation, have settings and make none for the baselines. `blind`
    are the names of the blind baselines (`suite.plan.cells.blind_on`), which remove the same share
    at every site where a method has adaptive counts.
    """
    baselines = blind_baselines(blind)
    resolved: dict[MethodSpec, Resolved | None] = {}
    for method in [*methods, *variants]:
        resolved[method] = None
        if has_setting(method, spec):
            resolved[method] = resolve(method, spec.schedule, tries, spec.sites)
    added: dict[MethodSpec, Resolved | None] = {}
    for method in added_methods(methods, spec, baselines):
        added[method] = None
        # The blind baselines follow the others, below.
        if has_setting(method, spec) and method not in baselines:
            added[method] = resolve(method, spec.schedule, tries)
    settled = [*(resolved[method] for method in methods), *added.values()]
    occurring = [without_adaptive(one) for one in settled if one is not None]
    further = {}
    for baseline in baselines if spec.baselines else ():
        own = resolve(baseline, TUNED, tries)
        # At a method's own sites too, which are no more its merit than a schedule is.
        settings = {
            (one.setting, one.sites): Resolved(one.setting, sites=one.sites) for one in occurring
        }
        if own.tuned:
            settings[own.setting, None] = own
        if baseline in added:
            stands = Resolved(own.setting)
            if occurring and not any(one.tuned for one in occurring):
                stands = replace(occurring[0], tuned=False)
            elif not occurring:
                stands = replace(resolve(baseline, spec.schedule, tries), tuned=False)
                stands = without_adaptive(stands)
            added[baseline] = settings.pop((stands.setting, stands.sites), stands)
        further[baseline] = tuple(settings.values())
    return Chosen(resolved, added, further, baselines)


def without_adaptive(resolved: Resolved) -> Resolved:
    """A setting of which no baseline needs a score: adaptive counts become equal shares.

    That is what adaptive counts are of scores that are spread alike at all sites.
    """
    if resolved.setting.schedule != ADAPTIVE.name:
        return resolved
    return replace(resolved, setting=replace(resolved.setting, schedule=SCHEDULES[0]))


def blind_baselines(names: Sequence[str] = BLIND) -> tuple[MethodSpec, ...]:
    """The blind baselines of these names as they are."""
    return tuple(MethodSpec(name, {}) for name in names)


def resolve(
    method: MethodSpec,
    schedule: str,
    tries: Tries | None,
    sites: Sequence[int] | str | None = None,
) -> Resolved:
    """The setting of `method` in a run of this `schedule`; a window in its text is kept.

    It is at the method's own sites, unless the run has `sites` for all.
    """
    default = default_setting(method.method)
    name = method.schedule or schedule
    if name == TUNED:
        pick = picked(method, tries)
        setting, tuned = pick or default, pick is not None
    else:
        setting, tuned = replace(default, schedule=name), False
    window = method.options.get(WINDOW)
    if window is not None:
        setting = replace(setting, cls_window=int(window))
    return Resolved(setting, tuned, None if sites else method.method.sites)


def picked(method: MethodSpec, tries: Tries | None) -> Setting | None:
    """The setting that `method` was tuned to, as it is or without its other options; or None."""
    if tries is None:
        return None
    return tries.pick(method.untuned) or tries.pick(method.name)


def under_schedules(method: MethodSpec, sites: Sequence[int] | str | None = None) -> list[Resolved]:
    """The setting of `method` under each named schedule, with its own window or the default."""
    return [resolve(method, name, None, sites) for name in SCHEDULES]
