"""What a user should know of the tuning behind a plan: what is tuned, what is not, and the mend."""

from __future__ import annotations

from backbones.common.labels import data_label
from methods.spec import MethodSpec
from suite.plan.further import unanswered
from suite.plan.layout import incompatibility
from suite.plan.loading import shown_as_usual
from suite.plan.prepare import Prepared
from suite.plan.settings import TUNED, Resolved
from suite.plan.tuning_commands import tune_command
from suite.stats.correctness import counted
from suite.tries.few_images import few_images


def notes_on_settings(prepared: Prepared, in_full: bool = True) -> list[str]:
    """Say of each backbone which methods are tuned and which not, and how those would be.

    If not `in_full`, methods at a setting that was chosen for them are passed over.
    """
    notes: list[str] = []
    wanted: dict[str, None] = {}
    for backbone in prepared.settings:
        notes += _on_backbone(prepared, backbone, in_full)
        wanted |= dict.fromkeys(_to_tune(prepared, backbone))
    # Sites that differ between backbones are in no one command.
    specs = {prepared.spec_on(name).sites: prepared.spec_on(name) for name in prepared.settings}
    if wanted and len(specs) == 1:
        (spec,) = specs.values()
        command = tune_command(spec, prepared.dataset, list(wanted))
        notes.append(
            f"to tune: `{command}`, then add the --tries FOLDER that it prints to this command"
        )
    notes += [f"WARNING: {warning}" for warning in warnings_on_tries(prepared)]
    if prepared.set_aside:
        data = prepared.dataset
        images = counted(prepared.set_aside, data.kind, data.split)
        notes.append(f"left out: the {images} that picked the settings")
    return notes


def warnings_on_tries(prepared: Prepared) -> list[str]:
    """Warn of each backbone whose settings were picked on few images."""
    warnings = []
    for name, tries in prepared.tries.items():
        few = few_images(len(tries.origin.images), prepared.dataset.kind, tries.metric)
        if few and prepared.settings[name].tuned:
            warnings.append(f"The settings on {name} were picked on {few}.")
    return warnings


def why_evaluated(prepared: Prepared) -> str:
    """Why the run evaluates methods under every schedule: what the tables of tries lack."""
    backbones: dict[str, list[str]] = {}
    for name in dict.fromkeys(cell.backbone for cell in prepared.across):
        tries, blind = prepared.tries.get(name), prepared.settings[name].blind
        reason = unanswered(tries, prepared.methods, prepared.spec_on(name), blind)
        backbones.setdefault(reason, []).append(name)
    if len(prepared.backbones) == 1:
        return "".join(backbones)
    return "; ".join(f"{reason} ({', '.join(names)})" for reason, names in backbones.items())


def _on_backbone(prepared: Prepared, backbone: str, in_full: bool) -> list[str]:
    """The methods that are tuned on a backbone, those without tries, and those without a pick."""
    asked = prepared.settings[backbone].methods
    tuned: list[str] = []
    own: list[str] = []
    untried: list[str] = []
    without_pick: list[tuple[str, str]] = []
    for method, resolved in _following(prepared, backbone):
        if resolved.tuned:
            # Those beside the methods that were asked for are in the table of results.
            if method in asked:
                tuned.append(f"{method.label} {resolved.setting}")
        elif _is_tried(method, prepared, backbone):
            without_pick.append((method.label, resolved.setting.schedule))
        elif method.method.has_own_setting:
            where = " at its own sites" if resolved.sites else ""
            own.append(f"{method.label} {resolved.setting}{where}")
        else:
            untried.append(method.label)
    notes = [f"tuned on {backbone}: {'; '.join(tuned)}"] if tuned and in_full else []
    if own and in_full:
        notes.append(f"not tuned on {backbone}, as the method says itself: {'; '.join(own)}")
    if untried:
        who = ", ".join(untried) if tuned or own or without_pick else "any method"
        where = f"{backbone} and {data_label(prepared.spec.data)}"
        notes.append(f"no tuned settings for {who} on {where}: constant-ratio")
    for label, schedule in without_pick:
        notes.append(f"no try of {label} on {backbone} meets every budget: {schedule}")
    return notes


def _to_tune(prepared: Prepared, backbone: str) -> list[str]:
    """The methods to tune, as `tune` takes them; none if no tuning would change a setting."""
    asked, blind = prepared.settings[backbone].methods, prepared.settings[backbone].blind
    can = [pair for pair in _following(prepared, backbone) if pair[0].method.kind == "sequence"]
    # `tune` shows pictures as usual: its tries would be of other images.
    shown = prepared.spec.inference
    if not shown_as_usual(prepared.models[backbone], prepared.dataset, shown):
        return []
    if all(one.tuned or _is_tried(method, prepared, backbone) for method, one in can):
        return []
    # All of them, since a comparison reads one table. `tune` adds the blind baselines by itself.
    return [method.untuned for method, _ in can if method in asked or method not in blind]


def _is_tried(method: MethodSpec, prepared: Prepared, backbone: str) -> bool:
    tries = prepared.tries.get(backbone)
    return tries is not None and method.untuned in tries.methods


def _following(prepared: Prepared, backbone: str) -> list[tuple[MethodSpec, Resolved]]:
    """The methods that no schedule was named for, with their settings on a backbone.

    First those asked for, then those that stand beside them. The blind baselines are among them
    only beside methods that are tuned, since they follow the first method elsewhere. Those that
    cannot run on the backbone have no setting to speak of: the results give the reason.
    """
    spec, chosen = prepared.spec, prepared.settings[backbone]
    model = prepared.models[backbone]
    following: list[tuple[MethodSpec, Resolved]] = []
    for method in prepared.methods:
        resolved = chosen.methods.get(method)
        composition = method.composition(model.provides)
        runs = composition is None or incompatibility(composition, model) is None
        if resolved and runs and (method.schedule or spec.schedule) == TUNED:
            following.append((method, resolved))
    if spec.schedule == TUNED:
        for method in sorted(chosen.added, key=lambda added: added in chosen.blind):
            resolved = chosen.added[method]
            follows = method not in chosen.blind or any(one.tuned for _, one in following)
            if resolved and follows:
                following.append((method, resolved))
    return following
