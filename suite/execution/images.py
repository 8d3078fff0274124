"""The images of a run in files: under which numbers, which can be read, and what they hold.

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
from suite.data.base import Seen, one_line
from suite.data.loading.preprocess import READERS, Photographs
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


def looks_alike(data: Photographs, image: int, seen: Seen) -> bool:
    """Whether the file of an image looks as it did when it was `seen`."""
    try:
        return data.unchanged(image, seen)
    except (OSError, UserError):
        return False


def renumbered(
    prepared: Prepared, data: Photographs, listing: Listing, known: Mapping[int, Seen]
) -> Prepared:
    """The run with the images of its `listing`; new ones come last, those that are gone are left.

    A file under another name is the image of the same bytes, as far as these are `known`.
    """
    names = data.names
    if listing.names == [names[image] for image in prepared.chosen.tolist()] and np.array_equal(
        listing.numbers, prepared.chosen
    ):
        return prepared
    place = {name: index for index, name in enumerate(names)}
    places = {}
    gone = {}
    for number, name in zip(listing.numbers.tolist(), listing.names, strict=True):
        if name in place:
            places[number] = place.pop(name)
        else:
            gone[number] = name
    added = list(place.values()) if prepared.spec.images == "all" else []
    if gone and added:
        lost = {known[number].content: number for number in gone if number in known}
        for index in added:
            number = lost.pop(data.identify(index).content, None)
            if number is not None:
                places[number] = index
                del gone[number]
        added = sorted(set(added) - set(places.values()))
    if not places:
        raise UserError(
            f"none of the {prepared.dataset.kind} that the run began with is there: give the run "
            "another folder"
        )
    new = np.arange(listing.total, listing.total + len(added))
    order = np.zeros(listing.total + len(added), np.int64)
    order[list(places)] = list(places.values())
    order[new] = added
    prepared.left_out.update({number: f"{name} (is gone)" for number, name in gone.items()})
    chosen = np.concatenate([listing.numbers, new])
    return replace(prepared, dataset=data.reordered(order), chosen=chosen)


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
