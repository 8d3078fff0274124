"""One image probed: what changes when a token goes, when many go by a score, when the class token stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.parts.counter_random import uniform
from methods.parts.match import unprotected
from methods.parts.score import DIRECTIONS, SCORES, Place
from suite.evaluation.outcomes import divergence, loss_and_margin
from suite.evaluation.token_edits import moved, pruned, removed, zeroed
from suite.sensitivity.gradient_estimates import Estimates, gradient_estimates

EFFECTS = ("loss", "margin", "flip", "kl")
EXACT = ("removal", "zeroing")
WINDOWS = (1, 2, 4, 8, 16, 32)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreKey:
    """A registered score, read from one direction or both."""

    name: str
    direction: str

    def __str__(self) -> str:
        """``delta``, or ``delta:forward`` for one direction."""
        return self.name if self.direction == "both" else f"{self.name}:{self.direction}"


@dataclass(frozen=True)
class Asked:
    """What is probed.

    ``layers``  blocks before which tokens are changed
    ``ranks``   (K,) the patch tokens that are removed and zeroed one at a time, by rank
    ``group``   how many go together when a score chooses
    ``places``  (P,) places of the sequence that the class token is put to; none where there is not exactly one
    ``scores``  the scores that are read
    ``seed``    of random scores
    ``batch``   variants evaluated together
    """

    layers: tuple[int, ...]
    ranks: Tensor
    group: int
    places: Tensor
    scores: tuple[ScoreKey, ...]
    seed: int
    batch: int


@dataclass(frozen=True)
class Subject:
    """One image: pixels (1, 3, S, S), index (1,) in its data set, label (1,), foreground (n,) or None if unknown.

    ``zeroing`` says whether its tokens are zeroed besides being removed.
    """

    image: Tensor
    index: Tensor
    label: Tensor
    foreground: Tensor | None
    zeroing: bool


@dataclass(frozen=True)
class Findings:
    """What one image showed.

    ``tokens``      a row for each layer and patch token: the effects of its removal (``removal_loss``, ...), of
                    zeroing it, the estimates (``estimate_loss``, ``estimate_margin``, ``bound_loss``), the scores
                    (``score_delta``, ...) and whether it shows the object. The scores of a block are read from the
                    trace of the block before; ``block`` = depth has the last trace and no effects. NaN where a thing
                    was not asked for or is not known.
    ``groups``      a row for each layer and ranking: the effects of removing the tokens that it puts last. ``window``
                    is how many patch tokens on each side of the class token were protected.
    ``placements``  a row for each layer and place of the class token; ``block`` = depth reads another token out
    """

    tokens: pd.DataFrame
    groups: pd.DataFrame
    placements: pd.DataFrame


def readable(model: Backbone) -> tuple[ScoreKey, ...]:
    """Every registered score that this backbone's traces allow, by direction."""
    specials = len(model.special_places)
    found = []
    for name, score in SCORES.items():
        for direction in DIRECTIONS if score.directed else ("both",):
            alone = Composition("lowest", score=name, direction=direction)
            if not model.missing(alone.needs) and (specials or not alone.needs_class_token):
                found.append(ScoreKey(name, direction))
    return tuple(found)


def probe(model: Backbone, subject: Subject, asked: Asked) -> Findings:
    """Everything `asked` of one image. Call it without gradients, but not in inference mode."""
    embedded = model.embed(subject.image, subject.index)
    entering = prefix(model, embedded, asked)
    dense = model.readout(entering[model.depth][0])
    cheap = gradient_estimates(
        model, embedded, subject.label.to(embedded.branch.device), asked.layers
    )
    tokens, groups, placements = [], [], []
    for block, (sequence, scores) in entering.items():
        bench = Bench(model, sequence, block, dense, subject.label, asked.batch)
        columns: dict[str, Array] = {f"score_{key}": values for key, values in scores.items()}
        if block < model.depth:
            columns |= one_at_a_time(bench, asked.ranks, subject.zeroing)
            columns |= _estimated(cheap, asked.layers.index(block), sequence)
            groups.append(bench.frame(chosen_together(bench, columns, subject, asked)))
        placements.append(bench.frame(placed(bench, asked.places)))
        tokens.append(_token_rows(block, columns, sequence, subject))
    return Findings(*(pd.concat(part, ignore_index=True) for part in (tokens, groups, placements)))


def prefix(
    model: Backbone, tokens: TokenSequence, asked: Asked
) -> dict[int, tuple[TokenSequence, dict[ScoreKey, Array]]]:
    """The sequence that enters each asked block, and the one that leaves the last, with the scores (n,) read there."""
    needs = frozenset[str]().union(*(SCORES[key.name].needs(key.direction) for key in asked.scores))
    told = {layer for layer in asked.layers if layer} | {model.depth}
    if not shows_at_last(model):
        told.remove(model.depth)
    found = {}
    for block in range(model.depth + 1):
        if block in asked.layers or block == model.depth:
            found[block] = tokens, (_scores(tokens, block, asked) if block in told else {})
        if block < model.depth:
            tokens = model.run(
                tokens, block, block + 1, needs=needs if block + 1 in told else frozenset()
            )
    return found


def shows_at_last(model: Backbone) -> bool:
    """Whether the last block has a trace, as that before a site has: the MLP that ends a transformer has none."""
    step = model.sites[1] - model.sites[0] if len(model.sites) > 1 else 1
    return (model.depth - model.sites[0]) % step == 0


def _scores(tokens: TokenSequence, block: int, asked: Asked) -> dict[ScoreKey, Array]:
    place = Place(tokens, tokens.patches(), asked.seed, block)
    return {key: _array(SCORES[key.name].read(place, key.direction)[0]) for key in asked.scores}


@dataclass(frozen=True)
class Bench:
    """Where variants of one image are compared with the unchanged one: before `block`, against its `dense` logits."""

    model: Backbone
    tokens: TokenSequence
    block: int
    dense: Tensor
    label: Tensor
    batch: int

    def effects(self, make: Callable[[Tensor], TokenSequence], each: Tensor) -> dict[str, Array]:
        """The effects (K,) of the variants that `make` gives for parts of `each` (K, ...)."""
        logits = [
            self.model.readout(self.model.run(make(part), self.block))
            for part in each.split(self.batch)
            if len(part)
        ]
        return effects(torch.cat(logits) if logits else self.dense[:0], self.dense, self.label)

    def frame(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Rows of this block; effects in single precision."""
        frame = pd.DataFrame(columns)
        frame.insert(0, "block", np.int32(self.block))
        return frame.astype({name: np.float32 for name in EFFECTS if name in frame})


def effects(logits: Tensor, dense: Tensor, label: Tensor) -> dict[str, Array]:
    """What variants' logits (K, C) change against `dense` (1, C) for an image of class `label` (1,).

    ``loss`` and ``margin`` are changes (a needed token raises the loss and lowers the margin), ``flip`` is 1 where the
    prediction is another, ``kl`` is KL(dense || variant) in nats.
    """
    logits, dense = logits.double().cpu(), dense.double().cpu()
    log_p, log_q = logits.log_softmax(1), dense.log_softmax(1)
    loss, margin = loss_and_margin(logits, log_p, label.cpu().expand(len(logits)))
    loss_before, margin_before = loss_and_margin(dense, log_q, label.cpu())
    changes = {
        "loss": loss - loss_before,
        "margin": margin - margin_before,
        "flip": (logits.argmax(1) != dense.argmax(1)).double(),
        "kl": divergence(log_q, log_q.exp(), log_p),
    }
    return {name: _array(values) for name, values in changes.items()}


def one_at_a_time(bench: Bench, ranks: Tensor, zeroing: bool) -> dict[str, Array]:
    """Effects of removing, and of zeroing, each patch token of `ranks` alone, (n,) with NaN for the others."""
    count = bench.tokens.length - bench.tokens.special.shape[1]
    columns = {f"{kind}_{effect}": np.full(count, np.nan) for kind in EXACT for effect in EFFECTS}
    makers = {"removal": removed} | ({"zeroing": zeroed} if zeroing else {})
    for kind, maker in makers.items():
        found = bench.effects(partial(maker, bench.tokens, 0), ranks)
        for effect, values in found.items():
            columns[f"{kind}_{effect}"][ranks.numpy()] = values
    return columns


def _estimated(cheap: Estimates, layer: int, tokens: TokenSequence) -> dict[str, Array]:
    found = {
        "estimate_loss": cheap.loss,
        "estimate_margin": cheap.margin,
        "bound_loss": cheap.bound,
    }
    patches = tokens.patches()[0]
    return {name: _array(values[layer, 0, patches]) for name, values in found.items()}


def chosen_together(
    bench: Bench, columns: Mapping[str, Array], subject: Subject, asked: Asked
) -> dict[str, Any]:
    """Effects of removing the `group` tokens that each ranking puts last, at once.

    Rankings are all scores, the foreground, the estimates and, where every token was tried, the
    exact effects; then `random` and the first score again with windows round the class token
    protected.
    """
    rankings = {
        name.removeprefix("score_"): values
        for name, values in columns.items()
        if name.startswith("score_")
    }
    alone = list(rankings)[:1]
    held = {
        "removal": "removal_loss",
        "removal-kl": "removal_kl",
        "zeroing": "zeroing_loss",
        "estimate": "estimate_loss",
        "bound": "bound_loss",
    }
    rankings |= {
        name: columns[column] for name, column in held.items() if np.isfinite(columns[column]).all()
    }
    chance = uniform(asked.seed, bench.tokens.image, bench.block, bench.tokens.position)
    drawn = _array(chance.gather(1, bench.tokens.patches())[0])
    rankings["random"] = drawn
    if subject.foreground is not None:
        rankings["foreground"] = subject.foreground.numpy() + drawn
    rows: list[tuple[str, int, Array]] = [(name, 0, values) for name, values in rankings.items()]
    for name in dict.fromkeys(["random", *alone]):
        rows += [
            (name, window, values)
            for window, values in _protected(bench.tokens, rankings[name], asked.group)
        ]
    scores = torch.from_numpy(np.stack([values for *_, values in rows])).to(
        bench.tokens.branch.device
    )
    found = bench.effects(lambda part: pruned(bench.tokens, 0, part, asked.group), scores)
    return {
        "ranking": [name for name, *_ in rows],
        "window": np.array([window for _, window, _ in rows], np.int32),
        **found,
    }


def _protected(tokens: TokenSequence, score: Array, group: int) -> Iterator[tuple[int, Array]]:
    """`score` with the patch tokens nearest to the special ones beyond reach, for each window that leaves enough."""
    patches = tokens.patches()
    for window in WINDOWS if tokens.special.shape[1] else ():
        free = unprotected(patches, tokens.special, window)[0].cpu().numpy()
        if len(free) >= group:
            guarded = np.full_like(score, np.inf)
            guarded[free] = score[free]
            yield window, guarded


def placed(bench: Bench, places: Tensor) -> dict[str, Any]:
    """Effects of the class token standing at each of `places`; after the last block, of reading out that place."""
    if bench.block < bench.model.depth:
        return {"place": places.numpy(), **bench.effects(partial(moved, bench.tokens, 0), places)}
    tokens = bench.tokens

    def read(part: Tensor) -> TokenSequence:
        picked = tokens.pick_images(torch.zeros_like(part))
        picked.special[:, 0] = part.to(picked.special.device)
        return picked

    return {"place": places.numpy(), **bench.effects(read, places)}


def _token_rows(
    block: int, columns: Mapping[str, Array], tokens: TokenSequence, subject: Subject
) -> pd.DataFrame:
    count = tokens.length - tokens.special.shape[1]
    known = np.full(count, np.nan) if subject.foreground is None else subject.foreground.numpy()
    frame = pd.DataFrame({"foreground": known, **columns}).astype(np.float32)
    frame.insert(0, "rank", np.arange(count, dtype=np.int32))
    frame.insert(0, "block", np.int32(block))
    return frame


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()
