"""Every registered method keeps the contract, and each way to break it is caught by its check."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods import METHODS
from methods.composition import Composition
from methods.reducer import Reducer
from suite.store.schema import Removal
from suite.verify import method_contract as conformance
from suite.verify.method_contract import examine, reduced, tokens_before
from suite.verify.step_contract import Step, check_order, step_problem

REDUCING = [name for name in METHODS if METHODS[name].kind == "sequence"]
Mutant = Callable[[TokenSequence, TokenSequence, int, int], TokenSequence]


@pytest.mark.parametrize("name", REDUCING)
def test_every_registered_method_conforms(name: str) -> None:
    composition = METHODS[name].compose()
    assert composition is not None
    assert [finding for finding in examine(composition) if finding.problem] == []


def swapped(before: TokenSequence, after: TokenSequence, count: int, seed: int) -> TokenSequence:
    position = after.position.clone()
    position[:, :2] = position[:, :2].flip(1)
    return replace(after, position=position)


def doubled(before: TokenSequence, after: TokenSequence, count: int, seed: int) -> TokenSequence:
    position = after.position.clone()
    position[:, -1] = position[:, -2]
    return replace(after, position=position)


def drawn(before: TokenSequence, after: TokenSequence, count: int, seed: int) -> TokenSequence:
    return replace(after, branch=after.branch + seed)


def mean_of_batch(
    before: TokenSequence, after: TokenSequence, count: int, seed: int
) -> TokenSequence:
    return replace(after, branch=after.branch + after.branch.mean(0, keepdim=True))


def nudged_class_token(
    before: TokenSequence, after: TokenSequence, count: int, seed: int
) -> TokenSequence:
    return replace(after, residual=after.residual + 1)


def overwritten(
    before: TokenSequence, after: TokenSequence, count: int, seed: int
) -> TokenSequence:
    before.branch.zero_()
    return after


MUTANTS: dict[str, tuple[Mutant, str]] = {
    "fewer tokens": (
        lambda b, a, n, s: Reducer(Composition("spaced"), n + 1, 1)(b) if n > 1 else a,
        "Exactly as many",
    ),
    "always changes": (lambda b, a, n, s: replace(a, size=a.size + 1), "With nothing to remove"),
    "wrong rank": (
        lambda b, a, n, s: replace(a, special=(a.special + 1) % a.length),
        "Special tokens",
    ),
    "class token changed": (nudged_class_token, "Special tokens"),
    "order": (swapped, "Order restored"),
    "a position twice": (doubled, "Order restored"),
    "sizes": (lambda b, a, n, s: replace(a, size=a.size.clone().fill_(1)), "Sizes add up"),
    "owner": (lambda b, a, n, s: replace(a, owner=torch.zeros_like(a.owner)), "Sizes add up"),  # type: ignore[arg-type]
    "not a number": (lambda b, a, n, s: replace(a, branch=a.branch * float("nan")), "Both streams"),
    "seed": (drawn, "The same seed"),
    "batch": (mean_of_batch, "What becomes of an image"),
    "in place": (overwritten, "It leaves its input"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_way_to_break_the_contract_is_caught(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, check = MUTANTS[mutant]
    # merges, so that sizes matter
    composition = Composition("odd-even", feature="branch", weights="size")

    def broken(
        given: Composition, count: int, site: int, seed: int
    ) -> Callable[[TokenSequence], TokenSequence]:
        return lambda tokens: change(tokens, Reducer(given, count, site, seed)(tokens), count, seed)

    monkeypatch.setattr(conformance, "reducer", broken)
    caught = [finding.check for finding in examine(composition) if finding.problem]
    assert any(title.startswith(check) for title in caught), caught


class Greedy(Composition):
    """Says it can take every patch, and counts no matrix product."""

    def cap(self, patches: int, specials: int = 1) -> int:
        return patches

    def cost(self, patches: int, removed: int, shape: Any) -> Any:
        return replace(super().cost(patches, removed, shape), matmul_macs=0)


def test_caps_and_costs_are_held_to_the_truth() -> None:
    problems = {
        f.check: f.problem
        for f in examine(Greedy("odd-even", feature="branch", weights="mean"))
        if f.problem
    }
    assert any("cap(1) is 1" in problem for problem in problems.values())
    assert any("multiply-accumulates, cost() says 0" in problem for problem in problems.values())


def test_an_exception_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Callable[[TokenSequence], TokenSequence]:
        raise UserError("not today")

    monkeypatch.setattr(conformance, "reducer", failing)
    assert any("not today" in finding.problem for finding in examine(Composition("spaced")))


@torch.inference_mode()
def test_a_step_accounts_for_tokens_that_earlier_ones_merged() -> None:
    composition = Composition("odd-even", feature="branch", weights="size")
    before = reduced(composition, tokens_before(composition, 5), Removal(tokens=8))
    after = reduced(composition, before, Removal(tokens=4))
    step = Step(composition, before, after, 4)
    assert step_problem(step) == ""
    assert after.owner is not None
    # an original of image 0 that was merged into another token
    positions = before.position[0].tolist()
    merged = next(index for index in range(26) if index not in positions)
    parted = after.owner.clone()
    parted[0, merged] = -1
    problem = step_problem(step._replace(after=replace(after, owner=parted)))
    assert problem == "`owner` parts originals that were one token before"
    position = after.position.clone()
    position[0, 0] = merged
    problem = check_order(step._replace(after=replace(after, position=position)))
    assert problem == "a position was not in the sequence before"
