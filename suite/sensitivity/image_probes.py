"""Probe the images of a run one by one, and keep the results of each on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from backbones.base import Backbone
from backbones.common.errors import UserError
from suite.data.base import Seen, TaskName
from suite.data.loading.loader import Batch, batches
from suite.execution.images import found_damaged
from suite.plan.prepare import Prepared
from suite.sensitivity.probe import ProbeSettings, ProbeTables, probe, probes_per_image
from suite.store.run_folder import Store
from suite.system.out_of_memory import with_smaller_batch

# In the order they are written: the last one exists only once the others do.
PARTS = {
    "classification": ("placements", "groups", "tokens"),
    "segmentation": ("pixels", "placements", "groups", "tokens"),
}


@dataclass(frozen=True)
class ProbeStore:
    """The results of single images in a run folder.

    ``digest``  hash of everything that the results depend on; a file made with another is redone
    ``seen``    what images in files are
    ``task``    what was asked of them, which decides on the tables of each
    """

    store: Store
    digest: str
    seen: Mapping[int, Seen] = field(default_factory=dict)
    task: TaskName = "classification"

    @property
    def parts(self) -> tuple[str, ...]:
        """The tables of an image."""
        return PARTS[self.task]

    def path(self, index: int, part: str) -> Path:
        """Path of one table of image `index`."""
        return self.store.folder / "images" / f"{index:05d}" / f"{part}.parquet"

    def lock(self, index: int, wait: bool) -> AbstractContextManager[bool]:
        """Keep other processes from image `index` (see `suite.store.locks.file_lock`)."""
        return self.store.lock(f"image-{index:05d}", wait)

    def exists(self, index: int) -> bool:
        """Whether image `index` has results, by the presence of its last file only."""
        return self.path(index, self.parts[-1]).is_file()

    def has(self, index: int) -> bool:
        """Whether image `index` has valid results; call it while holding the lock."""
        # A list, not a generator: every damaged file must be looked at to be set aside.
        valid = []
        for part in self.parts:
            path = self.path(index, part)
            valid.append(self.store.is_valid(path, self._contents(index, path)))
        return all(valid)

    def is_done(self, index: int) -> bool:
        """Whether image `index` has valid results and no other process works on it."""
        with self.lock(index, wait=False) as acquired:
            return acquired and self.has(index)

    def write(self, index: int, tables: ProbeTables) -> None:
        """Store the results of image `index`."""
        files = {}
        for part in self.parts:
            path = self.path(index, part)
            files[path] = getattr(tables, part), self._contents(index, path)
        self.store.write_checked(files)

    def read(self, index: int) -> ProbeTables:
        """Load the results of image `index`."""
        return ProbeTables(**{part: pd.read_parquet(self.path(index, part)) for part in self.parts})

    def _contents(self, index: int, path: Path) -> str:
        """Describe what the file at `path` contains; stored in it and checked by `has`."""
        held = f" on {self.seen[index].content}" if index in self.seen else ""
        return f"{self.store.name(path)} of question {self.digest}{held}"


def square_grid(model: Backbone) -> tuple[int, int, int]:
    """Frames, rows and columns of the patch tokens; UserError if they do not form a square."""
    shape = model.describe()
    if shape.side is None:
        raise UserError(
            f"the patches of {model.name} form no square: choose a backbone whose frames are square"
        )
    return shape.frames, shape.side, shape.side


def probe_images(
    prepared: Prepared,
    settings: ProbeSettings,
    probes: ProbeStore,
    progress: Callable[[int], None],
) -> None:
    """Probe every image without results; several processes may do so in one run folder.

    `progress` receives the number of probes, one image before one block, finished since its last
    call.
    """
    (model,), (data,) = prepared.models.values(), prepared.data.values()
    frames, rows, columns = square_grid(model)
    # Data sets of videos have no masks of the object.
    mask_grid = (rows, columns) if frames == 1 else None
    indices = prepared.indices.tolist()
    missing = [index for index in indices if not probes.is_done(index)]
    steps = probes_per_image(model, settings)
    progress((len(indices) - len(missing)) * steps)
    # First the images that no other process works on. Then wait for the others: by then they are
    # done, or the process that had them has died and they are still missing.
    for wait in (False, True):
        order, missing = np.array(missing, dtype=np.int64), []
        for batch in batches(data, order, 1, model.image_size, mask_grid):
            if batch.damaged:  # since the cells ran
                found_damaged(prepared, batch.damaged)
                progress(steps)
                continue
            prepared.seen.update(batch.seen)
            index = int(batch.indices)
            with probes.lock(index, wait) as acquired:
                if not acquired:
                    missing.append(index)
                    continue
                # Another process may have finished it since `missing` was listed.
                if not probes.has(index):
                    on_device = batch._replace(images=batch.images.to(prepared.device))
                    probes.write(index, probe_within_memory(model, on_device, settings, progress))
                else:
                    progress(steps)


def probe_within_memory(
    model: Backbone, batch: Batch, settings: ProbeSettings, progress: Callable[[int], None]
) -> ProbeTables:
    """`probe`, with fewer variants at once each time memory runs out."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(1)

    def with_batch(size: int) -> ProbeTables:
        nonlocal done
        progress(-done)  # what was counted is lost with the larger batch
        done = 0
        with torch.no_grad():
            return probe(model, batch, replace(settings, batch=size), count)

    tables, _ = with_smaller_batch(settings.batch, with_batch, f"image {int(batch.indices)}")
    return tables
