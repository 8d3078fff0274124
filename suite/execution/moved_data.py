"""A run whose data lie elsewhere now: the same bytes under another path answer, others never do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from backbones.common.errors import UserError
from suite.config.spec_file import SPEC, read_spec
from suite.data import without_path
from suite.data.loading.preprocess import READERS, Photographs
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store, differing

Spec = TypeVar("Spec", bound=BaseModel)


def recorded_spec(folder: Path, spec: Spec) -> Spec:
    """The spec of the run in `folder`, if `spec` has its data at another path alone; else `spec`.

    Whether the bytes there are the same is for `refuse_other_data` to say.
    """
    if not (folder / SPEC).exists():
        return spec
    recorded = read_spec(folder / SPEC, type(spec))
    first, now = getattr(recorded, "data", ""), getattr(spec, "data", "")
    there = spec.model_copy(update={"data": first})
    if without_path(first) != without_path(now) or differing(recorded, there):
        return spec
    return recorded


def refuse_other_data(prepared: Prepared, folder: Path, first: str) -> None:
    """UserError unless the data are those of the run in `folder`, which began with data `first`.

    Reads the images that were evaluated, whose bytes a resumed run asks for in any case.
    """
    now = prepared.spec.data
    if first != now and not _holds_the_same(prepared, Store(folder)):
        raise UserError(
            f"{folder} holds a run on {first}, and {now} holds other {prepared.dataset.kind}: "
            "choose another folder (--name)"
        )


def _holds_the_same(prepared: Prepared, store: Store) -> bool:
    """Whether the data have the images that the run in `store` began with, and no others."""
    data, listing = prepared.dataset, store.listing()
    # Of data that are no files nothing is on record of single images.
    if not isinstance(data, Photographs) or listing is None or prepared.left_out:
        return False
    if listing.total != len(data) or not np.array_equal(listing.numbers, prepared.chosen):
        return False
    unread = [image for image in prepared.indices.tolist() if image not in prepared.seen]
    with ThreadPoolExecutor(READERS) as pool:
        prepared.seen.update(zip(unread, pool.map(data.identify, unread), strict=True))
    known = store.all_seen()
    return all(prepared.seen[image].content == seen.content for image, seen in known.items())
