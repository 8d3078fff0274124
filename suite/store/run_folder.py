"""The files of a run: where each is, and how it is written and checked.

Every file is written under a temporary name and renamed when complete, so a run killed at any
moment contains whole files only, and resumes with those that are missing. What cannot be derived
from other files carries a checksum and says what it contains (`suite.store.checksums`); a file
found damaged or foreign is set aside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from backbones.common.documents import read_json
from backbones.common.errors import UserError
from suite.config.spec_file import SPEC, read_spec, to_yaml
from suite.data.base import Seen, digest
from suite.store.checksums import parquet, verify_checksum, with_checksum
from suite.store.locks import RunLock, file_lock
from suite.store.schema import CellRecord, read_record
from suite.system.atomic_files import to_json, write_atomic, write_json, write_text

LOCK = "run.lock"
LISTING = "listing.json"
SITES = "sites.json"
ALPHAS = "alphas.json"
DAMAGED = "is torn or was changed"
Images = NDArray[np.int64]


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write `frame` to `path` as Parquet in one step; equal frames give equal bytes."""
    write_atomic({path: parquet(frame)})


class Listing(NamedTuple):
    """The images that a run began with: their numbers and names, and how many the data had."""

    numbers: Images
    names: list[str]
    total: int


@dataclass(frozen=True)
class Store:
    """The folder of one run."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, spec: BaseModel, resume: bool = True) -> Store:
        """Start a run in `folder`, or `resume` the one of this spec; UserError if it differs."""
        if cls.check(folder, spec, resume):
            write_text(folder / SPEC, to_yaml(spec))
        return cls(folder)

    @classmethod
    def check(cls, folder: Path, spec: BaseModel, resume: bool = True) -> bool:
        """Whether a run would start in `folder`, not resume; UserError if it can do neither."""
        # The settings make the run: without them the files of a folder mean nothing.
        path = folder / SPEC
        if not path.exists():
            if is_free(folder):
                return True
            raise UserError(f"{folder} is not empty and holds no run: choose another folder")
        # Cells of two settings in one folder would be reported as one run.
        if changed := differing(read_spec(path, type(spec)), spec):
            raise UserError(
                f"{folder} holds a run with other settings: choose another folder (its {changed})"
            )
        if not resume:
            raise UserError(
                f"{folder} holds this run already: leave out --no-resume, or choose another folder"
            )
        return False

    def lock(self, name: str, wait: bool) -> AbstractContextManager[bool]:
        """Keep other processes from the work `name` (see `suite.store.locks.file_lock`)."""
        return file_lock(self.folder / "locks" / name, wait)

    def outcomes_path(self, key: str, index: int) -> Path:
        """File of the outcomes of cell `key` on shard `index`, a row an image."""
        return self.folder / "shards" / key / f"{index:05d}.parquet"

    def tokens_path(self, key: str, index: int) -> Path:
        """File of the counts of surviving tokens of cell `key` on shard `index`."""
        return self.folder / "tokens" / key / f"{index:05d}.parquet"

    def failure_path(self, key: str, index: int) -> Path:
        """File that says why cell `key` could not be evaluated on shard `index`."""
        return self.folder / "failures" / key / f"{index:05d}.json"

    def name(self, path: Path) -> str:
        """Place of a file in the run, such as ``shards/KEY/00000``."""
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def seen_path(self, index: int) -> Path:
        """File of what the images of shard `index` were when evaluated, if they are in files."""
        return self.folder / "seen" / f"{index:05d}.json"

    def seen(self, index: int) -> dict[int, Seen]:
        """What is written at `seen_path`; nothing if that is missing or damaged."""
        try:
            rows = read_json(self.seen_path(index)).items()
            return {int(number): Seen(str(row[0]), str(row[1])) for number, row in rows}
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return {}

    def all_seen(self) -> dict[int, Seen]:
        """What the images of all shards were."""
        seen: dict[int, Seen] = {}
        for path in sorted((self.folder / "seen").glob("*.json")):
            if path.stem.isdecimal():
                seen |= self.seen(int(path.stem))
        return seen

    def listing(self) -> Listing | None:
        """The images in files that the run began with; None if there are none on record."""
        try:
            value = read_json(self.folder / LISTING)
            numbers = np.array(value["numbers"], np.int64)
            return Listing(numbers, [str(name) for name in value["names"]], int(value["total"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write_listing(self, listing: Listing) -> None:
        """Write which images in files the run is about."""
        content = listing._replace(numbers=listing.numbers.tolist())._asdict()
        write_json(self.folder / LISTING, content)

    def contents(self, path: Path, images: Images, held: Sequence[str] = ()) -> str:
        """What the file at `path` says that it contains: its place in the run, and the images.

        `held` are the hashes of what images in files held.
        """
        # Shards of equal names hold other images after a change of --images.
        content = images.tobytes() + "".join(held).encode()
        images_hash = hashlib.sha256(content).hexdigest()[:16]
        return f"{self.name(path)} of {len(images)} images {images_hash}"

    def has_shard(self, key: str, index: int, images: Images, held: Sequence[str] = ()) -> bool:
        """Return whether both files of cell `key` on shard `index` of these `images` are sound."""
        valid = []
        # Both are looked at, so that both are set aside if they are damaged.
        for path in (self.tokens_path(key, index), self.outcomes_path(key, index)):
            valid.append(self.is_valid(path, self.contents(path, images, held)))
        return all(valid)

    def keeps(self, key: str, index: int, images: Images, held: Sequence[str]) -> bool:
        """Return the same, but leave files alone that are not sound or of other images."""
        keeps = []
        for path in (self.tokens_path(key, index), self.outcomes_path(key, index)):
            try:
                problem = verify_checksum(path.read_bytes(), self.contents(path, images, held))
            except OSError:
                problem = "is missing"
            keeps.append(not problem)
        return all(keeps)

    def forget_others(self, key: str, index: int, images: Images, held: Sequence[str]) -> None:
        """Delete those files of cell `key` on shard `index` that are sound, but of other images."""
        for path in (self.outcomes_path(key, index), self.tokens_path(key, index)):
            if path.is_file():
                problem = verify_checksum(path.read_bytes(), self.contents(path, images, held))
                if str(problem).startswith(f"holds {self.name(path)} of "):
                    path.unlink()

    def count_outcomes(self, keys: Sequence[str], shards: Sequence[Images]) -> tuple[int, int]:
        """Outcomes on disk of these cells on these shards, one image under one cell each; of all.

        Whether the files are sound is checked when their shard is due; here it would take long.
        """
        done = total = 0
        for key in keys:
            for index, images in enumerate(shards):
                total += len(images)
                if self.outcomes_path(key, index).is_file():
                    done += len(images)
        return done, total

    def is_valid(self, path: Path, contents: str) -> bool:
        """Whether the file at `path` is there with these `contents`; else it is set aside."""
        try:
            problem = verify_checksum(path.read_bytes(), contents)
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            problem = "is a folder"
        if problem:
            self.quarantine(path, problem)
        return not problem

    def quarantine(self, path: Path, problem: str) -> None:
        """Move a damaged or foreign file to ``set-aside/``, and say so on standard error."""
        name = path.relative_to(self.folder)
        # Kept, since it may be somebody's only copy of something.
        target = self.folder / "set-aside" / name
        # The same file may be damaged more than once.
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{name.name}.{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(path, target)
        except FileNotFoundError:
            return  # another process was faster
        print(f"{path} {problem}: set aside as {target}, it is made again", file=sys.stderr)

    def write_shards(
        self,
        index: int,
        images: Images,
        results: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
        seen: Mapping[int, Seen] | None = None,
    ) -> None:
        """Write outcomes and token counts by key of cells on shard `index`, of these `images`.

        `seen` is what images in files were.
        """
        held: list[str] = []
        if seen and results:
            # First: without it, outcomes say that images changed, but not which.
            seen = {image: seen[image] for image in images.tolist()}
            write_json(self.seen_path(index), self.seen(index) | seen)
            held = [of_image.content for of_image in seen.values()]
        frames = {self.tokens_path(key, index): tokens for key, (_, tokens) in results.items()}
        # Outcomes last: a killed process leaves no outcomes whose token counts are missing.
        for key, (outcomes, _) in results.items():
            frames[self.outcomes_path(key, index)] = outcomes
        self.write_checked(
            {path: (frame, self.contents(path, images, held)) for path, frame in frames.items()}
        )

    def write_checked(self, frames: Mapping[Path, tuple[pd.DataFrame, str]]) -> None:
        """Write each frame with its checksum and a line about its contents."""
        write_atomic({path: with_checksum(frame, text) for path, (frame, text) in frames.items()})

    def read(self, key: str, index: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Outcomes and token counts of cell `key` on shard `index`."""
        paths = self.outcomes_path(key, index), self.tokens_path(key, index)
        return pd.read_parquet(paths[0]), pd.read_parquet(paths[1])

    def write_failures(self, index: int, reasons: Mapping[str, str]) -> None:
        """Write by key why cells could not be evaluated on shard `index`."""
        files = {}
        for key, reason in reasons.items():
            files[self.failure_path(key, index)] = to_json({"reason": reason})
        write_atomic(files)

    def failure(self, key: str, index: int | None = None) -> str | None:
        """Why cell `key` failed on the first shard on which it did, up to `index` (None: any)."""
        first = self.first_failure(key)
        if first is None or (index is not None and first[0] > index):
            return None
        return first[1]

    def first_failure(self, key: str) -> tuple[int, str] | None:
        """The first shard on which cell `key` failed, and why; None if it did not."""
        for path in sorted((self.folder / "failures" / key).glob("*.json")):
            try:
                return int(path.stem), str(read_json(path)["reason"])
            except (ValueError, KeyError, TypeError):
                self.quarantine(path, DAMAGED)
        return None

    def keep_only(self, key: str, shards: int) -> None:
        """Delete results of cell `key` beyond its first `shards`, or beyond its failure.

        A process that did not know of the failure yet may have written later ones; the same run
        must end with the same files, whatever the order. What is no result is set aside.
        """
        first = self.first_failure(key)
        end = shards if first is None else first[0]
        keep = {self.outcomes_path(key, index).name: index < end for index in range(shards)}
        for folder in (self.outcomes_path(key, 0).parent, self.tokens_path(key, 0).parent):
            for path in sorted(folder.glob("[!.]*")):
                if path.name not in keep:
                    self.quarantine(path, "is not the run's")
                elif not keep[path.name]:
                    path.unlink(missing_ok=True)

    def write_halved(self, backbone: str, index: int, halved: dict[str, int]) -> None:
        """Record that shard `index` was evaluated with a smaller batch for lack of memory."""
        path = self.folder / "halved" / f"{digest(backbone)[:16]}-{index:05d}.json"
        write_json(path, {"backbone": backbone, "shard": index, **halved})

    def halved(self) -> list[dict[str, Any]]:
        """The shards that were evaluated with a smaller batch than the spec's."""
        rows = []
        for path in sorted((self.folder / "halved").glob("*.json")):
            try:
                row = read_json(path).items()
            except (ValueError, AttributeError):
                self.quarantine(path, DAMAGED)
                continue
            rows.append({name: value for name, value in row if isinstance(value, str | int)})
        return rows

    def write_cells(self, records: Iterable[CellRecord]) -> None:
        """Write the records of all cells; others, such as those of changed code, are deleted."""
        folder = self.folder / "cells"
        # In one step: a reader never sees the records of half a run.
        files = {folder / f"{r.key}.json": to_json(r.as_json()) for r in records}
        write_atomic(files)
        # Records of changed code would be reported beside these.
        for path in set(folder.glob("*.json")) - set(files):
            path.unlink()

    def cells(self) -> list[CellRecord]:
        """Read the records of all cells, sorted by key; UserError if one is damaged."""
        return [read_record(path) for path in sorted((self.folder / "cells").glob("*.json"))]

    def finished(self) -> frozenset[str]:
        """Keys of the cells that a run which came to its end evaluated; none if it is damaged."""
        try:
            return frozenset(record.key for record in self.cells() if record.status == "ok")
        except UserError:
            return frozenset()

    def write_table(self, name: str, frame: pd.DataFrame | None) -> None:
        """Write a table derived from the cells; without rows the file is deleted."""
        path = self.folder / "analyses" / f"{name}.parquet"
        if frame is None or frame.empty:
            path.unlink(missing_ok=True)
        else:
            write_frame(path, frame)

    def write_headline(self, headline: dict[str, Any]) -> None:
        """Write the findings in words."""
        write_json(self.folder / "analyses" / "headline.json", headline)

    def write_sites(self, sites: Mapping[str, Mapping[str, Any]]) -> None:
        """Write by backbone the sites that were chosen by a rule, and on which images."""
        if sites:
            write_json(self.folder / SITES, dict(sites))

    def write_alphas(self, alphas: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the alphas of adaptive counts, and what they remove of the images solved on."""
        if alphas:
            write_json(self.folder / ALPHAS, dict(alphas))

    def write_dataset(self, dataset: dict[str, Any]) -> None:
        """Write which images the run is about."""
        write_json(self.folder / "dataset.json", dataset)

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Write what the run ran on."""
        write_json(self.folder / "environment.json", environment)


@contextmanager
def session(
    folder: Path, spec: BaseModel, resume: bool = True, again: bool = False
) -> Iterator[Store]:
    """Create or resume the run in `folder`, and clean up what killed processes left.

    `again` retries cells that failed before an interruption, as the next run of a finished one
    does. UserError if `folder` is not this run's.
    """
    # Before anything is created in a folder that may be another's.
    Store.check(folder, spec, resume)
    folder.mkdir(parents=True, exist_ok=True)
    with RunLock(folder / LOCK) as lock:
        if lock.try_exclusive():
            store = Store.open(folder, spec, resume)
            tidy(folder, failures=again)
            lock.shared()
        else:
            # Another process is starting or at work; the spec is there once it shares the lock.
            lock.shared()
            store = Store.open(folder, spec, resume)
        yield store
        # Failures are in the records of the cells now, and are tried again the next time.
        if lock.try_exclusive():
            tidy(folder, failures=True)


def tidy(folder: Path, failures: bool) -> None:
    """Remove half-written files, locks of shards and, on request, failures of dead processes.

    No other process may be at work.
    """
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "locks", ignore_errors=True)
    if failures:
        shutil.rmtree(folder / "failures", ignore_errors=True)


def is_free(folder: Path) -> bool:
    """Whether `folder` contains nothing but what a killed start may have left."""
    if not folder.exists():
        return True
    return all(file.name == LOCK or file.name.endswith(".tmp") for file in folder.iterdir())


def differing(one: BaseModel, other: BaseModel) -> str:
    """The first setting in which two specs differ, ``batch is 32, not 16``; empty if none does."""
    # As stored, so that equal settings of other types are equal.
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    for name in left:
        if left[name] != right[name]:
            return f"{name} is {left[name]}, not {right[name]}"
    return ""
