"""Read the finished shards of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from suite.stats.confusion import overlaps_by_image
from suite.store.run_folder import Store
from suite.store.schema import CLASSIFICATION, Task

HIT_COLUMNS = ("image", "label_true", "prediction")
PIXEL_COLUMNS = ("image", "confusion", "pixels")
FILES_AT_ONCE = 64  # files of token counts in memory together
MAX_TRACKED = 256  # images of a run whose surviving tokens are kept one by one
Alive = dict[int, NDArray[np.bool_]]


def cut_shards(images: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut `images` into shards of `size`, the last one shorter."""
    return [images[start : start + size] for start in range(0, len(images), size)]


def tracked_subset(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose the images whose surviving tokens are kept: evenly spread, the same for every cell."""
    step = -(-len(indices) // MAX_TRACKED)  # rounded up, so that there are never more
    return indices[:: max(1, step)]


class Results:
    """The finished shards of a run, of these images each.

    What statistics read again and again stays in memory: a bit an image, or its pixels of each
    class, and counts of tokens.
    """

    def __init__(
        self,
        store: Store,
        shards: Sequence[NDArray[np.int64]],
        task: Task = CLASSIFICATION,
        classes: int = 0,
    ) -> None:
        """`classes` are those of the data, which segmentation needs to know."""
        self.store, self.shards, self.task, self.classes = store, shards, task, classes
        # Their bits are stored without numbers: how many a shard has is worked out anew.
        listing = store.listing()
        tracked = tracked_subset(listing.numbers if listing else np.concatenate(shards))
        # All images of a shard may be damaged.
        self._filled = [index for index, images in enumerate(shards) if len(images)]
        self._tracked = [len(np.intersect1d(images, tracked)) for images in shards]
        self._hits: dict[str, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}
        self._pixels: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._counts: dict[str, pd.DataFrame] = {}

    def outcomes(self, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Outcomes of cell `key`, a row an image, in the order of the data set.

        `columns` are those of the task, if none are named.
        """
        paths = [self.store.outcomes_path(key, index) for index in self._filled]
        frame = _read(paths, columns or tuple(self.task.outcomes))
        if key not in self._hits and set(HIT_COLUMNS) <= set(frame.columns):
            self._keep_hits(key, frame)
        return frame

    def hits(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Numbers of the images (n,) of cell `key`, and whether it is right on each (n,)."""
        if key not in self._hits:
            self._keep_hits(key, self.outcomes(key, HIT_COLUMNS))
        images, packed = self._hits[key]
        return images, np.unpackbits(packed, count=len(images)).astype(bool)

    def _keep_hits(self, key: str, frame: pd.DataFrame) -> None:
        images = frame.image.to_numpy()
        # All cells have the same images as a rule: their numbers are kept once.
        for other, _ in self._hits.values():
            if np.array_equal(other, images):
                images = other
                break
        right = frame.prediction.to_numpy() == frame.label_true.to_numpy()
        self._hits[key] = images, np.packbits(right)

    def pixels(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the images (n,) of cell `key`, and the pixels of each class (n, 2, K).

        Those in both truth and prediction, and those in either (`suite.stats.overlap`).
        """
        if key not in self._pixels:
            frame = self.outcomes(key, PIXEL_COLUMNS)
            pixels = overlaps_by_image(list(frame.confusion), list(frame.pixels), self.classes)
            self._pixels[key] = frame.image.to_numpy(), pixels
        return self._pixels[key]

    def token_counts(self, key: str) -> pd.DataFrame:
        """Counts of surviving tokens of cell `key` by block and position, summed over images."""
        if key not in self._counts:
            paths = [self.store.tokens_path(key, index) for index in self._filled]
            total = pd.DataFrame()
            for start in range(0, len(paths), FILES_AT_ONCE):
                columns = ["block", "position", "present", "foreground"]
                part = _read(paths[start : start + FILES_AT_ONCE], columns)
                both = pd.concat([total, part])
                total = both.groupby(["block", "position"], as_index=False).sum()
            self._counts[key] = total
        return self._counts[key].copy()

    def alive(self, key: str, special: Sequence[int] = ()) -> Alive:
        """Read which tokens survive in the tracked images, by block: (images, positions).

        The positions of `special` tokens, which never leave, are left out.
        """
        parts: dict[int, list[NDArray[np.bool_]]] = {}
        for index in self._filled:
            tracked = self._tracked[index]
            path = self.store.tokens_path(key, index)
            frame = _read([path], ["block", "position", "alive"])
            for block, rows in frame.sort_values(["block", "position"]).groupby("block"):
                # Shard by shard, since each has its own number of tracked images.
                bits = unpacked(rows.alive.tolist(), tracked)
                parts.setdefault(int(str(block)), []).append(bits)
        alive = {}
        for block, of_images in parts.items():
            alive[block] = np.delete(np.concatenate(of_images), special, axis=1)
        return alive


def differing(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Rows (n,) in which two frames of outcomes differ in one of `columns`, which may hold lists.

    NaN differs from nothing.
    """
    differs = np.zeros(len(one), bool)
    for name in columns:
        ours, theirs = one[name].to_numpy(), other[name].to_numpy()
        if ours.dtype == np.object_:
            equal = [np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)]
            differs |= ~np.array(equal, bool)
        else:
            differs |= (ours != theirs) & ~pd.isna(ours)
    return differs


def joined(
    frames: Sequence[pd.DataFrame], images: Sequence[NDArray[np.int64]], tracked: NDArray[np.int64]
) -> pd.DataFrame:
    """Join the token counts of one cell on several sets of `images`, some of them `tracked`."""
    kept = [np.intersect1d(part, tracked) for part in images]
    order = np.concatenate(kept).argsort()
    bits = []
    for frame, part in zip(frames, kept, strict=True):
        bits.append(unpacked(frame.alive.tolist(), len(part)))
    alive = [row.tobytes() for row in np.packbits(np.concatenate(bits)[order].T, axis=1)]
    counts = {name: sum(frame[name] for frame in frames) for name in ("present", "foreground")}
    return frames[0].assign(**counts, alive=alive)


def unpacked(bits: Sequence[bytes], images: int) -> NDArray[np.bool_]:
    """Unpack ``alive`` of a block: which images (images, L0) have the token of each position."""
    # One row a position, eight images a byte.
    packed = np.frombuffer(b"".join(bits), dtype=np.uint8)
    packed = packed.reshape(len(bits), -1)
    return np.unpackbits(packed, axis=1, count=images).T.astype(bool)


def _read(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of Parquet files, one below the other."""
    tables = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            # The files are small: threads would cost more than they save.
            tables.append(file.read(list(columns), use_threads=False))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame
