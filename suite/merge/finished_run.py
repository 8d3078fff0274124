"""Load a finished run for merging.

Every field and file is validated, because the folder may come from someone else.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel

from backbones.common.errors import UserError
from suite.bench.spec import BenchSpec
from suite.config.run_spec import RunSpec
from suite.config.spec_file import read_spec, read_values
from suite.plan.cells import DENSE
from suite.retrain.spec import RetrainSpec
from suite.sensitivity.spec import SensitivitySpec
from suite.store.checksums import verify_checksum
from suite.store.find_run import run_spec
from suite.store.results import Alive, Results, cut_shards
from suite.store.run_folder import Store
from suite.store.schema import TABLES, TASKS, CellRecord, read_object

# Specifications by the kind that their file names; that of a comparison names none.
OTHERS: dict[str, type[BaseModel]] = {
    "sensitivity": SensitivitySpec,
    "bench": BenchSpec,
    "retrain": RetrainSpec,
}
# Entries of the environment that are by backbone.
BY_BACKBONE = (
    "kernel",
    "weights",
    "code",
    "taken",
    "adapted",
    "made_up",
    "preprocessing",
    "views",
    "work_of_item",
)


@dataclass(frozen=True)
class FinishedRun:
    """One run to merge; without records if it is no comparison.

    ``names``      what methods are called in the report whose names are another's in another run
    ``trainings``  the same of trainings
    """

    folder: Path
    spec: BaseModel
    records: list[CellRecord]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    headline: dict[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    trainings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def compares(self) -> bool:
        """Whether it is a comparison."""
        return isinstance(self.spec, RunSpec)

    @property
    def comparison(self) -> RunSpec:
        """Settings of a comparison."""
        assert isinstance(self.spec, RunSpec)
        return self.spec

    @property
    def on_cuda(self) -> bool:
        """Whether it ran on a GPU, where the batch may change the last digits."""
        return str(self.environment.get("device")).startswith("cuda")

    @property
    def dense(self) -> CellRecord:
        """Its first dense cell."""
        return next(record for record in self.records if is_dense(record))

    @functools.cached_property
    def images(self) -> NDArray[np.int64]:
        """Numbers of the images of its dense cell, ascending."""
        return self.outcomes(self.dense).image.to_numpy()

    def outcomes(self, record: CellRecord) -> pd.DataFrame:
        """Outcomes of a cell by ascending image; UserError unless they are whole, of all images."""
        folder = self.folder / "shards" / record.key
        frames = [self._verified(path) for path in sorted(folder.glob("[!.]*"))]
        if not frames:
            raise UserError(f"{folder} is missing: {self._again}")
        frame = pd.concat(frames, ignore_index=True)
        columns = list(TASKS[record.task].outcomes)
        complete = set(columns) <= set(frame.columns) and len(frame) == record.images
        if complete:
            frame = frame[columns].sort_values("image", ignore_index=True)
            same = record == self.dense or np.array_equal(frame.image, self.images)
            complete = same and frame.image.is_unique
        if not complete:
            raise UserError(
                f"the outcomes in {folder} are not those of the "
                f"{record.images} images of the run: run it again"
            )
        return frame

    def alive(self, record: CellRecord, special: Sequence[int]) -> Alive:
        """`Results.alive` of a cell, after its files are verified."""
        store, size = Store(self.folder), self.comparison.shard_size
        listing = store.listing()
        chosen = listing.numbers if listing else self.images
        shards = [np.intersect1d(part, self.images) for part in cut_shards(chosen, size)]
        # Verified first: `Results` trusts what it reads.
        for index, images in enumerate(shards):
            if len(images):
                self._verified(store.tokens_path(record.key, index), images)
        return Results(store, shards).alive(record.key, special)

    @functools.cached_property
    def held(self) -> dict[int, str]:
        """Hashes of what images in files held, by number."""
        return {image: seen.content for image, seen in Store(self.folder).all_seen().items()}

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """The derived tables, by name."""
        for path in sorted((self.folder / "analyses").glob("*.parquet")):
            try:
                frame = pd.read_parquet(path)
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{path} is damaged: {self._again}") from error
            yield path.stem, frame

    def table(self, name: str) -> pd.DataFrame | None:
        """A derived table; None if the run has none, UserError if it lacks a column."""
        frame = dict(self.tables()).get(name)
        if frame is None:
            return None
        missing = set(TABLES[name].columns) - set(frame.columns)
        if missing:
            raise UserError(
                f"the table {name} of '{self.folder}' lacks {', '.join(sorted(missing))}: run its "
                "command again to its end"
            )
        return frame

    def _verified(self, path: Path, images: NDArray[np.int64] | None = None) -> pd.DataFrame:
        """The frame at `path`, of `images` (None: those it names); UserError if it was changed."""
        try:
            # Read once, so that what is verified is what is used.
            content = path.read_bytes()
            frame = pd.read_parquet(io.BytesIO(content))
            images = frame["image"].to_numpy() if images is None else images
            held = [self.held.get(image, "") for image in images.tolist()]
            problem = verify_checksum(content, Store(self.folder).contents(path, images, held))
        except (OSError, pa.ArrowException, KeyError) as error:
            raise UserError(f"{path} is missing or damaged: {self._again}") from error
        if problem:
            raise UserError(f"{path} {problem}: {self._again}")
        return frame

    @property
    def _again(self) -> str:
        return f"run the command of '{self.folder}' again to its end"


def is_dense(record: CellRecord) -> bool:
    """Whether a cell is the finished dense one of its backbone."""
    return record.status == "ok" and record.method == DENSE.name


def load_run(folder: Path) -> FinishedRun:
    """Load the run in `folder`; UserError if it is none, is damaged, or links elsewhere."""
    path = run_spec(folder)
    refuse_links(folder)
    run = FinishedRun(
        folder,
        read_spec(path, spec_type(path)),
        Store(folder).cells(),
        read_optional(folder / "dataset.json"),
        read_optional(folder / "environment.json"),
        read_optional(folder / "analyses" / "headline.json"),
    )
    if run.compares and not any(is_dense(record) for record in run.records):
        raise UserError(f"'{folder}' holds no finished dense cell: run its command to the end")
    return run


def spec_type(path: Path) -> type[BaseModel]:
    """Type of the specification at `path`; UserError if its runs cannot be merged."""
    try:
        read_values(path, RunSpec)
    except UserError:
        kind = read_values(path, SensitivitySpec)["kind"]  # as all but a comparison's have
    else:
        return RunSpec
    if isinstance(kind, str) and kind in OTHERS:
        return OTHERS[kind]
    raise UserError(
        f"'{path.parent}' is not a comparison, a retraining, a sensitivity analysis or a "
        "measurement of speed: give the runs that a merged report was made of"
    )


def refuse_links(folder: Path) -> None:
    """UserError if anything below `folder` is a symbolic link, which could lead out of it."""
    for path in folder.rglob("*"):
        # Nothing is read of trackers' files, among which wandb makes links.
        if path.is_symlink() and path.relative_to(folder).parts[0] != "track":
            raise UserError(
                f"'{path}' is a symbolic link: a run that is merged must hold its own files"
            )


def read_optional(path: Path) -> dict[str, Any]:
    """The JSON object at `path`, empty without a file; UserError if it is none."""
    return read_object(path) if path.is_file() else {}
