"""Overlaps and correlations against counting by hand, one image and one pair at a time."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from suite.analysis.similarity import (
    answer_alike,
    centred_ranks,
    concordance,
    kappa,
    mantel,
    overlap,
    rank_correlation,
)
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.prepare import prepare
from suite.store.results import MAX_TRACKED, tracked_subset, unpacked

Specs = Callable[..., RunSpec]


def iou(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(arrays(bool, (n, 9)), arrays(bool, (n, 9)))))
@settings(max_examples=60, deadline=None)
def test_overlap_is_that_of_counting(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pair
    got = overlap(one, other)
    sets = [
        (set(np.flatnonzero(a)), set(np.flatnonzero(b))) for a, b in zip(one, other, strict=True)
    ]
    assert got[0] == pytest.approx(np.mean([iou(*each) for each in sets]))
    phis = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(one, other, strict=True)
        if 0 < a.sum() < 9 and 0 < b.sum() < 9
    ]
    assert got[2] == pytest.approx(np.mean(phis)) if phis else np.isnan(got[2])


def lin(one: np.ndarray, other: np.ndarray) -> float:
    """Lin's concordance from Pearson's correlation and the two moments, of n, not n - 1."""
    correlation = np.corrcoef(one, other)[0, 1]
    apart = (one.mean() - other.mean()) ** 2
    return float(2 * correlation * one.std() * other.std() / (one.var() + other.var() + apart))


def test_concordance_is_lins_and_of_hits_cohens_kappa() -> None:
    rng = np.random.default_rng(2)
    one = rng.random(40)
    other = 0.7 * one + 0.2 * rng.random(40)
    assert concordance(one, other) == pytest.approx(lin(one, other))
    assert answer_alike(one, other)[1] == pytest.approx(1 - sum(map(abs, one - other)) / 40)
    assert concordance(one, one) == 1
    assert np.isnan(concordance(np.full(5, 0.3), np.full(5, 0.3)))
    hits, misses = rng.random((2, 60)) < 0.7
    found = answer_alike(hits, misses)
    assert found[0] == kappa(hits, misses)
    assert concordance(hits.astype(float), misses.astype(float)) == pytest.approx(found[0])
    assert answer_alike(hits.astype(float), misses.astype(float)) == pytest.approx(found)


def test_random_sets_overlap_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    one, other = (
        rng.permuted(np.tile(np.arange(100) < size, (4000, 1)), axis=1) for size in (60, 30)
    )
    found, chance, phi = overlap(one, other)
    assert found == pytest.approx(chance, abs=0.003)
    assert phi == pytest.approx(0, abs=0.01)


@given(
    arrays(np.int64, (3, 8), elements=st.integers(0, 3)),
    arrays(np.int64, (3, 8), elements=st.integers(0, 3)),
)
@settings(max_examples=40, deadline=None)
def test_rank_correlation_is_spearmans(one: np.ndarray, other: np.ndarray) -> None:
    each = [
        spearmanr(a, b).statistic
        for a, b in zip(one, other, strict=True)
        if np.ptp(a) and np.ptp(b)
    ]
    got = rank_correlation(centred_ranks(one), centred_ranks(other))
    assert got == pytest.approx(np.mean(each)) if each else np.isnan(got)


def test_kappa_by_hand() -> None:
    one, other = np.array([1, 1, 1, 0, 0], bool), np.array([1, 1, 0, 0, 1], bool)
    assert kappa(one, other) == pytest.approx((0.6 - 0.52) / 0.48)
    assert kappa(one, one) == 1
    assert np.isnan(kappa(np.ones(3, bool), np.ones(3, bool)))


def test_the_link_is_spearmans_and_its_p_that_of_all_permutations() -> None:
    rng = np.random.default_rng(1)
    one, noise = (np.triu(rng.normal(size=(6, 6)), 1) for _ in range(2))
    one, noise = one + one.T, noise + noise.T
    rows, columns = np.triu_indices(6, 1)
    for other in (one + 0.3 * noise, noise):
        rho, p = mantel(one, other)
        assert rho == pytest.approx(spearmanr(one[rows, columns], other[rows, columns]).statistic)
        orders = [rng.permutation(6) for _ in range(600)]
        draws = [
            spearmanr(one[rows, columns], other[np.ix_(order, order)][rows, columns]).statistic
            for order in orders
        ]
        assert p == pytest.approx((np.abs(draws) >= abs(rho) - 1e-12).mean(), abs=0.06)
    assert np.isnan(mantel(one[:3, :3], noise[:3, :3])[0])


def test_tracked_images_are_spread_evenly_and_few() -> None:
    assert tracked_subset(np.arange(30)).tolist() == list(range(30))
    many = tracked_subset(np.arange(50_000))
    assert MAX_TRACKED / 2 < len(many) <= MAX_TRACKED
    assert set(np.diff(many)) == {196}


def test_tables_are_those_of_following_every_token(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.store.results.MAX_TRACKED", 8)
    spec = small(methods=("mtr", "tome", "delta"), budgets=(0.3,), baselines=False, gallery=0)
    run_comparison(spec, tmp_path, quiet=True)
    prepared = prepare(spec)
    model, images = prepared.models["vim_mini"], prepared.indices[::4]
    alive: dict[str, dict[int, np.ndarray]] = {}
    for cell in prepared.main[1:]:
        assert cell.plan is not None
        shown = alive[cell.label] = {
            block: np.zeros((len(images), 100), bool) for block in cell.plan.removals
        }
        for row, image in enumerate(images):
            pixels = torch.from_numpy(prepared.dataset.sample(int(image), 40))[None]
            with torch.inference_mode():
                tokens, at = model.embed(pixels, torch.tensor([image])), 0
                for block, reducer in cell.reducers().items():
                    tokens, at = reducer(model.run(tokens, at, block, needs=reducer.needs)), block
                    places = [
                        place - (place > 50) for place in tokens.position[0].tolist() if place != 50
                    ]
                    shown[block][row, places] = True
    layers = pd.read_parquet(tmp_path / "analyses" / "token_overlap.parquet")
    pairs = pd.read_parquet(tmp_path / "analyses" / "method_similarity.parquet")
    blocks = sorted(alive["mtr"])
    assert len(layers) == 3 * len(blocks)
    assert len(pairs) == 3
    assert not (tmp_path / "analyses" / "mantel_test.parquet").exists()
    for one, other in combinations(alive, 2):
        for block in blocks:
            row = layers[
                (layers.one == one) & (layers.other == other) & (layers.block == block)
            ].iloc[0]
            assert (row.iou, row.chance, row.correlation) == pytest.approx(
                overlap(alive[one][block], alive[other][block])
            )
        depth = [sum(alive[label][block].astype(int) for block in blocks) for label in (one, other)]
        pair = pairs[(pairs.one == one) & (pairs.other == other)].iloc[0]
        each = [spearmanr(a, b).statistic for a, b in zip(*depth, strict=True)]
        assert pair.survival == pytest.approx(np.mean(each))
        assert pair.images == len(images)


def test_bits_come_back_as_they_went() -> None:
    rng = np.random.default_rng(2)
    alive = rng.random((13, 5)) < 0.5
    rows = [np.packbits(column).tobytes() for column in alive.T]
    assert np.array_equal(unpacked(rows, 13), alive)
