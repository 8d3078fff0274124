"""Data of the page's two drawn panels, the kept-token maps and the gallery, packed small."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.tokens import grid_of, kept_map
from reports.pictures import Pixels, data_uri, decode
from reports.points import averaged, chosen_blocks
from reports.run import Run
from reports.section import Maps
from reports.text import percent

PICTURES = 24  # at most so many in the page's gallery


def kept_panel(run: Run, backbone: str, order: list[str]) -> dict[str, Any] | None:
    """Maps of one backbone by label and budget, a byte a place; None where the run has none."""
    part = run.kept[run.kept["backbone"] == backbone]
    if part.empty:
        return None
    shape = grid_of(part)
    blocks = chosen_blocks(sorted(int(block) for block in part["block"].unique()))
    part = averaged(part[part["block"].isin(blocks)], ["label", "budget", "block", "row", "col"], "kept")
    maps: list[dict[str, Any]] = []
    for (label, budget), rows in part.groupby(["label", "budget"]):
        stack = [kept_map(rows[rows["block"] == block], shape) for block in blocks]
        values = np.nan_to_num(np.clip(np.stack(stack), 0, 1) * 254, nan=255).round().astype(np.uint8)
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
        "bounds": [_bounds(values if maps.shared else row, maps.diverging) for row in values],
        "unit": maps.unit,
        "diverging": maps.diverging,
    }


def _bounds(values: np.ndarray[Any, Any], diverging: bool) -> list[float]:
    """Ends of a colour scale that holds all `values`, zero in its middle if `diverging`."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if diverging:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    return [low, high] if high > low else [low - 0.5, low + 0.5]


def pictures(run: Run) -> dict[int, Pixels]:
    """The pictures of the gallery that can be read and of which some method's tokens are known."""
    wanted = set(run.gallery["image"].astype(int))
    rows = ((int(row.image), row.png) for row in run.images.itertuples() if int(row.image) in wanted)
    found = {image: decode(png) for image, png in rows if isinstance(png, bytes)}
    return dict([(image, pixels) for image, pixels in found.items() if pixels is not None][:PICTURES])


def grid_shape(run: Run) -> tuple[int, int] | None:
    """The image grid of the gallery's tokens: that of the kept maps, else one of square cells; None where none fits.

    A picture of a clip has its frames side by side, and so has its grid.
    """
    places = {len(owner) for owner in run.gallery["owner"]}
    if len(places) != 1:
        return None
    count = places.pop()
    if not run.kept.empty and math.prod(grid_of(run.kept)) == count:
        return grid_of(run.kept)
    height, width = next((pixels.shape[:2] for pixels in pictures(run).values()), (1, 1))
    rows = math.isqrt(count * height // width)
    columns = rows * width // height
    return (rows, columns) if rows * columns == count else None


def one_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Gallery rows of the first seed only."""
    rows = rows.sort_values("seed", kind="stable")
    return rows.drop_duplicates(["backbone", "label", "budget", "image"])


def gallery_panel(
    run: Run, backbone: str, order: list[str], shown: dict[int, Pixels], shape: tuple[int, int]
) -> dict[str, Any] | None:
    """Pictures of one backbone with the owner of every grid place by label and budget; None where there are none."""
    part = run.gallery[(run.gallery["backbone"] == backbone) & run.gallery["image"].isin(list(shown))]
    if part.empty:
        return None
    number = {image: index for index, image in enumerate(shown)}
    images: list[dict[str, Any]] = [{"id": image, "src": data_uri(pixels)} for image, pixels in shown.items()]
    items: list[dict[str, Any]] = []
    for row in one_seed(part).itertuples():
        image = images[number[int(row.image)]]
        image["truth"] = run.class_name(row.label_true)
        image["dense"] = _answer(run, row.dense_prediction, row.dense_confidence, row.label_true)
        items.append(
            {
                "m": order.index(str(row.label)),
                "u": float(row.budget),
                "i": number[int(row.image)],
                "o": _packed(np.asarray(row.owner, dtype="<i4")),
                "a": _answer(run, row.prediction, row.confidence, row.label_true),
            }
        )
    methods = sorted({item["m"] for item in items})
    return {"shape": list(shape), "images": images, "items": items, "labels": methods}


def _answer(run: Run, prediction: Any, confidence: Any, truth: Any) -> dict[str, Any]:
    return {"name": run.class_name(prediction), "share": percent(confidence, 0), "right": int(prediction) == int(truth)}


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
