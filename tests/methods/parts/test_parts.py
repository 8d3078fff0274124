"""The parts by themselves: random numbers, ties, matchings, combinations."""

import math
import subprocess
import sys
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from methods.parts import match
from methods.parts.combine import attention, averaged, paired
from methods.parts.counter_random import GAMMA, _mix, _signed, uniform
from methods.parts.features import cosine
from methods.parts.grid import local_maximum
from methods.parts.hidden_attention import hidden_attention, undecayed_attention
from methods.parts.match import Matching


def test_random_numbers_are_uniform_and_unrelated() -> None:
    images, positions = torch.arange(40), torch.arange(250).expand(40, -1)
    draws = [
        uniform(seed, images, site, positions, k).flatten()
        for seed, site, k in [(0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1)]
    ]
    for numbers in draws:
        assert float(numbers.min()) >= 0
        assert float(numbers.max()) < 1
        assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-3
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.05
    assert len(set(torch.cat(draws).tolist())) == 40000


def test_splitmix_of_the_literature() -> None:
    # The finaliser after one addition of gamma is the first output of splitmix64 seeded with 0 and
    # with 1234567.
    for seed, first in [(0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)]:
        assert int(_mix(torch.tensor([seed + _signed(GAMMA)]))[0]) % 2**64 == first


def test_ties_go_to_the_earlier_token() -> None:
    score = torch.tensor([[1.0, 2.0, 1.0, 2.0, 1.0]])
    assert match.lowest(score, 2).source.tolist() == [[2, 4]]
    assert match.fused(score, 2).target.tolist() == [[0, 0]]
    source, target = match.split(score, 2, 2)
    assert (source.tolist(), target.tolist()) == ([[2, 4]], [[3, 0]])
    a, b = match.alternate(5, 1, torch.device("cpu"))
    edges = match.top_edges(a, b, torch.zeros(1, 3, 2), 2)
    assert (edges.source.tolist(), edges.target.tolist()) == ([[0, 2]], [[1, 1]])
    assert match.to_best(source, target, torch.zeros(1, 2, 2)).target.tolist() == [[3, 3]]


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_spaced_survivors_are_even(case: tuple[int, int]) -> None:
    patches, r = case
    gone = match.spaced(patches, r, 1, torch.device("cpu")).source[0].tolist()
    kept = sorted(set(range(patches)) - set(gone))
    assert len(gone) == r
    assert len(kept) == patches - r
    gaps = {b - a for a, b in pairwise(kept)}
    assert max(gaps, default=1) - min(gaps, default=1) <= 1


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_runs_are_whole_and_near_equal(case: tuple[int, int]) -> None:
    patches, r = case
    matching = match.runs(torch.arange(patches)[None], r)
    groups = {int(d): [int(d)] for d in matching.destinations[0]}
    for source, target in zip(
        matching.source[0].tolist(), matching.target[0].tolist(), strict=True
    ):
        groups[target].append(source)
    members = [sorted(group) for group in groups.values()]
    assert list(chain(*members)) == list(range(patches))
    lengths = {len(group) for group in members}
    assert max(lengths) - min(lengths) <= 1


def test_the_z_curve_keeps_squares_together() -> None:
    cell = torch.arange(16)[None]
    walk = match.curve(cell, (1, 4, 4))[0].tolist()
    assert [sorted(walk[i : i + 4]) for i in range(0, 16, 4)] == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    assert sorted(match.curve(torch.arange(15)[None], (1, 3, 5))[0].tolist()) == list(range(15))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_clip_is_walked_frame_by_frame_as_its_frames_are(
    frames: int, height: int, width: int, data: st.DataObject
) -> None:
    area = height * width
    left = data.draw(st.sets(st.integers(0, frames * area - 1), min_size=1).map(sorted))
    cell = torch.tensor(left)[None]
    walk = cell[0, match.curve(cell, (frames, height, width))[0]].tolist()
    single = torch.arange(area)[None]
    of_one = match.curve(single, (1, height, width))[0].tolist()
    assert walk == [f * area + c for f in range(frames) for c in of_one if f * area + c in left]


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([3, 5]),
    st.integers(0, 99),
)
def test_the_largest_in_a_window_is_of_the_same_frame(
    frames: int, height: int, width: int, window: int, seed: int
) -> None:
    cell = torch.arange(frames * height * width)[None]
    values = torch.randn(cell.shape, generator=torch.Generator().manual_seed(seed))
    found = local_maximum(values, cell, (frames, height, width), window)[0].view(frames, -1)
    for frame in range(frames):
        part = values[0].view(frames, -1)[frame]
        alone = local_maximum(part[None], cell[:, : len(part)], (1, height, width), window)[0]
        assert torch.equal(found[frame], alone)


def test_pair_averages_are_sequential() -> None:
    # Token 0 takes 1, then 2, then 3: ((x0 + x1)/2 + x2)/2 and so on; token 4 is dropped; token 5
    # is alone.
    matching = Matching(
        torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 0, 0, 4]]), torch.tensor([[0]])
    )
    found = paired(matching, torch.zeros(1, 6, dtype=torch.float64))
    assert found.share.tolist() == [[1 / 8, 1 / 4, 1 / 2, 0]]
    assert 1 - float(found.back.sum()) == 1 / 8


def test_a_group_without_weight_counts_equally() -> None:
    matching = Matching(torch.tensor([[1]]), torch.tensor([[0]]), torch.tensor([[0]]))
    found = averaged(matching, torch.zeros(1, 2))
    assert (found.share.tolist(), found.back.tolist()) == ([[0.5]], [[0.5]])


@pytest.mark.parametrize("kind", ["cls-similarity", "hidden-attention", "activation"])
def test_attention_sums_to_one(kind: str) -> None:
    weights = attention(torch.tensor([[0.2, 0.0, 3.0]], dtype=torch.float64), kind)
    assert math.isclose(float(weights.sum()), 1.0)


@pytest.mark.parametrize(
    "shape", [(11, 33, 384), (5, 33, 192), (11, 98, 8), (13, 1, 192), (1, 9, 192)]
)
def test_cosine_of_an_image_does_not_depend_on_its_batch(shape: tuple[int, int, int]) -> None:
    # Shapes at which a batched product and a product of one image differ in their last bits.
    m, t, width = shape
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(9, m, width, generator=generator),
        torch.randn(9, t, width, generator=generator),
    )
    assert torch.equal(cosine(a, b)[4:5], cosine(a[4:5], b[4:5]))


def test_cosine_of_a_zero_vector_is_zero() -> None:
    assert cosine(torch.zeros(1, 1, 3), torch.ones(1, 2, 3)).tolist() == [[[0.0, 0.0]]]


def test_hidden_attention_rebuilds_the_scan() -> None:
    # What a token reads is its attention row applied to the inputs: here with positive numbers, so
    # that |.| is idle.
    generator = torch.Generator().manual_seed(0)
    delta = torch.rand(2, 1, 9, 1, generator=generator, dtype=torch.float64)
    A = -torch.rand(2, 1, 3, generator=generator, dtype=torch.float64)
    B, C = (torch.rand(2, 1, 9, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    u = torch.rand(9, generator=generator, dtype=torch.float64)
    u[6:] = 0
    h = torch.zeros(3, dtype=torch.float64)
    for t in range(7):
        h = torch.exp(delta[0, 0, t, 0] * A[0, 0]) * h + delta[0, 0, t, 0] * B[0, 0, t] * u[t]
    row = hidden_attention(delta, A, B, C, torch.tensor([[6]]), "forward")
    assert torch.allclose((row[0] * u).sum(), C[0, 0, 6] @ h)
    assert row[0, 6:].tolist() == [0, 0, 0]


def test_attention_without_decay_is_that_of_a_scan_that_forgets_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    delta = torch.rand(2, 3, 9, 4, generator=generator, dtype=torch.float64)
    B, C = (torch.randn(2, 3, 9, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    readers = torch.tensor([[0, 4], [3, 8], [5, 6]])
    for scans, direction in ((2, "both"), (2, "forward"), (2, "backward"), (1, "both")):
        fields = delta[:scans], torch.zeros(scans, 4, 5, dtype=torch.float64), B[:scans], C[:scans]
        found = undecayed_attention(
            delta[:scans].mean(-1), B[:scans], C[:scans], readers, direction
        )
        torch.testing.assert_close(found, hidden_attention(*fields, readers, direction))


def test_listing_methods_does_not_import_torch() -> None:
    code = "import sys; from methods import METHODS; [METHODS[n].card for n in METHODS]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
