"""From what single images showed to the tables of the analysis: means, profiles, correlations, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.sensitivity.probe import EFFECTS
from suite.stats.means import mean_over_images
from suite.stats.rank_correlation import partial_spearman, percentile, separation, spearman

OVERALL = -1  # the block number of a figure over all blocks
BINS = 14
RANKED = {"removal_rank": "removal_kl", "zeroing_rank": "zeroing_kl", "bound_rank": "bound_loss"}
INTERVAL = ("block", "mean", "low", "high", "images")
Array = NDArray[np.float64]
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Tokens:
    """Everything known of patch tokens, image by image.

    ``columns`` name -> (images, blocks, n); ``blocks`` those before which tokens were changed, then the depth, whose
    entries know scores only; ``grid`` of the patch tokens; ``specials`` their places in the sequence.
    """

    backbone: str
    columns: Mapping[str, Array]
    blocks: tuple[int, ...]
    grid: Grid
    specials: tuple[int, ...]

    @classmethod
    def of(
        cls, backbone: str, frames: Sequence[pd.DataFrame], grid: Grid, specials: Sequence[int]
    ) -> Tokens:
        """Stack the ``tokens`` frames of `suite.sensitivity.probe`, one an image; all have the same rows."""
        blocks = tuple(int(block) for block in frames[0]["block"].unique())
        shape = (len(frames), len(blocks), int(np.prod(grid)))
        names = dict.fromkeys(
            name for frame in frames for name in frame if name not in ("block", "rank")
        )
        columns = {
            name: np.stack([frame[name].to_numpy(np.float64) for frame in frames]).reshape(shape)
            for name in names
        }
        return cls(backbone, columns, blocks, grid, tuple(specials))

    @property
    def layers(self) -> int:
        """How many of `blocks` tokens were changed before."""
        return len(self.blocks) - 1

    def changed(self, name: str) -> Array:
        """Column `name` (images, layers, n) at the blocks before which tokens were changed."""
        return self.columns[name][:, : self.layers]

    def where(self) -> dict[str, NDArray[np.int64]]:
        """Frame, row and column of every patch token (n,)."""
        found = np.unravel_index(np.arange(int(np.prod(self.grid))), self.grid)
        return dict(zip(("frame", "row", "col"), found, strict=True))

    def steps(self) -> NDArray[np.int64] | None:
        """Signed distance (n,) of each patch token from the nearest special token in the sequence; None without any."""
        if not self.specials:
            return None
        places = np.delete(np.arange(int(np.prod(self.grid)) + len(self.specials)), self.specials)
        gaps = places[:, None] - np.array(self.specials)
        return gaps[np.arange(len(gaps)), np.abs(gaps).argmin(1)]

    def from_centre(self) -> Array:
        """Distance (n,) of each patch token from the middle of its frame, in patches."""
        place = self.where()
        _, height, width = self.grid
        return np.hypot(place["row"] - (height - 1) / 2, place["col"] - (width - 1) / 2)


def map_frame(tokens: Tokens) -> pd.DataFrame:
    """Mean over images by block and grid place of every effect, estimate, score and of the foreground.

    ``removal_rank`` and its like are the mean standing of the place within its image and block, from 0, moving the
    answer least, to 1, most: a few images with large effects do not outweigh the others there.
    """
    place = tokens.where()
    columns = dict(tokens.columns)
    columns |= {name: percentile(columns[of]) for name, of in RANKED.items()}
    found = {name: mean_over_images_only(values) for name, values in columns.items()}
    rows = {name: np.tile(values, len(tokens.blocks)) for name, values in place.items()}
    frame = pd.DataFrame(
        {
            "backbone": tokens.backbone,
            "block": np.repeat(np.array(tokens.blocks, np.int32), len(place["row"])),
            **{name: values.astype(np.int32) for name, values in rows.items()},
            **{name: values.ravel() for name, values in found.items()},
        }
    )
    return frame.dropna(axis="columns", how="all")


def mean_over_images_only(values: Array) -> Array:
    """Mean (...) of `values` (images, ...) over those that are known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(0)
    return np.divide(total, known.sum(0), out=np.full(total.shape, np.nan), where=known.any(0))


def profile_frame(tokens: Tokens) -> pd.DataFrame:
    """Removal's effects by block along rows, columns, frames, the sequence and the distance from the centre.

    ``axis`` sequence is the signed distance from the class token in tokens, in some `BINS` bins, ``at`` their middle.
    """
    axes: dict[str, Array] = {name: values.astype(float) for name, values in tokens.where().items()}
    if tokens.grid[0] == 1:
        del axes["frame"]
    axes["centre"] = tokens.from_centre().round()
    if (steps := tokens.steps()) is not None:
        away = np.abs(steps)
        width = max(1, -(-2 * int(away.max()) // BINS))
        axes["sequence"] = np.sign(steps) * ((away - 1) // width * width + (width + 1) / 2)
    profiled = {name: tokens.changed(name) for name in ("removal_loss", "removal_kl")}
    profiled["removal_rank"] = percentile(tokens.changed("removal_kl"))
    rows = []
    for axis, at in axes.items():
        for value in np.unique(at):
            for quantity, values in profiled.items():
                per_image = _mean(values[:, :, at == value])
                rows += measured(
                    tokens, per_image, {"axis": axis, "at": float(value), "quantity": quantity}
                )
    return pd.DataFrame(rows, columns=["backbone", "axis", "at", "quantity", *INTERVAL])


def measured(tokens: Tokens, per_image: Array, names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each layer of `per_image` (images, layers) with its mean over images and interval."""
    found = mean_over_images(per_image)
    return [
        {
            "backbone": tokens.backbone,
            **names,
            "block": block,
            "mean": mean,
            "low": low,
            "high": high,
            "images": images,
        }
        for block, mean, low, high, images in zip(
            tokens.blocks, *(part.tolist() for part in found), strict=False
        )
        if images
    ]


def averaged(tokens: Tokens, per_image: Array, names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row, over all blocks: the mean over images of `per_image` (images,)."""
    found = mean_over_images(per_image)
    row = {
        "block": OVERALL,
        "mean": float(found.mean),
        "low": float(found.low),
        "high": float(found.high),
    }
    return (
        [{"backbone": tokens.backbone, **names, **row, "images": int(found.images)}]
        if found.images
        else []
    )


def others_mean(values: Array) -> Array:
    """For each image the mean over the other images of `values` (images, ...): what the place alone foretells."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    total, count = filled.sum(0) - filled, known.sum(0) - known
    return np.divide(total, count, out=np.full(values.shape, np.nan), where=count > 0)


def agreement_frame(tokens: Tokens) -> pd.DataFrame:
    """Rank correlations between the exact effects and the estimates, by block and over all places and blocks at once.

    The first-order estimate is held against effects on the loss and the margin, the bound, which
    has no sign, against those on the answer (``kl``).
    """
    rows = []
    for effect, estimate in (
        ("loss", "estimate_loss"),
        ("margin", "estimate_margin"),
        ("kl", "bound_loss"),
    ):
        zeroing, removal = tokens.changed(f"zeroing_{effect}"), tokens.changed(f"removal_{effect}")
        cheap, kind = tokens.changed(estimate), estimate.partition("_")[0]
        for first, second, one, two in (
            (kind, "zeroing", cheap, zeroing),
            (kind, "removal", cheap, removal),
            ("zeroing", "removal", zeroing, removal),
        ):
            names = {"quantity": effect, "first": first, "second": second}
            flat = (len(one), -1)
            rows += measured(tokens, spearman(one, two), names)
            rows += averaged(tokens, spearman(one.reshape(flat), two.reshape(flat)), names)
    return pd.DataFrame(rows, columns=["backbone", "quantity", "first", "second", *INTERVAL])


def distance_frame(tokens: Tokens) -> pd.DataFrame:
    """Rank correlation of removal's effects with nearness to the class token, in sequence and in space, by block.

    ``given`` names what was held fixed: with `centre`, what nearness in the sequence adds to that in the image.
    """
    near: dict[str, Array] = {"centre": -tokens.from_centre()}
    if (steps := tokens.steps()) is not None:
        near["sequence"] = -np.abs(steps).astype(float)
    rows = []
    for quantity in ("removal_loss", "removal_kl"):
        values = tokens.changed(quantity)
        for name, nearness in near.items():
            found = {"": spearman(values, nearness)}
            found |= {
                other: partial_spearman(values, nearness, near[other])
                for other in near
                if other != name
            }
            for given, per_image in found.items():
                names = {"quantity": quantity, "nearness": name, "given": given}
                rows += measured(tokens, per_image, names) + averaged(
                    tokens, _mean(per_image), names
                )
    return pd.DataFrame(rows, columns=["backbone", "quantity", "nearness", "given", *INTERVAL])


def score_frame(tokens: Tokens) -> pd.DataFrame:
    """How well each score, and what it is held against, knows which tokens matter.

    ``target`` removal_loss and removal_kl: rank correlation with the exact effect of removal, within an image.
    foreground: probability that an object token is ranked above one of the background. Block -1 is the mean over the
    blocks from 1 on, before which a score can be read. ``place`` is the mean map of the other images.
    """
    ranked = {
        name.removeprefix("score_"): tokens.changed(name)
        for name in tokens.columns
        if name.startswith("score_")
    }
    ranked |= {"estimate": tokens.changed("estimate_loss"), "bound": tokens.changed("bound_loss")}
    foreground = tokens.changed("foreground")
    readable = np.array(tokens.blocks[:-1]) > 0
    rows = []
    for target in ("removal_loss", "removal_kl", "foreground"):
        wanted = tokens.changed(target)
        compared = dict(ranked)
        if target == "foreground":
            compared |= {
                "removal": tokens.changed("removal_loss"),
                "removal-kl": tokens.changed("removal_kl"),
            }
        else:
            exact = tokens.changed(target.replace("removal", "zeroing"))
            compared |= {"zeroing": exact, "place": others_mean(wanted), "foreground": foreground}
        for name, values in compared.items():
            values = np.where(readable[:, None], values, np.nan)
            found = (separation if target == "foreground" else spearman)(values, wanted)
            names = {"target": target, "score": name}
            rows += measured(tokens, found, names) + averaged(tokens, _mean(found), names)
    return pd.DataFrame(rows, columns=["backbone", "target", "score", *INTERVAL])


def _mean(values: Array) -> Array:
    """Mean over the last axis of what is known there."""
    return mean_over_images_only(np.moveaxis(values, -1, 0))


def effects_frame(backbone: str, frames: Sequence[pd.DataFrame], by: list[str]) -> pd.DataFrame:
    """Mean over images of the effects in `frames`, one an image, for each place of `by`, as quantity and interval."""
    keyed = [frame.set_index(by)[list(EFFECTS)] for frame in frames]
    places = keyed[0].index
    for frame in keyed[1:]:
        places = places.union(frame.index)
    found = mean_over_images(
        np.stack([frame.reindex(places).to_numpy(np.float64) for frame in keyed])
    )
    parts = [
        places.to_frame(index=False).assign(
            backbone=backbone,
            quantity=effect,
            **{name: values[:, column] for name, values in found._asdict().items()},
        )
        for column, effect in enumerate(EFFECTS)
    ]
    return pd.concat(parts, ignore_index=True)
