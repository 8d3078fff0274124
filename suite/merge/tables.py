"""The analyses of a merged report: what rests on pairs of cells is worked out anew, the rest is put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from backbones import BACKBONES, create_model
from backbones.base import Backbone
from suite.analysis.first_errors import breaks_frame
from suite.analysis.similarity import Kept, similarity_frames
from suite.merge.finished_run import Part, Record
from suite.merge.union import Union
from suite.plan.cells import DENSE, Named
from suite.store.run_folder import Store

ANEW = (
    "statistics",
    "blind_comparison",
    "first_errors",
    "token_overlap",
    "method_similarity",
    "mantel_test",
    "mamba_vs_attention",
    "mamba_minus_attention",
)
OF_CELLS = ("kept_tokens", "foreground", "gallery")
ONCE = {
    "images": ["image"],
    "ablation": ["axis", "backbone", "method", "budget", "setting"],
    "ablation_sentences": ["axis", "backbone", "method", "budget"],
}  # what of several runs may say the same thing, and by which columns that is known


@dataclass(frozen=True)
class Member:
    """A cell of the union (see `suite.plan.cells.Named`)."""

    key: str
    backbone: str
    label: str
    budget: float | None
    seed: int


def joined(parts: Sequence[Part], union: Union) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables that are those of the runs put together, by name."""
    found: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        for name, frame in part.analyses():
            if name not in ANEW:
                found.setdefault(name, []).append(
                    owned(frame, part, union) if name in OF_CELLS else frame
                )
    for name, frames in found.items():
        whole = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
        if name in ONCE:
            whole = whole.drop_duplicates(ONCE[name], ignore_index=True)
        if name == "gallery":
            whole = of_common_images(whole)
        yield name, whole


def owned(frame: pd.DataFrame, part: Part, union: Union) -> pd.DataFrame:
    """The rows of those cells that the union has from `part`, under the union's labels."""
    mine = [record for key, record in union.cells.items() if union.source[key] is part]
    names = pd.DataFrame(
        [(r["backbone"], union.called[r["key"]], r["budget"], r["seed"], r["label"]) for r in mine],
        columns=["backbone", "label", "budget", "seed", "_label"],
    ).astype({"budget": "float64"})
    found = frame.merge(names, on=["backbone", "label", "budget", "seed"], how="inner")
    return found.assign(label=found["_label"])[frame.columns.tolist()]


def of_common_images(gallery: pd.DataFrame) -> pd.DataFrame:
    """The rows of the pictures that are known under every cell of their backbone."""
    keep = []
    for _, rows in gallery.groupby("backbone", sort=False):
        cells = rows.groupby(["label", "budget", "seed"], sort=False)["image"].agg(set)
        keep.append(rows[rows["image"].isin(set.intersection(*cells))])
    return pd.concat(keep, ignore_index=True) if keep else gallery


def anew(parts: Sequence[Part], union: Union, store: Store) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables that rest on pairs of cells, whichever runs these are from, by name; `store` has the outcomes."""
    done = [record for record in union.cells.values() if record["status"] == "ok"]
    dense = {record["backbone"]: record["key"] for record in done if record["method"] == DENSE.name}
    reducing = [
        member(record) for record in done if record.get("counts") and record["backbone"] in dense
    ]
    yield "first_errors", breaks_frame(dense, reducing, lambda key: store.outcomes(key, 1))
    special = {name: list(model.special_places) for name, model in shapes(dense).items()}

    def kept(cell: Named) -> dict[int, Kept]:
        alive = union.source[cell.key].alive(cell.key)
        return {
            block: np.delete(found, special[cell.backbone], axis=1)
            for block, found in alive.items()
        }

    def right(cell: Named) -> NDArray[np.bool_]:
        frame = store.outcomes(cell.key, 1)
        return (frame.prediction == frame.label_true).to_numpy()

    known = [cell for cell in reducing if cell.backbone in special]
    yield from similarity_frames(known, kept, right).items()


def member(record: Record) -> Member:
    """The cell of a record."""
    return Member(
        record["key"], record["backbone"], record["label"], record["budget"], record["seed"]
    )


def shapes(names: Iterable[str]) -> dict[str, Backbone]:
    """Those backbones that are registered here, without weights; a run may be from where there are others."""
    known = [name for name in names if name.partition("[")[0] in BACKBONES]
    with torch.device("meta"):
        return {name: create_model(name) for name in known}
