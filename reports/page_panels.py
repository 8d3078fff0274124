"""Packed data of the page's drawn panels: maps of kept tokens, and the gallery."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.aggregate import averaged, blocks_of, chosen_blocks
from reports.figures.tokens import grid_of, grids
from reports.formatting import distinct_names, percent
from reports.run import Row, Run
from reports.section import Maps
from reports.token_overlay import Pixels, data_uri, decode

PICTURES = 24  # at most so many in the page's gallery
FEW = 8  # pictures that are shown at every block, if need be at fewer blocks
HEAVY = 4_000_000  # bytes of tokens of one backbone on the page


def kept_panel(run: Run, backbone: str, order: list[str]) -> Row | None:
    """Return the maps of one backbone by label and budget, a byte a position; None if none."""
    part = run.kept_tokens[run.kept_tokens["backbone"] == backbone]
    if part.empty:
        return None
    shape = grid_of(part)
    blocks = chosen_blocks(blocks_of(part))
    keys = ["label", "budget", "block", "row", "col"]
    part = averaged(part[part["block"].isin(blocks)], keys, "kept")
    maps: list[Row] = []
    for (label, budget), rows in part.groupby(["label", "budget"]):
        # 255 marks a position without a value
        stack = np.clip(grids(rows, "kept", blocks, shape), 0, 1)
        bytes_of = np.nan_to_num(stack * 254, nan=255)
        values = bytes_of.round().astype(np.uint8)
        maps.append({"m": order.index(str(label)), "u": float(str(budget)), "v": _packed(values)})
    shown = sorted({entry["m"] for entry in maps})
    return {"blocks": blocks, "shape": list(shape), "maps": maps, "labels": shown}


def stack_panel(maps: Maps) -> Row:
    """Return maps behind a slider: values as little-endian float32, and bounds of colours."""
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
        "middle": maps.middle,
        "short": distinct_names(maps.names),
    }


def pictures(run: Run) -> dict[int, Pixels]:
    """Return the legible pictures of the gallery whose tokens are known, by image."""
    tracked = run.images[run.images["image"].isin(run.gallery["image"])]
    shown: dict[int, Pixels] = {}
    for row in tracked.itertuples():
        pixels = decode(row.png) if len(shown) < PICTURES else None
        if pixels is not None:
            shown[int(row.image)] = pixels
    return shown


def grid_shape(run: Run, shown: Mapping[int, Pixels]) -> tuple[int, int] | None:
    """Return rows and columns of the token grid, in the proportions of the pictures.

    None if the pictures have grids of several sizes, or the tokens fill no grid.
    """
    counts = {len(owner) for owner in run.gallery["owner"]}
    if len(counts) != 1 or not shown:
        return None
    count = counts.pop()
    height, width = next(iter(shown.values())).shape[:2]
    rows = max(1, round(math.sqrt(count * height / width)))
    return (rows, count // rows) if count % rows == 0 else None


def one_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the gallery rows of the first seed, one for each block."""
    rows = rows.sort_values(["seed", "block"], kind="stable")
    return rows.drop_duplicates(["backbone", "label", "budget", "image", "block"])


def last_block(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the gallery rows after the last reduction."""
    return one_seed(rows).drop_duplicates(["backbone", "label", "budget", "image"], keep="last")


def gallery_panel(
    run: Run, backbone: str, order: list[str], shown: dict[int, Pixels], shape: tuple[int, int]
) -> Row | None:
    """Return pictures of one backbone with the owner of each position by label, budget and block.

    As many pictures and blocks as fit `HEAVY` bytes, the last block always; None if there are none.
    """
    gallery = run.gallery
    part = one_seed(gallery[(gallery["backbone"] == backbone) & gallery["image"].isin(list(shown))])
    if part.empty:
        return None
    # two bytes a position where one cannot number all tokens
    wide = math.prod(shape) > 250
    cells = part.groupby(["label", "budget"]).ngroups
    # bytes of one picture at one block; base64 takes 4 bytes for 3
    weight = math.prod(shape) * (2 if wide else 1) * 4 / 3 * cells
    blocks = chosen_blocks([-1, *blocks_of(part)])
    blocks = chosen_blocks([-1, *blocks], max(1, int(HEAVY / weight / min(len(shown), FEW))))
    shown = dict(list(shown.items())[: max(1, int(HEAVY / weight / len(blocks)))])
    part = part[part["image"].isin(list(shown))]
    number = {image: index for index, image in enumerate(shown)}
    why = {}
    if "why" in run.images:
        why = dict(zip(run.images["image"], run.images["why"], strict=True))
    images: list[Row] = []
    for image, pixels in shown.items():
        reason = str(why.get(image) or "")
        images.append({"id": image, "src": data_uri(pixels), "why": reason})

    def answer(whose: str = "") -> Row:
        name, share, right = run.answer(row, whose)
        return {"name": name, "share": percent(share, 0), "right": right}

    items: list[Row] = []
    for (label, budget, picture), rows in part.groupby(["label", "budget", "image"], sort=False):
        row = rows.iloc[-1]
        index, truth = number[int(str(picture))], row["label_true"]
        # the same in every row of the picture
        images[index]["truth"] = run.class_name(truth)
        images[index]["dense"] = answer("dense_")
        owners = dict(zip(rows["block"].astype(int), rows["owner"], strict=True))
        items.append(
            {
                "m": order.index(str(label)),
                "u": float(str(budget)),
                "i": index,
                "o": [_packed(_owners(owners, block, wide)) for block in blocks],
                "a": answer(),
            }
        )
    return {
        "shape": list(shape),
        "wide": wide,
        "blocks": blocks,
        "images": images,
        "items": items,
        "labels": sorted({item["m"] for item in items}),
    }


def _owners(owners: Mapping[int, Any], block: int, wide: bool) -> np.ndarray[Any, Any]:
    """Return the owners after the last reduction at or before `block`, as unsigned bytes."""
    before = [reduced for reduced in owners if reduced <= block]
    if before:
        values = np.asarray(owners[max(before)])
    else:
        values = np.arange(len(next(iter(owners.values()))))
    # -1 and -2 wrap to the two largest numbers of the type, as the page reads them
    return values.astype("<i4").astype("<u2" if wide else "u1")


def _packed(values: np.ndarray[Any, Any]) -> str:
    """Return the bytes of an array in base64."""
    return base64.b64encode(values.tobytes()).decode()
