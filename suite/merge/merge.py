"""Merge run folders into one that contains everything the report is drawn from."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbones.common.errors import UserError
from suite.analysis.ahead import ahead_tables
from suite.analysis.brief import brief
from suite.analysis.headline import Headline, make_headline, run_warnings
from suite.analysis.ranking import ranking_table
from suite.analysis.schedules import schedule_tables
from suite.analysis.statistics import compute_statistics, statistics_tables
from suite.config.run_spec import SCHEMA
from suite.merge.compatibility import noted_differences, refuse_different
from suite.merge.finished_run import BY_BACKBONE, FinishedRun, load_run, read_optional
from suite.merge.namesakes import tables_of, told_apart
from suite.merge.schedules import merged_answers
from suite.merge.tables import joined_tables, tables_of_pairs
from suite.merge.trainings import trainings_told_apart
from suite.merge.union import Union, unite
from suite.plan.settings import TUNED
from suite.retrain.recovery import recovery_tables
from suite.sensitivity.spec import SensitivitySpec
from suite.stats.schedules import read_schedules_table
from suite.store.results import Results
from suite.store.run_folder import Store
from suite.store.schema import TASKS
from suite.system.atomic_files import write_json


class MergedSpec(BaseModel):
    """Specification of a merged folder: what the runs have in common, and that of each run."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[4] = Field(default=SCHEMA, alias="schema")
    kind: Literal["merged"] = "merged"
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    protocol: str | None = None
    flops_convention: str = "flops"
    precision: str | None = None
    seeds: int | None = None
    runs: dict[str, dict[str, Any]]

    def default_name(self) -> str:
        """Name of the folder; the same runs always get the same one."""
        return f"merged-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"


def merge(folders: Sequence[Path], out: Path | None = None) -> tuple[Path, list[str]]:
    """Merge the runs in `folders` into `out`, by default beside the first; returns it and notes.

    UserError with the reason if they cannot be one report.
    """
    # Its cells would be compared with themselves.
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("the same run is named twice: name each once")
    runs = [load_run(folder) for folder in folders]
    refuse_namesakes(runs)
    runs = trainings_told_apart(runs)
    refuse_different(runs)
    runs = told_apart(runs)
    compared = [run for run in runs if run.compares]
    union = unite(compared)
    requested = requested_methods(union, compared)
    spec = merged_spec(runs, requested)
    store = Store.open(out or folders[0].resolve().parent / spec.default_name(), spec)
    write_cells(union, store)
    tables = joined_tables(runs, union)
    headline = Headline("", [], [], [], [])
    if compared:
        images = compared[0].images
        classes = len(compared[0].dataset.get("classes") or ()) or 2
        results = Results(store, [images], TASKS[compared[0].dense.task], classes)
        records = list(union.cells.values())
        measured = tuple(dict.fromkeys(record.backbone for record in records if record.shown))
        common = compared[0].comparison.model_copy(
            update={"backbones": measured, "methods": spec.methods, "axes": ()}
        )
        statistics = compute_statistics(records, results, common, requested)
        tables |= tables_of_pairs(union, results)
        tables |= statistics_tables(statistics) | ahead_tables(statistics, common.protocol)
        tables |= recovery_tables(records, results)
        tables |= schedule_tables(merged_answers(runs, union, results, requested))
        verdicts = read_schedules_table(tables["schedules"])
        tables["ranking"] = ranking_table(statistics, verdicts)
        warnings = run_warnings(statistics, common, classes, {})
        # What was doubtful in a run is so in the report of all.
        own = [str(text) for run in compared for text in run.headline.get("warnings") or ()]
        more = [text for text in dict.fromkeys(own) if text not in warnings]
        all_warnings = [*more, *warnings]
        headline = make_headline(statistics, common, requested, all_warnings, verdicts)
        headline = headline.in_brief(brief(statistics, tables["ranking"], verdicts))
    notes = [*noted_differences(runs), *schedule_notes(compared)]
    for path in (store.folder / "analyses").glob("*.parquet"):
        path.unlink()  # of an earlier merge
    for name, frame in tables.items():
        store.write_table(name, frame)
    store.write_headline(with_sentences(headline, runs, notes).record())
    store.write_dataset((compared or runs)[0].dataset)
    store.write_environment(merged_environment(runs, folders))
    return store.folder, notes


def refuse_namesakes(runs: Sequence[FinishedRun]) -> None:
    """UserError if two runs have one name, by which a merged report tells them apart."""
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two of the runs are called '{name}': rename one of the folders")


def requested_methods(union: Union, compared: Sequence[FinishedRun]) -> dict[str, str]:
    """Specs and families of the methods that some run named, in the order of the runs."""
    # Texts as users wrote them: parsing one could run a user's file.
    named = {text for run in compared for text in run.comparison.methods}
    requested = {}
    for record in union.cells.values():
        # What is no baseline was named, or made by an axis.
        if record.shown and (record.spec in named or record.family != "baseline"):
            requested[record.spec] = record.family
    return requested


def merged_spec(runs: Sequence[FinishedRun], methods: Iterable[str]) -> MergedSpec:
    """The specification of the merged folder."""
    backbones: list[str] = []
    for run in runs:
        if isinstance(run.spec, SensitivitySpec):
            backbones.append(run.spec.called)
        else:
            backbones += getattr(run.spec, "named", ())
    common: dict[str, Any] = {}
    compared = [run.comparison for run in runs if run.compares]
    if compared:
        common = compared[0].model_dump(include={"protocol", "flops_convention", "precision"})
        # What the table may show at most; each row has its own.
        common["seeds"] = max(spec.seeds for spec in compared)
    return MergedSpec(
        backbones=tuple(dict.fromkeys(backbones)),
        methods=tuple(methods),
        runs={run.name: run.spec.model_dump(mode="json") for run in runs},
        **common,
    )


def write_cells(union: Union, store: Store) -> None:
    """Write records, outcomes and timings of all cells; those of an earlier merge are deleted."""
    for place in (store.folder / "shards").glob("*"):
        if place.name not in union.cells:
            shutil.rmtree(place)
    for key, record in union.cells.items():
        run = union.source[key]
        if record.status == "ok":
            # All shards of a cell as one.
            frame = run.outcomes(record)
            path = store.outcomes_path(key, 0)
            store.write_checked({path: (frame, store.contents(path, run.images))})
        timing = read_optional(run.folder / "timing" / f"{key}.json")
        if timing:
            write_json(store.folder / "timing" / f"{key}.json", timing)
    store.write_cells(union.cells.values())


def with_sentences(
    headline: Headline, runs: Sequence[FinishedRun], notes: Sequence[str]
) -> Headline:
    """Add the findings of runs that compare nothing, and the notes on the merge.

    If all comparisons are ablations their own sentences lead.
    """
    compared = [run for run in runs if run.compares]
    paragraphs = headline.paragraphs
    # Who is best is no question of an ablation.
    if compared and all(run.comparison.axes for run in compared):
        first, *others = dict.fromkeys(_sentence(run) for run in compared)
        headline, paragraphs = replace(headline, headline=first), [*others, *paragraphs]
    sentences = [_sentence(run) for run in runs if not run.compares]
    sentences = [sentence for sentence in sentences if sentence]
    first = headline.headline or next(iter(sentences), "")
    more = [sentence for sentence in sentences if sentence != first]
    return replace(headline, headline=first, paragraphs=[*paragraphs, *more, *notes])


def _sentence(run: FinishedRun) -> str:
    """The finding of a run that leads there; of an ablation under the names of its methods here."""
    if run.names and (told := tables_of(run).get("ablation_sentences")) is not None:
        return str(told["sentence"].iloc[0])
    return str(run.headline.get("headline") or "")


def schedule_notes(compared: Sequence[FinishedRun]) -> list[str]:
    """Say which schedule a method that names none follows, where the merged runs have several."""
    schedules = list(dict.fromkeys(run.comparison.schedule for run in compared))
    if len(schedules) < 2:
        return []
    if schedules[0] == TUNED:
        return ["Methods named without a schedule follow the one that they were tuned to."]
    return [f"Methods named without a schedule follow {schedules[0]}."]


def merged_environment(runs: Sequence[FinishedRun], folders: Sequence[Path]) -> dict[str, Any]:
    """What is equal in the environments of all runs, the rest by run, and all commands."""
    equal = {}
    for name, value in runs[0].environment.items():
        if name not in BY_BACKBONE and all(run.environment.get(name) == value for run in runs):
            equal[name] = value
    by_backbone: dict[str, dict[str, Any]] = {name: {} for name in BY_BACKBONE}
    rest: dict[str, dict[str, Any]] = {}
    commands, finished = [], ""
    for run in runs:
        environment = dict(run.environment)
        command = environment.pop("command", "")
        commands.append(str(command or f"# the command of {run.name} is not known"))
        finished = max(finished, str(environment.get("finished") or ""))
        for name, values in by_backbone.items():
            values |= environment.pop(name, None) or {}
        rest[run.name] = {name: v for name, v in environment.items() if name not in equal}
    commands.append(shlex.join(["python", "-m", "suite", "report", *map(str, folders)]))
    return {
        **equal,
        **by_backbone,
        "finished": finished,
        "runs": rest,
        "command": "\n".join(commands),
    }
