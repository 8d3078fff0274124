"""The leave-one-out oracle against loops that rebuild every sequence by hand."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from suite.config.run_spec import RunSpec
from suite.evaluation.oracle import OracleReducer, leave_one_out
from suite.plan.prepare import prepare

SITE = 1


@cache
def model() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = create_model("vim_nano", kernel="reference", dim=16, depth=3, image_size=12).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    return made


def tokens(batch: int) -> TokenSequence:
    images = torch.randn(
        batch, 3, 12, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    return model().run(model().embed(images, torch.arange(20, 20 + batch)), 0, SITE)


def kept(whole: TokenSequence, row: int, places: list[int]) -> TokenSequence:
    """One image with only the tokens at these places, the class token's rank counted by hand."""
    pick = torch.tensor(places)
    special = places.index(int(whole.special[row, 0]))
    return replace(
        whole,
        branch=whole.branch[row : row + 1, pick],
        residual=whole.residual[row : row + 1, pick],
        position=whole.position[row : row + 1, pick],
        size=whole.size[row : row + 1, pick],
        special=torch.tensor([[special]]),
        image=whole.image[row : row + 1],
        trace=None,
    )


def loss(part: TokenSequence, label: int) -> float:
    logits = model().readout(model().run(part, SITE))[0]
    return float(torch.logsumexp(logits, 0) - logits[label])


def greedy(whole: TokenSequence, row: int, label: int, remove: int) -> list[int]:
    """Places that survive when the least missed go, an eighth at a time."""
    places, left, step = list(range(whole.length)), remove, math.ceil(remove / 8)
    while left:
        candidates = [place for place in places if place != int(whole.special[row, 0])]
        losses = {
            place: loss(kept(whole, row, [p for p in places if p != place]), label)
            for place in candidates
        }
        going = sorted(candidates, key=lambda place: losses[place])[: min(step, left)]
        places = [place for place in places if place not in going]
        left -= len(going)
    return places


def test_leave_one_out_is_the_loss_without_each_token() -> None:
    with torch.no_grad():
        whole = tokens(2)
        losses = leave_one_out(model(), whole, 1, SITE, label=5)
        places = list(range(whole.length))
        patches = [place for place in places if place != int(whole.special[1, 0])]
        expected = [loss(kept(whole, 1, [p for p in places if p != place]), 5) for place in patches]
    torch.testing.assert_close(
        losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("remove", [1, pytest.param(3, marks=pytest.mark.slow), 8])
def test_the_least_missed_tokens_go_in_eighths(remove: int) -> None:
    labels = {20: 5, 21: 0, 22: 9}
    with torch.no_grad():
        whole = tokens(3)
        after = OracleReducer(model(), labels, remove, SITE)(whole)
        for row, label in enumerate(labels.values()):
            assert after.position[row].tolist() == greedy(whole, row, label, remove)
            assert int(after.position[row, after.special[row, 0]]) == int(whole.special[row, 0])


def test_it_refuses_many_images_and_only_it() -> None:
    with pytest.raises(UserError, match="add --images 64"):
        prepare(RunSpec(methods=("mtr", "oracle"), images=65, baselines=False))
    prepare(RunSpec(methods=("oracle",), images=64, budgets=(0.4,), baselines=False))
    prepare(RunSpec(methods=("mtr",), images=65, budgets=(0.4,), baselines=False))
