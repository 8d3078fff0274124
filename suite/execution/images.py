"""The images of a run in files: which can be read, and what they hold.

An outcome belongs to the bytes of its image. So a file that was mended or changed is evaluated
again, alone where its shard allows it, and one that was taken out leaves the others as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import one_line
from suite.data.loading.preprocess import READERS, Photographs
from suite.execution.renumber import looks_alike, renumbered
from suite.plan.prepare import Prepared
from suite.store.run_folder import Listing, Store

Images = NDArray[np.int64]
MOST_NAMED = 100  # damaged images in one line


def settle(prepared: Prepared, folder: Path, skip_damaged: bool) -> Prepared:
    """Give images the numbers of an earlier start in `folder`, and find those that are damaged.

    UserError, before anything is written, if some are and they are not to be skipped.
    """
    data = prepared.dataset
    if not isinstance(data, Photographs):
        return prepared
    store = Store(folder)
    known = store.all_seen()
    prepared = replace(prepared, skip_damaged=skip_damaged, left_out={}, seen={})
    listing = store.listing()
    if listing:
        prepared = renumbered(prepared, data, listing, known)
        data = prepared.dataset
        assert isinstance(data, Photographs)
    reading = []
    for image in prepared.indices.tolist():
        if image in known and looks_alike(data, image, known[image]):
            prepared.seen[image] = known[image]
        else:
            reading.append(image)
    leave_out(prepared, problems(reading, data.glance))
    return prepared


def record_images(prepared: Prepared, store: Store) -> None:
    """Write which images the run is about, unless that is written."""
    data, known = prepared.dataset, store.listing()
    if not isinstance(data, Photographs):
        return
    if known is None or len(known.numbers) < len(prepared.chosen):
        old = known.names if known else []
        names = data.names
        added = [names[image] for image in prepared.chosen.tolist()[len(old) :]]
        store.write_listing(Listing(prepared.chosen, [*old, *added], len(data)))


def problems(images: list[int], read: Callable[[int], object]) -> dict[int, str]:
    """What is wrong with each of `images` that `read` refuses."""

    def problem(image: int) -> str:
        try:
            read(image)
        except (OSError, UserError) as error:
            return one_line(error)
        return ""

    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(problem, images)
        return {image: text for image, text in zip(images, found, strict=True) if text}


def leave_out(prepared: Prepared, damaged: Mapping[int, str]) -> None:
    """Go on without `damaged` images; UserError that names them if they are not to be skipped."""
    if not damaged:
        return
    if not prepared.skip_damaged:
        listed = list(damaged.values())
        if not isinstance(prepared.dataset, Photographs):
            # Its images are known as a whole, so that one left out would change all.
            raise UserError("; ".join(listed[:MOST_NAMED]))
        if len(listed) == 1:
            raise UserError(f"{listed[0]}; or go on without it by --skip-damaged")
        more = f"; and {len(listed) - MOST_NAMED:,} more" if len(listed) > MOST_NAMED else ""
        raise UserError(
            f"{len(listed):,} of {len(prepared.chosen):,} {prepared.dataset.kind} are damaged, go "
            f"on without them by --skip-damaged: {'; '.join(listed[:MOST_NAMED])}{more}"
        )
    prepared.left_out.update(damaged)
    if not len(prepared.indices):
        raise UserError(f"all {prepared.dataset.kind} are damaged: give others")


def found_damaged(prepared: Prepared, damaged: Mapping[int, str]) -> None:
    """`leave_out` for images that turned out damaged when they were decoded.

    Where the run ends with them, all others that were not evaluated are decoded to find the rest.
    """
    new = {image: text for image, text in damaged.items() if image not in prepared.left_out}
    data = prepared.dataset
    if new and not prepared.skip_damaged and isinstance(data, Photographs):
        found = f"one of the {data.kind} is damaged: the others are read to find all that are"
        print(found, file=sys.stderr)
        known = prepared.seen.keys() | new.keys()
        rest = [image for image in prepared.indices.tolist() if image not in known]
        new |= problems(rest, data.image)
        data.seen.clear()
    leave_out(prepared, dict(sorted(new.items())))


def held(prepared: Prepared, images: Images) -> list[str]:
    """Hashes of what `images` in files hold now; empty for data that are not in files."""
    data = prepared.dataset
    if not isinstance(data, Photographs):
        return []
    for image in images.tolist():
        seen = prepared.seen.get(image)
        if seen is None or (seen.stamp and not looks_alike(data, image, seen)):
            prepared.seen[image] = data.identify(image)
    return [prepared.seen[image].content for image in images.tolist()]
