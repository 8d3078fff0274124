"""The tree of cells: what it computes, and how much it computes."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones import create_model
from backbones.base import Backbone
from backbones.base import Reducer as AnyReducer
from backbones.sequence import TokenSequence
from methods.reducer import Reducer
from methods.spec import parse
from suite.evaluation.tree import Failure, Job, evaluate

TEXTS = ("mtr", "tome", "random", "stride", "evit[score=cls-similarity]")


@cache
def model() -> Backbone:
    torch.manual_seed(0)
    return create_model("vim_nano", dim=16, depth=5, image_size=20)


@cache
def reducer(text: str, remove: int, site: int) -> Reducer:
    composition = parse(text).composition()
    assert composition is not None
    return Reducer(composition, remove, site)


@cache
def tokens() -> TokenSequence:
    with torch.inference_mode():
        return model().embed(torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(1)))


def ignore(keys: Sequence[str], site: int, seen: TokenSequence) -> None:
    """See nothing."""


def logits_of(jobs: Sequence[Job]) -> dict[str, Tensor | Failure]:
    with torch.inference_mode():
        return {job.key: result for job, result in evaluate(model(), tokens(), jobs, ignore)}


plans = st.dictionaries(
    st.integers(1, 4), st.tuples(st.sampled_from(TEXTS), st.integers(1, 3)), max_size=4
)


def jobs_from(drawn: list[dict[int, tuple[str, int]]]) -> list[Job]:
    return [
        Job(
            str(index), {site: reducer(text, remove, site) for site, (text, remove) in plan.items()}
        )
        for index, plan in enumerate(drawn)
    ]


@given(st.lists(plans, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_the_tree_gives_each_job_its_own_bits(drawn: list[dict[int, tuple[str, int]]]) -> None:
    jobs = jobs_from(drawn)
    together = logits_of(jobs)
    assert len(together) == len(jobs)
    for job in jobs:
        with torch.inference_mode():
            alone = model().readout(model().run(tokens(), plan=job.reducers))
        logits = together[job.key]
        assert isinstance(logits, Tensor)
        assert torch.equal(logits, alone)


@given(st.lists(plans, min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_what_jobs_share_runs_once(drawn: list[dict[int, tuple[str, int]]]) -> None:
    jobs = jobs_from(drawn)
    calls: Counter[int] = Counter()
    hooks = [
        block.register_forward_hook(lambda *_, index=index: calls.update([index]))
        for index, block in enumerate(model().blocks)
    ]
    try:
        logits_of(jobs)
    finally:
        for hook in hooks:
            hook.remove()
    for block in range(model().depth):
        different = {
            tuple(sorted((s, id(r)) for s, r in job.reducers.items() if s <= block)) for job in jobs
        }
        assert calls[block] == len(different)


def test_observers_see_each_reduced_sequence_once_with_all_who_share_it() -> None:
    shared = reducer("mtr", 3, 2)
    jobs = [
        Job("a", {2: shared, 4: reducer("mtr", 2, 4)}),
        Job("b", {2: shared}),
        Job("c", {4: reducer("mtr", 1, 4)}),
        Job("d", {}),
    ]
    seen: list[tuple[list[str], int, int]] = []
    with torch.inference_mode():
        results = evaluate(
            model(),
            tokens(),
            jobs,
            lambda keys, site, now: seen.append((sorted(keys), site, now.length)),
        )
        assert {job.key for job, _ in results} == {"a", "b", "c", "d"}
    assert sorted(seen) == [(["a"], 4, 21), (["a", "b"], 2, 23), (["c"], 4, 25)]


class Broken:
    """A reducer that raises."""

    needs = frozenset[str]()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        raise RuntimeError("out of\nluck")


@pytest.mark.parametrize("site", [1, 3])
def test_a_reducer_that_raises_fails_only_the_jobs_behind_it(site: int) -> None:
    first = reducer("mtr", 3, 1)
    broken: AnyReducer = Broken()
    bad = {1: broken} if site == 1 else {1: first, 3: broken}
    jobs = [
        Job("good", {1: first, 3: reducer("tome", 2, 3)}),
        Job("bad", bad),
        Job("worse", bad),
        Job("dense", {}),
    ]
    results = logits_of(jobs)
    for key in ("bad", "worse"):
        reason = f"RuntimeError at site {site}: out of luck (test_tree.py:127, in __call__)"
        assert results[key] == Failure(reason)
    for job in (jobs[0], jobs[3]):
        assert torch.equal(
            torch.as_tensor(results[job.key]), torch.as_tensor(logits_of([job])[job.key])
        )


class Wrong(Broken):
    """A reducer whose sequence no block can take."""

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        return TokenSequence(**{**tokens.__dict__, "branch": tokens.branch[:, :, :3]})


def test_a_sequence_that_no_block_can_take_fails_only_its_jobs() -> None:
    wrong: AnyReducer = Wrong()
    results = logits_of(
        [
            Job("wrong", {2: wrong}),
            Job("dense", {}),
            Job("later", {2: wrong, 3: reducer("mtr", 1, 3)}),
        ]
    )
    assert isinstance(results["wrong"], Failure)
    assert isinstance(results["later"], Failure)
    assert isinstance(results["dense"], Tensor)


class Breaking(torch.nn.Module):
    """A block that fails if the trace `forbidden` is needed, or, if that is None, always."""

    def __init__(self, block: torch.nn.Module, forbidden: str | None) -> None:
        super().__init__()
        self.block, self.forbidden = block, forbidden

    def forward(self, sequence: TokenSequence, needs: frozenset[str]) -> TokenSequence:
        if self.forbidden is None or self.forbidden in needs:
            raise RuntimeError("broken\nblock")
        after: TokenSequence = self.block(sequence, needs)
        return after


@pytest.mark.parametrize(("forbidden", "failed"), [(None, {"0", "1", "2"}), ("delta_mean", {"0"})])
def test_a_block_that_breaks_fails_only_the_cells_it_breaks_for(
    forbidden: str | None, failed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model().blocks._modules, "1", Breaking(model().blocks[1], forbidden))
    jobs = [Job("0", {2: reducer("mtr", 2, 2)}), Job("1", {2: reducer("tome", 2, 2)}), Job("2", {})]
    results = logits_of(jobs)
    assert {key for key, logits in results.items() if isinstance(logits, Failure)} == failed
    assert all(
        "RuntimeError" in results[key].reason and "\n" not in results[key].reason for key in failed
    )  # type: ignore[union-attr]
