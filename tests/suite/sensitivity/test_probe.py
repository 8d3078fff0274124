"""All probes of an image against loops that delete, zero and move one token at a time."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones import create_model
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from backbones.sequence import TokenSequence
from suite.data.loading.loader import Batch
from suite.sensitivity.effects import ClassEffects
from suite.sensitivity.probe import (
    ProbeSettings,
    ProbeTables,
    probe,
    readable_scores,
)

LAYERS, RANKS, GROUP, POSITIONS = (0, 2), (0, 3, 4, 8), 4, (0, 4, 7, 9)
FOREGROUND = torch.tensor([0, 1, 1, 0, 1, 0, 0, 0, 0], dtype=torch.bool)
LABEL, MIDDLE = 2, 4


@cache
def model() -> Vim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = Vim(
            "m", MambaConfig(dim=16, depth=3, states=4, image_size=12, patch=4, stride=4, classes=5)
        ).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    made.set_kernel("reference")
    return made.requires_grad_(False)


def image() -> torch.Tensor:
    return torch.randn(
        1, 3, 12, 12, generator=torch.Generator().manual_seed(8), dtype=torch.float64
    )


def settings(
    ranks: tuple[int, ...] = RANKS, batch: int = 3, zeroed: frozenset[int] = frozenset({30})
) -> ProbeSettings:
    return ProbeSettings(
        LAYERS,
        torch.tensor(ranks),
        GROUP,
        torch.tensor(POSITIONS),
        readable_scores(model()),
        7,
        batch,
        zeroed,
    )


def one_image(foreground: torch.Tensor = FOREGROUND) -> Batch:
    return Batch(torch.tensor([30]), image(), torch.tensor([LABEL]), foreground.reshape(1, 3, 3))


@cache
def tables(all_ranks: bool = False) -> ProbeTables:
    with torch.no_grad():
        return probe(model(), one_image(), settings(tuple(range(9)) if all_ranks else RANKS))


def entering(layer: int) -> TokenSequence:
    return model().run(model().embed(image(), torch.tensor([30])), 0, layer)


def picked(tokens: TokenSequence, places: list[int], special: int) -> TokenSequence:
    """The tokens at these places, the class token standing at `special` among them."""
    parts = {
        name: getattr(tokens, name)[:, places]
        for name in ("branch", "residual", "position", "size")
    }
    return replace(tokens, **parts, special=torch.tensor([[special]]), trace=None)


def by_hand(tokens: TokenSequence, layer: int) -> dict[str, float]:
    """The effects of going on from block `layer` with these tokens."""
    dense = model().readout(model().run(entering(0)))[0].numpy()
    logits = model().readout(model().run(tokens, layer))[0].numpy()

    def p(values: np.ndarray) -> np.ndarray:
        return np.exp(values - values.max()) / np.exp(values - values.max()).sum()

    def margin(values: np.ndarray) -> float:
        return float(values[LABEL] - max(np.delete(values, LABEL)))

    return {
        "loss": float(-np.log(p(logits)[LABEL]) + np.log(p(dense)[LABEL])),
        "margin": margin(logits) - margin(dense),
        "flip": float(logits.argmax() != dense.argmax()),
        "kl": float((p(dense) * np.log(p(dense) / p(logits))).sum()),
    }


def place_of(rank: int) -> int:
    return rank + (rank >= MIDDLE)


def without(tokens: TokenSequence, ranks: list[int]) -> TokenSequence:
    gone = {place_of(rank) for rank in ranks}
    places = [place for place in range(10) if place not in gone]
    return picked(tokens, places, places.index(MIDDLE))


@torch.no_grad()
def test_exact_effects_are_those_of_a_loop() -> None:
    rows = tables().tokens.set_index(["block", "rank"])
    for layer in LAYERS:
        for rank in RANKS:
            tokens = entering(layer)
            gone = by_hand(without(tokens, [rank]), layer)
            tokens.branch[0, place_of(rank)] = 0
            tokens.residual[0, place_of(rank)] = 0
            nothing = by_hand(tokens, layer)
            for effect in ClassEffects.names:
                assert rows.loc[(layer, rank), f"removal_{effect}"] == pytest.approx(
                    gone[effect], rel=1e-5, abs=1e-7
                )
                assert rows.loc[(layer, rank), f"zeroing_{effect}"] == pytest.approx(
                    nothing[effect], rel=1e-5, abs=1e-7
                )


def test_what_was_not_asked_for_is_not_known() -> None:
    rows = tables().tokens
    tried = rows[rows.block < 3].set_index("rank")["removal_loss"].notna()
    assert set(tried[tried].index) == set(RANKS)
    assert rows.loc[rows.block == 3, "removal_loss"].isna().all()
    assert rows.loc[rows.block == 0, "score_delta"].isna().all()
    assert rows.loc[rows.block > 0, "score_delta"].notna().all()
    assert sorted(rows.block.unique()) == [0, 2, 3]
    with torch.no_grad():
        rows = probe(model(), one_image(), settings(zeroed=frozenset())).tokens
    assert rows["zeroing_loss"].isna().all()


@torch.no_grad()
def test_a_score_is_read_from_the_block_before() -> None:
    rows = tables().tokens
    for block in (2, 3):
        trace = model().run(model().embed(image()), 0, block, needs=frozenset({"delta_mean"})).trace
        assert trace is not None
        assert trace.delta_mean is not None
        forward, backward = (np.delete(part[0].numpy(), MIDDLE) for part in trace.delta_mean)
        those = rows[rows.block == block]
        np.testing.assert_allclose(those["score_delta"], forward + backward, rtol=1e-6)
        np.testing.assert_allclose(those["score_delta:forward"], forward, rtol=1e-6)
        np.testing.assert_allclose(those["score_delta:backward"], backward, rtol=1e-6)
        np.testing.assert_array_equal(those["foreground"], FOREGROUND.numpy())


def lowest(scores: np.ndarray, barred: tuple[int, ...] = ()) -> list[int]:
    """The ranks of the lowest scores; between equals the later token goes first."""
    order = sorted(
        (rank for rank in range(9) if rank not in barred), key=lambda rank: (scores[rank], -rank)
    )
    return order[:GROUP]


@torch.no_grad()
def test_groups_lose_the_tokens_that_their_ranking_puts_last() -> None:
    findings = tables(all_ranks=True)
    groups = findings.groups.set_index(["block", "ranking", "window"]).sort_index()
    tokens = findings.tokens.set_index("block")
    for layer in LAYERS:
        exact = tokens.loc[layer]
        rankings = {
            "removal": exact.removal_loss,
            "removal-kl": exact.removal_kl,
            "bound": exact.bound_loss,
        }
        if layer:
            rankings |= {"delta": exact.score_delta, "norm": exact.score_norm}
        for name, scores in rankings.items():
            expected = by_hand(without(entering(layer), lowest(scores.to_numpy())), layer)
            for effect in ClassEffects.names:
                assert groups.loc[(layer, name, 0), effect] == pytest.approx(
                    expected[effect], rel=1e-5, abs=1e-7
                )
    # the two patches nearest to the class token stay: those of rank 3 and 4
    expected = by_hand(
        without(entering(2), lowest(tokens.loc[2].score_delta.to_numpy(), barred=(3, 4))), 2
    )
    assert groups.loc[(2, "delta", 1), "loss"] == pytest.approx(expected["loss"], rel=1e-5)
    windows = findings.groups[findings.groups.ranking == "random"].window.unique()
    assert sorted(windows) == [0, 1, 2]  # a window of 4 on each side would leave one patch of four


def test_the_foreground_ranking_drops_the_background() -> None:
    with torch.no_grad():
        everything = one_image(foreground=torch.ones(9, dtype=torch.bool))
        blind = probe(model(), everything, settings()).groups
        groups = tables().groups
    flat = blind[(blind.ranking == "foreground")].reset_index(drop=True)
    drawn = blind[(blind.ranking == "random") & (blind.window == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(flat[list(ClassEffects.names)], drawn[list(ClassEffects.names)])
    informed = groups[groups.ranking == "foreground"]
    assert not np.allclose(informed["loss"], drawn["loss"])


@torch.no_grad()
def test_the_class_token_is_put_elsewhere_and_another_is_read() -> None:
    placements = tables().placements.set_index(["block", "position"])
    for place in POSITIONS:
        order = [old for old in range(10) if old != MIDDLE]
        order.insert(place, MIDDLE)
        for layer in LAYERS:
            expected = by_hand(picked(entering(layer), order, place), layer)
            assert placements.loc[(layer, place), "loss"] == pytest.approx(
                expected["loss"], rel=1e-5, abs=1e-7
            )
        after = model().run(entering(0))
        expected = by_hand(replace(after, special=torch.tensor([[place]])), 3)
        assert placements.loc[(3, place), "loss"] == pytest.approx(
            expected["loss"], rel=1e-5, abs=1e-7
        )
    assert placements.loc[(2, MIDDLE), "kl"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 50])
def test_the_batch_makes_no_difference(batch: int) -> None:
    with torch.no_grad():
        other = probe(model(), one_image(), settings(batch=batch))
    for name in ("tokens", "groups", "placements"):
        pd.testing.assert_frame_equal(getattr(other, name), getattr(tables(), name), rtol=1e-6)


@pytest.mark.parametrize(
    ("provides", "specials", "included", "excluded"),
    [
        (
            frozenset({"delta_mean"}),
            (4,),
            {"delta", "norm", "random"},
            {"b", "activation", "hidden-attention"},
        ),
        (
            frozenset({"delta", "A", "B", "C"}),
            (),
            {"b:forward", "norm"},
            {"hidden-attention", "delta"},
        ),
    ],
)
def test_scores_that_a_backbone_cannot_give_are_left_out(
    provides: frozenset[str],
    specials: tuple[int, ...],
    included: set[str],
    excluded: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Vim, "provides", provides)
    monkeypatch.setattr(Vim, "special_places", specials)
    names = set(readable_scores(model()))
    assert included <= names
    assert not excluded & names


FAMILIES: dict[str, dict[str, Any]] = {
    "videomamba_nano": {"dim": 16, "depth": 2, "image_size": 12},
    "mambareg_tiny": {
        "dim": 16,
        "depth": 2,
        "image_size": 12,
        "patch": 4,
        "stride": 4,
        "registers": 2,
        "classes": 5,
    },
    "plainmamba_l1": {
        "dim": 24,
        "depth": 2,
        "states": 5,
        "image_size": 12,
        "patch": 4,
        "classes": 5,
    },
    "adventurer_nano": {"dim": 16, "depth": 3, "image_size": 12, "classes": 5},
    "deit_nano": {"dim": 24, "heads": 3, "layers": 2, "image_size": 12, "patch": 4, "classes": 5},
}


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_backbones_can_be_probed(name: str) -> None:
    backbone = (
        create_model(name, kernel="reference", **FAMILIES[name]).double().requires_grad_(False)
    )
    specials = len(backbone.special_places)
    places = torch.tensor([0, 5] if specials == 1 else [], dtype=torch.long)
    layers = (0, *backbone.sites)
    every_token = ProbeSettings(
        layers, torch.arange(9), GROUP, places, readable_scores(backbone), 7, 5, frozenset({30})
    )
    findings = probe(backbone, one_image(), every_token)
    rows = findings.tokens
    assert sorted(rows.block.unique()) == [*layers, backbone.depth]
    changed = rows[rows.block < backbone.depth]
    assert (
        np.isfinite(changed[["removal_kl", "zeroing_loss", "estimate_margin", "bound_loss"]])
        .all()
        .all()
    )
    scored = changed[changed.block > 0]
    assert (
        np.isfinite(scored[[column for column in rows if column.startswith("score_")]]).all().all()
    )
    assert set(findings.groups.ranking) >= {"norm", "bound", "removal-kl", "foreground"}
    assert (findings.groups.window.max() > 0) == bool(specials)
    assert len(findings.placements) == len(places) * (len(layers) + 1)
