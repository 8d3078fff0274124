"""Cells of adaptive counts: an image in any company, against each image alone by a loop of its own."""

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones import create_model
from backbones.base import Backbone
from backbones.sequence import TokenSequence
from methods.adaptive import AdaptiveStep
from methods.composition import Composition
from methods.spec import parse
from suite.evaluation.adaptive import Adaptive, evaluate_adaptive, run_adaptive
from suite.evaluation.groups import Group, by_length, in_order, split
from suite.evaluation.runner import BatchResult, removed_tokens
from suite.evaluation.token_counts import TokenCounts, TokenSums
from suite.evaluation.token_order import OrderTracker
from suite.evaluation.tree import Failure
from suite.plan.cells import adaptive_steps

TEXTS = (
    "delta",
    "mtr[score=b]",
    "evit[score=cls-similarity]",
    "hsa",
    "delta[order=score,cls_window=2]",
    "random",
)
SITES = (1, 2, 4)


@cache
def model() -> Backbone:
    torch.manual_seed(0)
    return create_model("vim_nano", dim=16, depth=5, image_size=20)


@cache
def images() -> Tensor:
    return torch.randn(9, 3, 20, 20, generator=torch.Generator().manual_seed(3))


def steps_of(text: str, alpha: float = 0.4) -> dict[int, AdaptiveStep]:
    composition = parse(text).composition(model().provides)
    assert composition is not None
    return adaptive_steps(composition, alpha, SITES, seed=5)


def embedded(rows: Sequence[int]) -> TokenSequence:
    return model().embed(images()[list(rows)], torch.tensor(rows) + 40).tracked()


@pytest.mark.parametrize("text", TEXTS)
def test_an_image_has_the_same_bits_in_any_company(text: str) -> None:
    steps = steps_of(text)
    with torch.inference_mode():
        together = run_adaptive(model(), embedded(range(9)), steps)
        assert len({tuple(row) for row in together.removed.tolist()}) > 4
        for rows in ([0], [8, 3], [5, 1, 7, 2]):
            few = run_adaptive(model(), embedded(rows), steps)
            assert torch.equal(few.logits, together.logits[rows])
            assert torch.equal(few.removed, together.removed[rows])
        # Its counts, given as a plan, are those of a fixed removal.
        for row, counts in enumerate(together.removed.tolist()):
            plan = {
                site: steps[site].reducer(count) for site, count in zip(SITES, counts, strict=True)
            }
            alone = model().readout(model().run(embedded([row]), plan=plan))
            assert torch.equal(alone[0], together.logits[row])


def test_maps_of_a_segmenter_have_the_same_bits_in_any_company() -> None:
    torch.manual_seed(0)
    segmenter = create_model("vim_nano_linear", dim=16, depth=5, image_size=20)
    steps = steps_of("evit[score=cls-similarity]")
    with torch.inference_mode():
        tokens = segmenter.embed(images(), torch.arange(9))
        together = run_adaptive(segmenter, tokens, steps)
        assert together.logits.shape == (9, 11, 5, 5)
        assert len({tuple(row) for row in together.removed.tolist()}) > 4
        for row in range(9):
            alone = run_adaptive(
                segmenter, segmenter.embed(images()[[row]], torch.tensor([row])), steps
            )
            assert torch.equal(alone.logits[0], together.logits[row])


def test_counts_and_order_of_groups_are_those_of_each_image() -> None:
    steps, masks = steps_of("delta[order=score]"), torch.rand(9, 26) < 0.5
    tracked = np.array([True, False, True, True, False, False, True, False, True])
    counts, order, single = TokenCounts(masks, tracked), OrderTracker(), TokenSums()
    taus = np.zeros((9, len(SITES)))

    def observe(site: int, groups: Sequence[Group]) -> None:
        counts.observe_groups(["a"], site, groups)
        order.observe_groups("a", groups)
        lengths = in_order(groups, [np.full(g.tokens.batch, g.tokens.length) for g in groups])
        assert len({group.tokens.length for group in groups}) == len(groups)
        for group in groups:
            for place, row in enumerate(group.rows.tolist()):
                own = group.pick(torch.tensor([place])).tokens
                assert own.image.tolist() == [40 + row]
                assert own.length == lengths[row]
                alone = OrderTracker()
                alone.observe(["a"], site, own)
                taus[row, SITES.index(site)] = alone.mean_tau("a", 1)[0]
                part = TokenCounts(masks[[row]], tracked[[row]])
                part.observe(["a"], site, own)
                part.settle()
                single.add(part)

    with torch.inference_mode():
        found = evaluate_adaptive(model(), embedded(range(9)), "a", steps, observe)
    assert isinstance(found, Adaptive)
    np.testing.assert_allclose(order.mean_tau("a", 9).numpy(), taus.mean(1))
    total = TokenSums()
    counts.settle()
    total.add(counts)
    both = total.frame("a"), single.frame("a")
    for name in ("block", "position", "present", "foreground"):
        assert both[0][name].tolist() == both[1][name].tolist()
    for row in both[0].itertuples():
        bits = np.unpackbits(np.frombuffer(row.alive, np.uint8), count=int(tracked.sum()))
        assert bits.sum() <= row.present
    left = 26 - found.removed.sum(1)
    last = both[0][both[0].block == SITES[-1]]
    assert last.present.sum() == left.sum()


def test_groups_part_and_join_without_a_trace_of_it() -> None:
    with torch.inference_mode():
        tokens = model().run(embedded(range(5)), 0, 2, needs=frozenset({"delta_mean", "B", "A"}))
        parts = split(Group.whole(tokens), torch.tensor([2, 0, 2, 1, 0]))
        assert list(parts) == [0, 1, 2]
        assert parts[2].rows.tolist() == [0, 2]
        trace, whole = parts[2].tokens.trace, tokens.trace
        assert trace is not None
        assert whole is not None
        for name in ("delta_mean", "B"):
            assert torch.equal(getattr(trace, name), getattr(whole, name)[:, [0, 2]])
        assert trace.A is whole.A
        (joined,) = by_length([parts[1], parts[2], parts[0]])
        assert joined.rows.tolist() == [3, 0, 2, 1, 4]
        rows = joined.rows
        for name in ("branch", "residual", "position", "size", "special", "image", "owner"):
            assert torch.equal(getattr(joined.tokens, name), getattr(tokens, name)[rows])


def test_a_failure_says_where_it_was() -> None:
    class Broken(AdaptiveStep):
        def counts(self, tokens: TokenSequence) -> Tensor:
            raise ZeroDivisionError("no such thing")

    delta = parse("delta").composition()
    assert isinstance(delta, Composition)
    steps = {1: AdaptiveStep(delta, 1.0, 1), 3: Broken(delta, 1.0, 3)}
    with torch.inference_mode():
        found = evaluate_adaptive(model(), embedded([0, 1]), "a", steps, lambda *_: None)
    assert isinstance(found, Failure)
    assert found.reason.startswith("ZeroDivisionError at site 3: no such thing")
    steps = {6: AdaptiveStep(delta, 1.0, 6)}  # beyond the last of five blocks
    with torch.inference_mode():
        found = evaluate_adaptive(model(), embedded([0, 1]), "a", steps, lambda *_: None)
    assert isinstance(found, Failure)
    assert " before block 6: " in found.reason


def test_every_clip_of_a_video_has_counts_of_its_own() -> None:
    removed = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])
    parts = []
    for some in removed.split(2):
        parts.append(BatchResult({}, TokenCounts(), {}, {"a": some}))
    for views in ([2, 2], [1, 3]):
        column = removed_tokens("a", parts, views)["removed_tokens"]
        ends = np.cumsum([0, *views]) * 2
        for item, (first, last) in enumerate(itertools.pairwise(ends)):
            assert column[item].tolist() == list(range(first + 1, last + 1))
    assert removed_tokens("b", parts, [2, 2]) == {}
