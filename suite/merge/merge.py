"""Several run folders made one, which holds all that the report is drawn from."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from backbones.common.errors import UserError
from suite.analysis.mamba_vs_attention import family, family_frames
from suite.analysis.statistics import summarise
from suite.config.run_spec import SCHEMA, RunSpec
from suite.merge.compatibility import refuse_unlike, unlike_settings
from suite.merge.finished_run import Part, Record, read_json, read_part
from suite.merge.tables import anew, joined, shapes
from suite.merge.union import Union, unite
from suite.store.run_folder import Store
from suite.system.atomic_files import write_json

OF_EACH = ("kernel", "weights", "adapted", "preprocessing")  # of the environment, by backbone


class MergedSpec(BaseModel):
    """What a merged folder was made of: what all runs have in common on top, then each run's own specification."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[2] = Field(default=SCHEMA, alias="schema")
    kind: Literal["merged"] = "merged"
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    protocol: str | None = None
    flops_convention: str = "flops"
    precision: str | None = None
    seeds: int | None = None
    runs: dict[str, dict[str, Any]]

    def default_name(self) -> str:
        """Folder name that says what it is; the same runs always go to the same folder."""
        return f"merged-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"


def merge(folders: Sequence[Path], out: Path | None = None) -> tuple[Path, list[str]]:
    """Put the runs in `folders` together in `out`, by default beside the first; the folder and what is to be told.

    UserError with the reason for which they cannot be one.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("the same run is named twice: name each once")
    parts = [read_part(folder) for folder in folders]
    refuse_namesakes(parts)
    refuse_unlike(parts)
    compared = [part for part in parts if isinstance(part.spec, RunSpec)]
    union = unite(compared)
    spec = merged_spec(parts, union)
    store = Store.open(out or folders[0].resolve().parent / spec.default_name(), spec)
    told = [*unlike_settings(parts), *union.told, *schedules_told(compared)]
    write_cells(union, store)
    tables = dict(joined(parts, union))
    found: dict[str, Any] = {"headline": "", "resolution": [], "warnings": [], "paragraphs": []}
    if compared:
        tables |= dict(anew(compared, union, store))
        found = statistics(compared, union, store, spec)
        houses = dict.fromkeys(record["backbone"] for record in union.cells.values())
        kinds = {name: family(model) for name, model in shapes(houses).items()}
        tables |= family_frames(kinds, list(union.cells.values()), store, 1)
    for name, frame in tables.items():
        store.write_analysis(name, frame)
    for path in (store.folder / "analyses").glob("*.parquet"):
        if path.stem not in {*tables, "statistics", "blind_comparison"}:
            path.unlink()
    store.write_headline(in_words(found, parts, told))
    store.write_dataset((compared or parts)[0].dataset)
    store.write_environment(environment(parts, folders))
    return store.folder, told


def refuse_namesakes(parts: Sequence[Part]) -> None:
    """UserError if two runs bear one name, by which everything else tells them apart."""
    names = [part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two of the runs are called '{twice}': rename one of the folders")


def merged_spec(parts: Sequence[Part], union: Union) -> MergedSpec:
    """What the union was made of."""
    compared = [part.asked for part in parts if isinstance(part.spec, RunSpec)]
    first = compared[0] if compared else None
    return MergedSpec(
        backbones=tuple(dict.fromkeys(name for part in parts for name in part.backbones)),
        methods=tuple(asked(union, compared)),
        protocol=first.protocol if first else None,
        flops_convention=first.flops_convention if first else "flops",
        precision=first.precision if first else None,
        seeds=max((spec.seeds for spec in compared), default=None),
        runs={part.name: part.spec.model_dump(mode="json") for part in parts},
    )


def asked(union: Union, specs: Sequence[RunSpec]) -> dict[str, str]:
    """Text and family of every method that some run was asked for, in the order of the runs."""
    wanted = {text for spec in specs for text in spec.methods}
    return {
        record["spec"]: record["family"]
        for record in union.cells.values()
        if record["spec"] in wanted or record["family"] != "baseline"
    }


def write_cells(union: Union, store: Store) -> None:
    """Records, outcomes and timings of all cells; those of an earlier merge that are no longer among them go."""
    store.forget_cells_but(union.cells)
    for place in (store.folder / "shards").glob("*"):
        if place.name not in union.cells:
            shutil.rmtree(place)
    for key, record in union.cells.items():
        part = union.source[key]
        if record["status"] == "ok":
            frame = part.outcomes(key)
            if not np.array_equal(frame.image, part.images):
                place = part.folder / "shards" / key
                raise UserError(
                    f"the outcomes in {place} are of other images than the dense model's: run it again"
                )
            path = store.shard_path(key, 0)
            store.write_sealed({path: (frame, store.holding(path, part.images))})
        timing = read_json(part.folder / "timing" / f"{key}.json")
        if timing:
            write_json(store.folder / "timing" / f"{key}.json", timing)
        store.write_cell(key, record)


def statistics(
    compared: Sequence[Part], union: Union, store: Store, spec: MergedSpec
) -> dict[str, Any]:
    """Paired statistics over all cells, and the headline; an ablation's sentences lead where all runs are such."""
    records: list[Record] = list(union.cells.values())
    first = compared[0].asked
    backbones = tuple(
        name for name in spec.backbones if any(record["backbone"] == name for record in records)
    )
    common = first.model_copy(update={"backbones": backbones, "methods": spec.methods, "axes": ()})
    classes = len(compared[0].dataset.get("classes") or ()) or 2
    found, _ = summarise(
        records, common, asked(union, [part.asked for part in compared]), store, 1, classes, {}
    )
    warned = dict.fromkeys(
        str(text) for part in compared for text in part.headline.get("warnings") or ()
    )
    more = [text for text in warned if text not in found["warnings"]]
    found |= {"warnings": [*found["warnings"], *more], "paragraphs": [*more, *found["paragraphs"]]}
    if all(part.asked.axes for part in compared):
        sentences = list(dict.fromkeys(_sentences(part) for part in compared))
        found |= {"headline": sentences[0], "paragraphs": [*sentences[1:], *found["paragraphs"]]}
    return found


def _sentences(part: Part) -> str:
    return str(part.headline.get("headline") or "")


def in_words(found: dict[str, Any], parts: Sequence[Part], told: Sequence[str]) -> dict[str, Any]:
    """The headline with the sentences of the runs that compare nothing, and what is to be told of the merge."""
    others = [_sentences(part) for part in parts if not isinstance(part.spec, RunSpec)]
    others = [sentence for sentence in others if sentence]
    headline = found["headline"] or next(iter(others), "")
    more = [sentence for sentence in others if sentence != headline]
    return found | {"headline": headline, "paragraphs": [*found["paragraphs"], *more, *told]}


def schedules_told(compared: Sequence[Part]) -> list[str]:
    """What a method's name without a schedule means, where the runs follow several."""
    found = list(dict.fromkeys(part.asked.schedule for part in compared))
    return [f"Methods named without a schedule follow {found[0]}."] if len(found) > 1 else []


def environment(parts: Sequence[Part], folders: Sequence[Path]) -> dict[str, Any]:
    """What the runs ran on: what is the same for all on top, the rest by run; the commands that repeat all of it."""
    first = parts[0].environment
    same = {
        name: value
        for name, value in first.items()
        if name not in OF_EACH and all(part.environment.get(name) == value for part in parts)
    }
    of_each: dict[str, dict[str, Any]] = {name: {} for name in OF_EACH}
    for part in parts:
        for name, values in of_each.items():
            values |= part.environment.get(name) or {}
    rest = {
        part.name: {
            name: value
            for name, value in part.environment.items()
            if name not in {*same, *OF_EACH, "command"}
        }
        for part in parts
    }
    commands = [
        str(part.environment.get("command") or f"# the command of {part.name} is not known")
        for part in parts
    ]
    commands.append(shlex.join(["python", "-m", "suite", "report", *map(str, folders)]))
    finished = max(str(part.environment.get("finished") or "") for part in parts)
    return {**same, **of_each, "finished": finished, "runs": rest, "command": "\n".join(commands)}
