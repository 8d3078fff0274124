"""The images of a run under the numbers that an earlier start gave them.

A number belongs to an image: files that were moved, renamed or taken out, and rows of a table that
moved up, leave the numbers of all others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from backbones.common.errors import UserError, printable
from suite.data.base import Seen
from suite.data.loading.preprocess import Photographs
from suite.plan.prepare import Prepared
from suite.store.run_folder import Listing

Known = Mapping[int, Seen]


@dataclass
class Found:
    """Where the images of a listing are now.

    ``places``  by number, the place in the data
    ``gone``    by number, the name of an image that is not there any more
    ``added``   places of images that the run did not begin with
    ``read``    what was read at places, to find images
    """

    places: dict[int, int] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    added: list[int] = field(default_factory=list)
    read: dict[int, Seen] = field(default_factory=dict)

    def content(self, data: Photographs, place: int) -> str:
        """Hash of the bytes at a place, which are read once; empty if they cannot be read."""
        if place not in self.read:
            try:
                self.read[place] = data.identify(place)
            except (OSError, UserError):
                # No lost image has this hash; what is wrong is said when the run reads the file.
                return ""
        return self.read[place].content

    def free(self, data: Photographs) -> list[int]:
        """Places that no number has, in their order."""
        return np.setdiff1d(np.arange(len(data)), list(self.places.values())).tolist()

    def match(self, data: Photographs, places: Iterable[int], lost: dict[str, list[int]]) -> None:
        """Give `places` to the `lost` numbers whose bytes they hold, until none is lost."""
        for place in places:
            if not lost:
                return
            content = self.content(data, place)
            if content in lost:
                # Several numbers may hold equal bytes: the first that is lost takes the place.
                number = lost[content].pop(0)
                self.places[number] = place
                # By name an image counts as gone before its bytes are looked for.
                self.gone.pop(number, None)
                if not lost[content]:
                    del lost[content]


def looks_alike(data: Photographs, image: int, seen: Seen) -> bool:
    """Whether the file of an image looks as it did when it was `seen`."""
    try:
        return data.unchanged(image, seen)
    except (OSError, UserError):
        return False


def renumbered(prepared: Prepared, data: Photographs, listing: Listing, known: Known) -> Prepared:
    """The run with the images of its `listing`; new ones come last, those that are gone are left.

    UserError if none is there any more.
    """
    find = by_name if data.named else by_content
    found = find(data, listing, known, prepared.spec.images == "all")
    if not found.places:
        raise UserError(
            f"none of the {data.kind} that the run began with is there: give the run another folder"
        )
    moved = any(number != place for number, place in found.places.items())
    begun = np.array_equal(listing.numbers, prepared.chosen)
    if begun and not (moved or found.gone or found.added):
        # Nothing moved, and what was read to learn that need not be read again.
        prepared.seen.update(found.read)
        return prepared
    # Beyond every number of the listing: none is given to another image.
    new = np.arange(listing.total, listing.total + len(found.added))
    # Numbers without an image show place 0, and are left out or were never chosen.
    order = np.zeros(listing.total + len(found.added), np.int64)
    order[list(found.places)] = list(found.places.values())
    order[new] = found.added
    for number, name in found.gone.items():
        prepared.left_out[number] = printable(f"{name} (is gone)")
    for number, place in found.places.items():
        if place in found.read:
            prepared.seen[number] = found.read[place]
    chosen = np.concatenate([listing.numbers, new])
    return replace(prepared, dataset=data.reordered(order), chosen=chosen)


def by_name(data: Photographs, listing: Listing, known: Known, everything: bool) -> Found:
    """Find files by their names, and those of another name by the bytes that are `known`."""
    found = Found()
    place = {name: index for index, name in enumerate(data.names)}
    for number, name in zip(listing.numbers.tolist(), listing.names, strict=True):
        if name in place:
            found.places[number] = place.pop(name)
        else:
            found.gone[number] = name
    # A sample takes no new files, and to find a renamed one all others would be read.
    if not everything:
        return found
    if found.gone:
        # Only files of new names are read: the others are known by theirs.
        found.match(data, list(place.values()), _by_content(found.gone, known))
    found.added = sorted(set(place.values()) - set(found.places.values()))
    return found


def by_content(data: Photographs, listing: Listing, known: Known, everything: bool) -> Found:
    """Find rows of tables, which have no names, by the bytes that are `known`.

    They are read only where the file has changed; a row of other bytes keeps its number.
    """
    found = Found()
    rows = dict(zip(listing.numbers.tolist(), map(int, listing.names), strict=True))
    moved = []
    for number, row in rows.items():
        seen = known.get(number)
        # Never read, so nothing tells it but its row, which it keeps below if that is free.
        if seen is None:
            continue
        same = row < len(data) and looks_alike(data, row, seen)
        if same or (row < len(data) and found.content(data, row) == seen.content):
            found.places[number] = row
        else:
            moved.append(number)
    found.match(data, found.free(data), _by_content(moved, known))
    # Anew, since the matching has taken places.
    free = set(found.free(data))
    for number, row in rows.items():
        if number not in found.places:
            # Edited in place or never read: the number stays, and answers go by hash anyway.
            if row in free:
                found.places[number] = row
            else:
                found.gone[number] = f"row {row}"
    if everything:
        found.added = found.free(data)
    return found


def _by_content(numbers: Iterable[int], known: Known) -> dict[str, list[int]]:
    """Those of `numbers` whose bytes are known, by the hash of these."""
    lost: dict[str, list[int]] = {}
    for number in numbers:
        if number in known:
            lost.setdefault(known[number].content, []).append(number)
    return lost
