"""Data of the page's two drawn panels, the kept-token maps and the gallery, packed small."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.aggregate import averaged, chosen_blocks
from reports.figures.tokens import grid_of, kept_map
from reports.formatting import distinct_names, percent
from reports.run import Run
from reports.section import Maps
from reports.token_overlay import Pixels, data_uri, decode

PICTURES = 24  # at most so many in the page's gallery
FEW = 8  # pictures that are shown at every block, if need be at fewer blocks
HEAVY = 4_000_000  # bytes of tokens of one backbone on the page


def kept_panel(run: Run, backbone: str, order: list[str]) -> dict[str, Any] | None:
    """Maps of one backbone by label and budget, a byte a place; None where the run has none."""
    part = run.kept_tokens[run.kept_tokens["backbone"] == backbone]
    if part.empty:
        return None
    shape = grid_of(part)
    blocks = chosen_blocks(sorted(int(block) for block in part["block"].unique()))
    part = averaged(
        part[part["block"].isin(blocks)], ["label", "budget", "block", "row", "col"], "kept"
    )
    maps: list[dict[str, Any]] = []
    for (label, budget), rows in part.groupby(["label", "budget"]):
        stack = [kept_map(rows[rows["block"] == block], shape) for block in blocks]
        values = (
            np.nan_to_num(np.clip(np.stack(stack), 0, 1) * 254, nan=255).round().astype(np.uint8)
        )
        maps.append({"m": order.index(str(label)), "u": float(str(budget)), "v": _packed(values)})
    shown = sorted({entry["m"] for entry in maps})
    return {"blocks": blocks, "shape": list(shape), "maps": maps, "labels": shown}


def stack_panel(maps: Maps) -> dict[str, Any]:
    """The maps behind a slider: values as little-endian float32, the bounds of each row's colour scale."""
    values = np.asarray(maps.values, dtype="<f4")
    return {
        "rows": list(maps.rows),
        "layers": list(maps.layers),
        "shape": list(values.shape[2:]),
        "values": [_packed(row) for row in values],
        "bounds": [list(pair) for pair in maps.bounds()],
        "unit": maps.unit,
        "diverging": maps.diverging,
        "names": list(maps.names),
        "short": distinct_names(maps.names),
    }


def pictures(run: Run) -> dict[int, Pixels]:
    """The pictures of the gallery that can be read and of which some method's tokens are known."""
    wanted = set(run.gallery["image"].astype(int))
    rows = (
        (int(row.image), row.png) for row in run.images.itertuples() if int(row.image) in wanted
    )
    found = {image: decode(png) for image, png in rows if isinstance(png, bytes)}
    return dict(
        [(image, pixels) for image, pixels in found.items() if pixels is not None][:PICTURES]
    )


def grid_shape(run: Run, shown: Mapping[int, Pixels]) -> tuple[int, int] | None:
    """Rows and columns of the gallery's tokens, in the proportions of the pictures; None where they do not fit."""
    places = {len(owner) for owner in run.gallery["owner"]}
    if len(places) != 1 or not shown:
        return None
    count = places.pop()
    height, width = next(iter(shown.values())).shape[:2]
    rows = max(1, round(math.sqrt(count * height / width)))
    return (rows, count // rows) if count % rows == 0 else None


def one_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Gallery rows of the first seed only, one for each block."""
    rows = rows.sort_values(["seed", "block"], kind="stable")
    return rows.drop_duplicates(["backbone", "label", "budget", "image", "block"])


def last_block(rows: pd.DataFrame) -> pd.DataFrame:
    """Gallery rows after the last reduction, one for each backbone, label, budget and image."""
    return one_seed(rows).drop_duplicates(["backbone", "label", "budget", "image"], keep="last")


def gallery_panel(
    run: Run, backbone: str, order: list[str], shown: dict[int, Pixels], shape: tuple[int, int]
) -> dict[str, Any] | None:
    """Pictures of one backbone with the owner of every grid place by label, budget and block; None if there are none.

    As many pictures and blocks as fit `HEAVY` bytes; the last block is always among them.
    """
    part = one_seed(
        run.gallery[(run.gallery["backbone"] == backbone) & run.gallery["image"].isin(list(shown))]
    )
    if part.empty:
        return None
    wide = math.prod(shape) > 250
    weight = (
        math.prod(shape) * (2 if wide else 1) * 4 / 3 * part.groupby(["label", "budget"]).ngroups
    )  # of one block
    blocks = chosen_blocks([-1, *sorted(int(block) for block in part["block"].unique())])
    blocks = chosen_blocks([-1, *blocks], max(1, int(HEAVY / weight / min(len(shown), FEW))))
    shown = dict(list(shown.items())[: max(1, int(HEAVY / weight / len(blocks)))])
    part = part[part["image"].isin(list(shown))]
    number = {image: index for index, image in enumerate(shown)}
    why = (
        dict(zip(run.images["image"], run.images["why"], strict=True))
        if "why" in run.images
        else {}
    )
    images: list[dict[str, Any]] = [
        {"id": image, "src": data_uri(pixels), "why": str(why.get(image) or "")}
        for image, pixels in shown.items()
    ]
    items: list[dict[str, Any]] = []
    for (label, budget, picture), rows in part.groupby(["label", "budget", "image"], sort=False):
        row = rows.iloc[-1]
        image = images[number[int(str(picture))]]
        image["truth"] = run.class_name(row["label_true"])
        image["dense"] = _answer(
            run, row["dense_prediction"], row["dense_confidence"], row["label_true"]
        )
        owners = dict(zip(rows["block"].astype(int), rows["owner"], strict=True))
        items.append(
            {
                "m": order.index(str(label)),
                "u": float(str(budget)),
                "i": number[int(str(picture))],
                "o": [_packed(_owners(owners, block, wide)) for block in blocks],
                "a": _answer(run, row["prediction"], row["confidence"], row["label_true"]),
            }
        )
    methods = sorted({item["m"] for item in items})
    return {
        "shape": list(shape),
        "wide": wide,
        "blocks": blocks,
        "images": images,
        "items": items,
        "labels": methods,
    }


def _owners(owners: Mapping[int, Any], block: int, wide: bool) -> np.ndarray[Any, Any]:
    """Owners after the last reduction at or before `block`; -1 and -2 are the two largest numbers of the type."""
    before = [known for known in owners if known <= block]
    values = (
        np.asarray(owners[max(before)]) if before else np.arange(len(next(iter(owners.values()))))
    )
    return values.astype("<i4").astype("<u2" if wide else "u1")


def _answer(run: Run, prediction: Any, confidence: Any, truth: Any) -> dict[str, Any]:
    return {
        "name": run.class_name(prediction),
        "share": percent(confidence, 0),
        "right": int(prediction) == int(truth),
    }


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
