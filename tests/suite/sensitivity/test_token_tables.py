"""The tables against loops over images, blocks and tokens with scipy's own statistics."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, spearmanr

from suite.sensitivity import token_tables
from suite.sensitivity.effects import ClassEffects
from suite.sensitivity.token_tables import OVERALL, TokenArrays

BLOCKS, GRID, SPECIALS, IMAGES = (0, 2, 5), (1, 3, 4), (6,), 5  # 5 is the depth
COUNT = 12
NAMES = [f"{kind}_{effect}" for kind in ("removal", "zeroing") for effect in ClassEffects.names]


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    """Five images of noise, the third not zeroed; no scores in block 0, no effects at the end."""
    rng, made = np.random.default_rng(3), []
    for image in range(IMAGES):
        frame = pd.DataFrame(
            {"block": np.repeat(BLOCKS, COUNT), "rank": np.tile(np.arange(COUNT), 3)}
        )
        for name in [*NAMES, "estimate_loss", "estimate_margin", "bound_loss"]:
            frame[name] = rng.normal(size=36)
            frame.loc[frame.block == 5, name] = np.nan
        frame["score_delta"] = frame["removal_loss"].fillna(0) + rng.normal(size=36)
        frame.loc[frame.block == 0, "score_delta"] = np.nan
        frame["foreground"] = (np.tile(np.arange(COUNT), 3) < 4 + image).astype(float)
        if image == 2:
            frame[[name for name in NAMES if name.startswith("zeroing")]] = np.nan
        made.append(
            frame.astype({name: np.float32 for name in frame if name not in ("block", "rank")})
        )
    return made


@pytest.fixture(scope="module")
def tokens(frames: list[pd.DataFrame]) -> TokenArrays:
    return TokenArrays.stack("m", frames, GRID, SPECIALS)


def part(frame: pd.DataFrame, block: int, name: str) -> np.ndarray:
    return frame.loc[frame.block == block, name].to_numpy(np.float64)


def row_of(frame: pd.DataFrame, **names: object) -> pd.Series:
    for name, value in names.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_maps_are_means_by_place(tokens: TokenArrays, frames: list[pd.DataFrame]) -> None:
    table = token_tables.map_table(tokens)
    assert len(table) == 36
    spot = row_of(table, block=2, row=1, col=3)
    values = [frame.set_index(["block", "rank"]).loc[(2, 7)] for frame in frames]
    assert spot.removal_loss == pytest.approx(np.mean([value.removal_loss for value in values]))
    assert spot.score_delta == pytest.approx(np.mean([value.score_delta for value in values]))
    assert spot.zeroing_kl == pytest.approx(
        np.mean([values[image].zeroing_kl for image in (0, 1, 3, 4)])
    )
    effects = [part(frame, 2, "removal_kl") for frame in frames]
    assert spot.removal_rank == pytest.approx(
        np.mean([(effect < effect[7]).sum() / 11 for effect in effects])
    )
    assert np.isnan(row_of(table, block=5, row=1, col=3).removal_loss)


def test_steps_are_counted_in_the_sequence(tokens: TokenArrays) -> None:
    assert tokens.steps_from_special() is not None
    np.testing.assert_array_equal(
        tokens.steps_from_special(), [-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6]
    )
    two = TokenArrays(
        "m", {}, BLOCKS, (1, 2, 2), (0, 3)
    )  # special, two patches, special, two patches
    np.testing.assert_array_equal(two.steps_from_special(), [1, -1, 1, 2])
    assert TokenArrays("m", {}, BLOCKS, (1, 2, 2), ()).steps_from_special() is None
    np.testing.assert_allclose(tokens.distance_from_centre()[[0, 5]], [np.hypot(1, 1.5), 0.5])


def test_profiles_average_along_an_axis(tokens: TokenArrays, frames: list[pd.DataFrame]) -> None:
    table = token_tables.profile_table(tokens)
    spot = row_of(table, axis="col", at=1, quantity="removal_kl", block=2)
    expected = [part(frame, 2, "removal_kl")[[1, 5, 9]].mean() for frame in frames]
    assert spot["mean"] == pytest.approx(np.mean(expected))
    assert spot.low < spot["mean"] < spot.high
    assert spot.images == IMAGES
    sequence = table[
        (table.axis == "sequence") & (table.block == 0) & (table.quantity == "removal_loss")
    ]
    assert sequence["at"].tolist() == [-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6]
    wide = TokenArrays(
        "m",
        {"removal_loss": np.ones((1, 1, 64)), "removal_kl": np.ones((1, 1, 64))},
        (0, 9),
        (1, 8, 8),
        (32,),
    )
    bins = token_tables.profile_table(wide)
    assert sorted(set(bins[bins.axis == "sequence"]["at"]))[6:8] == [
        -3,
        3,
    ]  # steps 1 to 5 to either side
    assert "frame" not in set(table.axis)


def test_correlations_are_within_images(tokens: TokenArrays, frames: list[pd.DataFrame]) -> None:
    table = token_tables.agreement_table(tokens)
    spot = row_of(table, quantity="loss", first="estimate", second="zeroing", block=2)
    zeroed = [frames[image] for image in (0, 1, 3, 4)]
    each = [
        spearmanr(part(frame, 2, "estimate_loss"), part(frame, 2, "zeroing_loss")).statistic
        for frame in zeroed
    ]
    assert (spot["mean"], spot.images) == (pytest.approx(np.mean(each)), 4)
    spot = row_of(table, quantity="kl", first="bound", second="removal", block=OVERALL)
    both = [frame[frame.block < 5] for frame in frames]
    each = [spearmanr(frame.bound_loss, frame.removal_kl).statistic for frame in both]
    assert (spot["mean"], spot.images) == (pytest.approx(np.mean(each)), IMAGES)


def test_scores_are_held_against_effects_and_the_object(
    tokens: TokenArrays, frames: list[pd.DataFrame]
) -> None:
    table = token_tables.score_table(tokens)
    spot = row_of(table, target="removal_loss", score="delta", block=2)
    each = [
        spearmanr(part(frame, 2, "score_delta"), part(frame, 2, "removal_loss")).statistic
        for frame in frames
    ]
    assert spot["mean"] == pytest.approx(np.mean(each))
    # scores are read before blocks from 1 on, so the mean over blocks is that of block 2 alone
    assert row_of(table, target="removal_loss", score="delta", block=OVERALL)[
        "mean"
    ] == pytest.approx(np.mean(each))
    assert not len(table[table.block == 0])
    spot = row_of(table, target="foreground", score="delta", block=2)
    each = []
    for frame in frames:
        score, object_ = part(frame, 2, "score_delta"), part(frame, 2, "foreground") > 0
        each.append(
            mannwhitneyu(score[object_], score[~object_]).statistic
            / (object_.sum() * (~object_).sum())
        )
    assert spot["mean"] == pytest.approx(np.mean(each))
    spot = row_of(table, target="removal_kl", score="place", block=2)
    maps = [part(frame, 2, "removal_kl") for frame in frames]
    each = [
        spearmanr(np.mean([*maps[:i], *maps[i + 1 :]], axis=0), maps[i]).statistic
        for i in range(IMAGES)
    ]
    assert spot["mean"] == pytest.approx(np.mean(each))


def test_distance_is_told_from_place(tokens: TokenArrays, frames: list[pd.DataFrame]) -> None:
    table = token_tables.distance_table(tokens)
    near = -np.array([6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6])
    each = [spearmanr(part(frame, 0, "removal_kl"), near).statistic for frame in frames]
    spot = row_of(table, quantity="removal_kl", nearness="sequence", given="", block=0)
    assert spot["mean"] == pytest.approx(np.mean(each))
    assert len(row_of(table, quantity="removal_kl", nearness="sequence", given="centre", block=0))


def test_effects_that_some_images_lack_are_means_of_the_others() -> None:
    one = pd.DataFrame(
        {
            "block": [0, 0],
            "ranking": ["a", "b"],
            **{effect: [1.0, 2.0] for effect in ClassEffects.names},
        }
    )
    two = pd.DataFrame(
        {"block": [0], "ranking": ["a"], **{effect: [4.0] for effect in ClassEffects.names}}
    )
    table = token_tables.effects_table("m", [one, two], ["block", "ranking"])
    assert row_of(table, ranking="a", quantity="loss")["mean"] == 2.5
    assert row_of(table, ranking="a", quantity="loss").images == 2
    assert row_of(table, ranking="b", quantity="kl")["mean"] == 2.0
    assert np.isnan(row_of(table, ranking="b", quantity="kl").low)
