"""Tables over images from the probes of single images: maps, profiles, rank correlations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.sensitivity.effects import ClassEffects
from suite.sensitivity.intervals import Columns, finite_mean, interval_rows, joined
from suite.stats.paired import mean_over_images
from suite.stats.rank_correlation import partial_spearman, percentile, separation, spearman

# Block number of a row that covers all blocks.
OVERALL = -1
# Distances to the class token are binned to about this many values over both sides of it.
BINS = 14
# Columns of the map that are percentiles of another column within image and block.
RANKED = {"removal_rank": "removal_kl", "zeroing_rank": "zeroing_kl", "bound_rank": "bound_loss"}
# The estimates have a sign, and are compared with effects that have one. The bound has none, and
# is compared with the KL, which has none either.
ESTIMATED = {"loss": "estimate_loss", "margin": "estimate_margin", "kl": "bound_loss"}
GRID_AXES = ("frame", "row", "col")
Array = NDArray[np.float64]
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class TokenArrays:
    """The probes of the patch tokens of all images as arrays.

    ``columns``   name -> (images, blocks, n)
    ``blocks``    those before which tokens were changed, then the depth, which has scores only
    ``grid``      frames, rows and columns of the n patch tokens
    ``specials``  positions of the special tokens in the sequence
    """

    backbone: str
    columns: Mapping[str, Array]
    blocks: tuple[int, ...]
    grid: Grid
    specials: tuple[int, ...]

    @classmethod
    def stack(
        cls,
        backbone: str,
        frames: Sequence[pd.DataFrame],
        grid: Grid,
        specials: Sequence[int],
    ) -> TokenArrays:
        """Stack the ``tokens`` tables of `suite.sensitivity.probe`, one an image, of equal rows."""
        blocks = tuple(frames[0]["block"].unique().tolist())
        shape = (len(frames), len(blocks), int(np.prod(grid)))
        images = pd.concat(frames)
        columns = {}
        for name in images.columns.drop(["block", "rank"]):
            # The tables are in single precision; means over images are taken in double.
            columns[name] = images[name].to_numpy(np.float64).reshape(shape)
        return cls(backbone, columns, blocks, grid, tuple(specials))

    @property
    def sites(self) -> tuple[int, ...]:
        """The blocks before which tokens were changed."""
        return self.blocks[:-1]

    def site_columns(self) -> dict[str, Array]:
        """`columns` at the `sites` only, (images, sites, n) each."""
        sites = len(self.sites)
        return {name: values[:, :sites] for name, values in self.columns.items()}

    def coordinates(self) -> dict[str, NDArray[np.int64]]:
        """Frame, row and column of every patch token, (n,) each."""
        indices = np.indices(self.grid).reshape(3, -1)
        return dict(zip(GRID_AXES, indices, strict=True))

    def steps_from_special(self) -> NDArray[np.int64] | None:
        """Signed distance (n,) of each patch token in the sequence from the nearest special token.

        None without special tokens.
        """
        if not self.specials:
            return None
        length = int(np.prod(self.grid)) + len(self.specials)
        patches = np.delete(np.arange(length), self.specials)
        gaps = patches[:, None] - np.array(self.specials)
        nearest = np.abs(gaps).argmin(1, keepdims=True)
        return np.take_along_axis(gaps, nearest, axis=1)[:, 0]

    def distance_from_centre(self) -> Array:
        """Distance (n,) of each patch token from the centre of its frame, in patches."""
        coordinates = self.coordinates()
        _, height, width = self.grid
        down = coordinates["row"] - (height - 1) / 2
        across = coordinates["col"] - (width - 1) / 2
        return np.hypot(down, across)

    def rows_by_site(self, per_image: Array, **keys: Any) -> Columns:
        """Tabulate mean and interval of `per_image` (images, sites), a row per site."""
        columns = {"backbone": self.backbone, **keys, "block": self.sites}
        return interval_rows(columns, per_image)

    def rows_with_overall(self, per_image: Array, overall: Array, **keys: Any) -> Columns:
        """`rows_by_site`, and a row of `overall` (images,) for all sites together."""
        columns = {"backbone": self.backbone, **keys, "block": [OVERALL]}
        overall_row = interval_rows(columns, overall[:, None])
        return joined([self.rows_by_site(per_image, **keys), overall_row])


def concatenate(parts: Sequence[Columns]) -> pd.DataFrame:
    """Join rows of mean and interval, without those that no image has a value for."""
    frame = pd.DataFrame(joined(parts))
    return frame[frame.images > 0].reset_index(drop=True)


def map_table(tokens: TokenArrays) -> pd.DataFrame:
    """Tabulate the mean over images of every column by block and grid position.

    ``removal_rank`` and the other columns of `RANKED` are the mean percentile of the position
    within its image and block, from 0 (changes the answer least) to 1 (most): there a few images
    with large effects do not outweigh the others.
    """
    columns = dict(tokens.columns)
    for name, source in RANKED.items():
        columns[name] = percentile(columns[source])
    axes = [tokens.blocks, *map(range, tokens.grid)]
    index = pd.MultiIndex.from_product(axes, names=["block", *GRID_AXES])
    table = index.to_frame(index=False).astype(np.int32)
    table.insert(0, "backbone", tokens.backbone)
    for name, values in columns.items():
        table[name] = finite_mean(values, axis=0).ravel()
    # Columns that no image has, such as the zeroing of none, are left out of the file.
    return table.dropna(axis="columns", how="all")


def profile_table(tokens: TokenArrays) -> pd.DataFrame:
    """Tabulate the mean effects of removal by block along image axes and the sequence.

    ``axis`` is row, col, frame, centre (distance from the centre of the image, rounded to patches)
    or sequence (signed distance from the class token in tokens, ``at`` the middle of a bin).
    """
    axes: dict[str, Array] = {}
    for name, coordinate in tokens.coordinates().items():
        # Images have a single frame, along which nothing varies.
        if name != "frame" or tokens.grid[0] > 1:
            axes[name] = coordinate.astype(float)
    axes["centre"] = tokens.distance_from_centre().round()
    steps = tokens.steps_from_special()
    if steps is not None:
        away = np.abs(steps)
        width = max(1, ceil(2 * int(away.max()) / BINS))
        # Bins begin next to the class token on either side, so none spans it.
        begin = (away - 1) // width * width
        middle = begin + (width + 1) / 2
        axes["sequence"] = np.sign(steps) * middle
    columns = tokens.site_columns()
    quantities = {
        "removal_loss": columns["removal_loss"],
        "removal_kl": columns["removal_kl"],
        "removal_rank": percentile(columns["removal_kl"]),
    }
    rows = []
    for axis, at in axes.items():
        for value in np.unique(at):
            for quantity, values in quantities.items():
                per_image = finite_mean(values[:, :, at == value], axis=-1)
                keys = {"axis": axis, "at": value, "quantity": quantity}
                rows.append(tokens.rows_by_site(per_image, **keys))
    return concatenate(rows)


def agreement_table(tokens: TokenArrays) -> pd.DataFrame:
    """Tabulate the rank correlations between exact effects and estimates within an image.

    By block over its tokens, and in the overall row over the tokens of all blocks at once.
    """
    columns = tokens.site_columns()
    rows = []
    for effect, estimate in ESTIMATED.items():
        # Classes of pixels have no margin.
        if f"removal_{effect}" not in columns:
            continue
        # By the names of the measures: "estimate" or "bound", zeroing, removal.
        measures = {}
        for column in (estimate, f"zeroing_{effect}", f"removal_{effect}"):
            kind, _, _ = column.partition("_")
            measures[kind] = columns[column]
        for first, second in combinations(measures, 2):
            one, other = measures[first], measures[second]
            all_tokens = (len(one), -1)
            overall = spearman(one.reshape(all_tokens), other.reshape(all_tokens))
            per_image = spearman(one, other)
            keys = {"quantity": effect, "first": first, "second": second}
            rows.append(tokens.rows_with_overall(per_image, overall, **keys))
    return concatenate(rows)


def distance_table(tokens: TokenArrays) -> pd.DataFrame:
    """Tabulate by block how removal's effects correlate with nearness in sequence and image.

    Rank correlation within an image with nearness to the class token in the sequence, and to the
    centre of the image. ``given`` names what is held fixed: the class token of most backbones is
    in the middle of the sequence, so that tokens near it are also near the centre.
    """
    nearness_by_name: dict[str, Array] = {"centre": -tokens.distance_from_centre()}
    steps = tokens.steps_from_special()
    if steps is not None:
        nearness_by_name["sequence"] = -np.abs(steps).astype(float)
    rows = []
    for quantity in ("removal_loss", "removal_kl"):
        effects = tokens.site_columns()[quantity]
        for name, nearness in nearness_by_name.items():
            correlations = {"": spearman(effects, nearness)}
            for other, fixed in nearness_by_name.items():
                if other != name:
                    correlations[other] = partial_spearman(effects, nearness, fixed)
            for given, per_image in correlations.items():
                keys = {"quantity": quantity, "nearness": name, "given": given}
                overall = finite_mean(per_image, axis=1)
                rows.append(tokens.rows_with_overall(per_image, overall, **keys))
    return concatenate(rows)


def score_table(tokens: TokenArrays) -> pd.DataFrame:
    """Tabulate how well each score, and each reference, predicts which tokens matter.

    ``target`` removal_loss or removal_kl: rank correlation with the exact effect within an image.
    foreground: probability that an object token is ranked above a background token (area under the
    ROC). The overall row is the mean over the blocks from 1 on. ``place`` is the mean map of the
    other images.
    """
    columns = tokens.site_columns()
    scores = {}
    for name, values in columns.items():
        if name.startswith("score_"):
            scores[name.removeprefix("score_")] = values
    scores["estimate"] = columns["estimate_loss"]
    scores["bound"] = columns["bound_loss"]
    # Before block 0 no score can be read. References are left out there too, so that all overall
    # rows cover the same blocks.
    scored = np.array(tokens.sites)[:, None] > 0
    rows = []
    for target in ("removal_loss", "removal_kl", "foreground"):
        truth = columns[target]
        compared = dict(scores)
        measure: Callable[[Array, Array], Array] = spearman
        if target == "foreground":
            measure = separation
            compared["removal"] = columns["removal_loss"]
            compared["removal-kl"] = columns["removal_kl"]
        else:
            compared["zeroing"] = columns[target.replace("removal", "zeroing")]
            # The same tokens were tried in all images, so that nothing is missing in some only.
            of_others = truth.sum(0) - truth
            compared["place"] = of_others / max(1, len(truth) - 1)
            compared["foreground"] = columns["foreground"]
        for name, values in compared.items():
            readable = np.where(scored, values, np.nan)
            per_image = measure(readable, truth)
            overall = finite_mean(per_image, axis=1)
            keys = {"target": target, "score": name}
            rows.append(tokens.rows_with_overall(per_image, overall, **keys))
    return concatenate(rows)


def effects_table(
    backbone: str,
    frames: Sequence[pd.DataFrame],
    by: list[str],
) -> pd.DataFrame:
    """Tabulate the mean over images of each effect, for every combination of the columns `by`.

    `frames` are the ``groups`` or ``placements`` tables of `suite.sensitivity.probe`, one an image.
    """
    effects = [name for name in ClassEffects.names if name in frames[0]]
    indexed = [frame.set_index(by)[effects] for frame in frames]
    # Images may lack rows: the true object ranks tokens only where it is known.
    index = indexed[0].index
    for frame in indexed[1:]:
        index = index.union(frame.index)
    aligned = [frame.reindex(index).to_numpy(np.float64) for frame in indexed]
    summary = mean_over_images(np.stack(aligned))._asdict()
    parts = []
    for column, effect in enumerate(effects):
        rows = index.to_frame(index=False).assign(backbone=backbone, quantity=effect)
        for name, statistic in summary.items():
            rows[name] = statistic[:, column]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)
