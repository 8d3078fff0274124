"""What a user should know of a plan before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from backbones.dense.windows import usual_stride
from methods.base import SCHEDULES
from suite.data.trained_on import training_of
from suite.plan.calibration import calibrated_on
from suite.plan.cells import REMOVING, Cell, needs_rectangle
from suite.plan.prepare import Prepared
from suite.plan.tuning_notes import why_evaluated
from suite.stats.blind_baselines import stand_ins
from suite.store.schema import CellRecord, Role
from suite.system.durations import duration


def notes_on_models(prepared: Prepared) -> list[str]:
    """What to know of the weights, the baselines and the protocol, and what images chose."""
    return [
        *notes_on_weights(prepared),
        *notes_on_baselines(prepared),
        *notes_on_protocol(prepared),
        *notes_on_sites(prepared),
        *notes_on_alphas(prepared),
        *notes_on_windows(prepared),
    ]


def notes_on_weights(prepared: Prepared) -> list[str]:
    """Say of each backbone which weights of its file were taken, what was changed and made up.

    Also where it was trained on classes of other names than the data have.
    """
    notes = []
    for name, model in prepared.models.items():
        told = model.provenance.told() if model.provenance else ""
        if told:
            notes.append(f"{name}, weights: {told}")
        training, given = training_of(model), prepared.dataset.classes
        if training and training.classes != given:
            one, other = next(
                pair for pair in zip(training.classes, given, strict=True) if pair[0] != pair[1]
            )
            notes.append(f"{name} was trained on a class '{one}', which the data call '{other}'")
    return notes


def notes_on_sites(prepared: Prepared) -> list[str]:
    """Say of each backbone which sites were chosen by a rule, and on which images."""
    kind = prepared.dataset.kind
    return [f"sites on {name}: {choice.words(kind)}" for name, choice in prepared.sites.items()]


def notes_on_alphas(prepared: Prepared) -> list[str]:
    """Say of each cell of adaptive counts its alpha, and on which images it was solved."""
    notes: dict[str, None] = {}
    for cell in prepared.main:
        if cell.plan and cell.plan.adaptive and cell.budget:
            own = cell.plan.adaptive
            on = calibrated_on(own.images, prepared.dataset.kind, own.split, own.content)
            where = f"{cell.label} at -{100 * cell.budget:.4g} % on {cell.backbone}"
            notes[f"alpha of {where}: {own.alpha:g}, solved on {on}"] = None
    return list(notes)


def notes_on_windows(prepared: Prepared) -> list[str]:
    """Say of each backbone that is shown all of a picture how, and what a picture costs."""
    notes = []
    for name, model in prepared.models.items():
        shown, size, how = prepared.data[name].inference, model.image_size, ""
        work = f"{prepared.mean_work[name]:.2f} times as many"
        if shown == "slide":
            how = (
                f"through windows of {size} x {size} pixels, {usual_stride(size)} apart: "
                f"{prepared.mean_views[name]:.2f} of a picture in the mean. FLOPs are those of a "
                f"window; a picture takes {work}"
            )
        if shown == "whole":
            how = (
                f"at once, their short side {size} pixels. FLOPs are those of a square; a picture "
                f"takes {work} in the mean"
            )
        if how:
            notes.append(f"{name} looks at pictures {how}")
    return notes


def notes_on_baselines(prepared: Prepared) -> list[str]:
    """Say of each backbone on which the blind baselines are others than usual, and why."""
    if not prepared.spec.baselines:
        return []
    return [stand_ins(name) for name, model in prepared.backbones.items() if needs_rectangle(model)]


def notes_on_protocol(prepared: Prepared) -> list[str]:
    """Name the methods that have no counts of tokens to be equal, and what they have instead."""
    if prepared.spec.protocol != "tokens":
        return []
    images = dict.fromkeys(cell.label for cell in prepared.main if cell.kind == "image")
    return [
        f"{label} removes no tokens at sites: under protocol tokens, too, it meets the budget in "
        "FLOPs"
        for label in images
    ]


def notes_on_smaller(records: Iterable[CellRecord]) -> list[str]:
    """Say of each smaller model beside which backbones it stands, and how much less it costs."""
    notes = []
    for record in records:
        for backbone, share in record.beside.items():
            saved = f"{100 * share:.1f} % fewer FLOPs"
            notes.append(f"smaller model beside {backbone}: {record.backbone}, dense, {saved}")
    return notes


def called(backbone: str, made_up: Sequence[str]) -> str:
    """A backbone in a finding: which of its parts are not trained belongs to its name."""
    return f"{backbone}, made up in part: {', '.join(made_up)}" if made_up else backbone


def notes_on_further(
    prepared: Prepared, seconds: Mapping[Role, float], done: Collection[str] = frozenset()
) -> list[str]:
    """Say of the cells that no main table shows how many they are, what for, and what they cost.

    `seconds` are estimates by role. Nothing is said of the cells of the keys `done`.
    """
    budget = f"-{100 * prepared.spec.headline_budget:.4g} % FLOPs"
    why: dict[Role, str] = {
        "blind": "the blind baselines under the other settings of this run, so that no method is "
        "said to beat them by its setting",
        "schedule": "the methods and the blind baselines under each of "
        f"{len(SCHEDULES)} schedules at {budget}, to see whether the order depends on it, since "
        f"{why_evaluated(prepared)} (--no-across-schedules leaves them out)",
        "tokens": f"the methods by equal counts of tokens at {budget}, beside equal FLOPs",
    }
    roles = Counter(cell.role for cell in prepared.cells if cell.plan and cell.key not in done)
    notes = []
    for role, reason in why.items():
        if roles[role]:
            cells = "1 more cell" if roles[role] == 1 else f"{roles[role]} more cells"
            notes.append(f"{cells}, about {duration(seconds.get(role, 0.0))}: {reason}")
    return notes


def made_up_warning(backbone: str, parts: Sequence[str]) -> str:
    """Warn that `parts` of a backbone are not trained; empty without any."""
    if not parts:
        return ""
    return (
        f"{backbone} is not trained as a whole: its weights lack {', '.join(parts)}, made up to "
        "fit. What is measured on it says nothing of a trained model."
    )


def unreachable_budgets(prepared: Prepared) -> list[str]:
    """Name each budget that no method can meet by removing tokens, and how close one comes."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in prepared.main:
        if cell.budget and cell.kind in REMOVING:
            groups.setdefault((cell.backbone, cell.budget), []).append(cell)
    sentences = []
    for (backbone, budget), cells in groups.items():
        shares = [(cell.closest, cell.label) for cell in cells if cell.closest is not None]
        # One method that meets it is enough: the others say so in their own rows.
        if not shares or any(cell.plan for cell in cells):
            continue
        share, label = min(shares, key=lambda pair: abs(pair[0] - budget))
        sentences.append(
            f"no method that removes tokens can remove {100 * budget:.4g} % of the FLOPs of "
            f"{backbone}: the closest, {label}, removes {100 * share:.1f} %."
        )
    return sentences
