"""What the suite gave before the rearrangement, and whether it still gives the same.

``python tests/golden/golden.py record FOLDER`` runs the commands below and stores what they give in
                                                ``record.tar.xz``;
``python tests/golden/golden.py compare FOLDER`` runs them again and lists what differs (runs that
                                                 are in FOLDER already
are not run again). Times, hashes, file names and the environment are not compared. Deleted when the
work is done.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = HERE / "record.tar.xz"
RUNS = {
    "default": "compare --methods mtr,tome",
    "all": "compare --methods all --budgets 0.4 --images 200",
    "two": "compare --backbones videomamba_nano,deit_nano --methods mtr,tome,evit --budgets 0.4 --images 200",
    "ablate": "ablate --axes order --images 100",
    "sens": "sensitivity --images 4",
}
# Columns and fields that are called otherwise now: new name -> name in the record.
RENAMED: dict[str, str] = {
    "spec": "text",
    "significant": "told_apart",
    "can_rank": "ranks",
    "mixer": "family",
    "position": "place",
}
# Tables that are called otherwise now.
RENAMED_TABLES: dict[str, str] = {
    "blind_comparison": "blind",
    "kept_tokens": "kept",
    "first_errors": "breaks",
    "token_overlap": "similarity",
    "method_similarity": "similarity-pairs",
    "mantel_test": "similarity-link",
    "mamba_vs_attention": "families",
    "mamba_minus_attention": "family-contrasts",
    "ablation_sentences": "ablation_words",
}
# Columns that are called otherwise now in one table alone, by the table's present name.
DIFFERENCE = {"difference_low": "low", "difference_high": "high"}
PAIRED = {
    "only_method_correct": "discordant_better",
    "only_reference_correct": "discordant_worse",
}
RENAMED_IN: dict[str, dict[str, str]] = {
    "cells": {
        "removed": "reduction_fraction",
        "removals": "counts",
        "flops_convention": "convention",
    },
    "outcomes": {"label_true": "label"},
    "images": {"label_true": "label"},
    "statistics": {
        "top1": "method_top1",
        "top1_low": "method_low",
        "top1_high": "method_high",
        **DIFFERENCE,
        **PAIRED,
    },
    "export": {
        "batch_size": "batch",
        "shard_size": "shard",
        "top1_mean": "method_top1",
        "removals": "counts",
        "flops_convention": "convention",
        "top1_low": "method_low",
        "top1_high": "method_high",
        **PAIRED,
    },
    "blind_comparison": DIFFERENCE,
    "sensitivity_methods": {"tokens_removed": "removed"},
    "mamba_minus_attention": DIFFERENCE,
    "mamba_vs_attention": {"kept_low": "low", "kept_high": "high"},
    "ablation": {
        "top1_low": "low",
        "top1_high": "high",
        "only_method_correct": "gained",
        "only_reference_correct": "lost",
    },
}
IDENTITY = ["backbone", "label", "budget", "seed"]
PASSED_OVER = {"key", "weights", "hash", "png", "version", "schema", "task"}
LOSS, MARGIN = 1e-4, 1e-4
EMPTY = ["null", "{}", "[]"]


def run(folder: Path) -> None:
    """Run every command whose run folder is not there yet."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def suite(words: str) -> None:
        began = time.perf_counter()
        line = [sys.executable, "-m", "suite", *words.split()]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
        print(f"{time.perf_counter() - began:6.1f} s  {done.returncode}  {words}", flush=True)
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:])

    for name, words in RUNS.items():
        if not (folder / name / "report" / "index.html").is_file():
            suite(f"{words} --runs {folder} --name {name}")
    if not (folder / "merged").is_dir():
        suite(f"report {folder}/all {folder}/two --out {folder}/merged")
    if not (folder / "export.csv").is_file():
        suite(f"export {folder}/default --format csv --out {folder}/export.csv")


def old_names(table: str) -> dict[str, str]:
    """The names of columns in the record by those of today, in one table."""
    return RENAMED | RENAMED_IN.get(table, {})


def plain(value: object) -> object:
    """A cell's record with the old names of fields, without what is not compared."""
    if isinstance(value, dict):
        if set(value) == {"tokens"}:  # a removal, then an integer
            return value["tokens"]
        names = old_names("cells")
        kept = {names.get(str(name), str(name)): plain(inner) for name, inner in value.items()}
        return {name: inner for name, inner in sorted(kept.items()) if name not in PASSED_OVER}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Everything that is compared, as tables by name."""
    found: dict[str, pd.DataFrame] = {}
    for run_folder in sorted(path for path in folder.iterdir() if (path / "spec.yaml").is_file()):
        name = run_folder.name
        cells, outcomes = [], []
        for path in sorted((run_folder / "cells").glob("*.json")):
            record = json.loads(path.read_text("utf-8"))
            cell = plain(record)
            assert isinstance(cell, dict)
            cells.append({key: json.dumps(value) for key, value in cell.items()})
            for part in sorted((run_folder / "shards" / path.stem).glob("*.parquet")):
                frame = pd.read_parquet(part).rename(columns=old_names("outcomes"))
                who = {key: str(cell.get(key)) for key in IDENTITY}
                outcomes.append(frame.assign(**who))
        if cells:
            found[f"{name}/cells"] = pd.DataFrame(cells).sort_values(IDENTITY, ignore_index=True)
        if outcomes:
            whole = pd.concat(outcomes, ignore_index=True)
            found[f"{name}/outcomes"] = whole.sort_values([*IDENTITY, "image"], ignore_index=True)
        for path in sorted((run_folder / "analyses").glob("*.parquet")):
            frame = pd.read_parquet(path).rename(columns=old_names(path.stem))
            frame = frame.drop(columns=PASSED_OVER.intersection(frame.columns))
            for column in frame.columns:
                if (
                    frame[column]
                    .map(lambda value: isinstance(value, np.ndarray | list | bytes))
                    .any()
                ):
                    frame[column] = [str(list(value)) for value in frame[column]]
            table = RENAMED_TABLES.get(path.stem, path.stem)
            found[f"{name}/{table}"] = frame
    export = pd.read_csv(folder / "export.csv").rename(columns=old_names("export"))
    if "counts" in export:
        export["counts"] = [
            json.dumps(plain(json.loads(text)), sort_keys=True) if isinstance(text, str) else text
            for text in export["counts"]
        ]
    changing = [
        "key",
        "data_hash",
        "weights_sha256",
        "weights",
        "task",
        "git",
        "started",
        "finished",
        "suite",
        "cpu",
        "torch",
        "python",
    ]
    found["export"] = export.drop(columns=[name for name in changing if name in export.columns])
    return found


def save(found: dict[str, pd.DataFrame]) -> None:
    """Put the tables in ``record.tar.xz``."""
    with tarfile.open(RECORD, "w:xz") as archive:
        for name, frame in found.items():
            content = io.BytesIO()
            frame.to_parquet(content, compression="none")
            entry = tarfile.TarInfo(f"{name}.parquet")
            entry.size = content.tell()
            content.seek(0)
            archive.addfile(entry, content)


def load() -> dict[str, pd.DataFrame]:
    """The tables of ``record.tar.xz``."""
    found = {}
    with tarfile.open(RECORD) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            found[entry.name.removesuffix(".parquet")] = pd.read_parquet(io.BytesIO(content.read()))
    return found


def differences(name: str, before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """What differs between two tables, in lines."""
    lines = []
    for side, columns in (
        ("gone", set(before.columns) - set(after.columns)),
        ("new", set(after.columns) - set(before.columns)),
    ):
        if columns:
            lines.append(f"{name}: columns {side}: {', '.join(sorted(map(str, columns)))}")
    if len(before) != len(after):
        return [*lines, f"{name}: {len(before)} rows before, {len(after)} now"]
    shared = [column for column in before.columns if column in after.columns]
    keys = [column for column in shared if not pd.api.types.is_float_dtype(before[column])]
    for column in shared:
        one, other = before[column], after[column]
        if pd.api.types.is_float_dtype(one) and pd.api.types.is_numeric_dtype(other):
            first, second = one.to_numpy(float), other.to_numpy(float)
            gap = np.where(np.isnan(first) & np.isnan(second), 0.0, np.abs(first - second))
            gap = np.nan_to_num(gap, nan=np.inf)
            far = gap > LOSS if name.endswith("/outcomes") else gap > 1e-9
            if far.any():
                lines.append(
                    f"{name}.{column}: {far.sum()} of {len(far)} differ, largest {gap.max():.3g}"
                )
        else:
            one, other = (
                part.astype(object).where(part.notna(), "nothing").astype(str)
                for part in (one, other)
            )
            if name.endswith("/cells"):  # fields that a skipped cell has not got were left out
                one, other = (part.mask(part.isin(EMPTY), "nothing") for part in (one, other))
            unequal = one.to_numpy() != other.to_numpy()
            if unequal.any():
                where = before.loc[unequal, [key for key in keys if key in IDENTITY]].head(2)
                shown = f"{one[unequal].iloc[0]!s:.90} -> {other[unequal].iloc[0]!s:.90}"
                lines.append(
                    f"{name}.{column}: {unequal.sum()} of {len(one)} differ, as {shown} at {where.to_dict('records')}"
                )
    if name.endswith("/outcomes") and "prediction" in shared:
        flipped = before.prediction.to_numpy() != after.prediction.to_numpy()
        near = before.margin.abs().to_numpy() < MARGIN
        lines += (
            [f"{name}: {(flipped & near).sum()} flips within the margin of {MARGIN}"]
            if (flipped & near).any()
            else []
        )
        if (flipped & ~near).any():
            lines.append(f"{name}: {(flipped & ~near).sum()} FLIPS BEYOND THE MARGIN")
    return lines


def main() -> int:
    """Record or compare."""
    what, folder = sys.argv[1], Path(sys.argv[2]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if what != "read":
        run(folder)
    found = tables(folder)
    if what in ("record", "read"):
        save(found)
        print(f"{len(found)} tables, {RECORD.stat().st_size:,} bytes")
        return 0
    before = load()
    lines = [
        f"{name}: {side}"
        for side, names in (
            ("gone", before.keys() - found.keys()),
            ("new", found.keys() - before.keys()),
        )
        for name in sorted(names)
    ]
    for name in sorted(before.keys() & found.keys()):
        lines += differences(name, before[name], found[name])
    print("\n".join(lines) or f"all {len(before)} tables are equal")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
