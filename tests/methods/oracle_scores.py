"""Tokens, random numbers, scores and features of the oracle: plain Python, one image at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backbones.sequence import TRACE_FIELDS, TokenSequence

Vector = list[float]


@dataclass
class Token:
    """One token of one image, as plain numbers."""

    index: int
    position: int
    special: bool
    branch: Vector
    residual: Vector
    size: float
    score: float = 0.0
    members: list[int] = field(default_factory=list)
    carry: list[Vector] = field(default_factory=list)

    @property
    def total(self) -> Vector:
        return [a + b for a, b in zip(self.branch, self.residual, strict=True)]


@dataclass
class Image:
    """One image of a batch: its tokens and its trace."""

    tokens: list[Token]
    trace: dict[str, Any]
    number: int
    grid: tuple[int, int, int]

    @property
    def patches(self) -> list[Token]:
        return [token for token in self.tokens if not token.special]

    @property
    def specials(self) -> list[Token]:
        return [token for token in self.tokens if token.special]


def image_of(tokens: TokenSequence, b: int) -> Image:
    trace: dict[str, Any] = {}
    for name in TRACE_FIELDS:
        value = getattr(tokens.trace, name)
        per_image = (
            value
            if name == "A"
            else value[:, b]
            if name in ("delta", "delta_mean", "B", "C")
            else value[b]
        )
        trace[name] = per_image.tolist()
    found = [
        Token(
            i,
            int(tokens.position[b, i]),
            i in tokens.special[b].tolist(),
            tokens.branch[b, i].tolist(),
            tokens.residual[b, i].tolist(),
            float(tokens.size[b, i]),
            members=(tokens.owner[b] == i).nonzero()[:, 0].tolist()
            if tokens.owner is not None
            else [],
            carry=tokens.carry[:, b, i].tolist() if tokens.carry is not None else [],
        )
        for i in range(tokens.length)
    ]
    return Image(found, trace, int(tokens.image[b]), tokens.grid)


# Random numbers
# --------------------------------------------------------------------------------------------------


def draw(seed: int, image: int, site: int, position: int, which: int = 0) -> float:
    """Splitmix64 on Python's unbounded integers."""
    full = 2**64
    state = 0
    for word in (seed, image, site, position, which):
        state = ((state ^ (word % full)) + 0x9E3779B97F4A7C15) % full
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % full
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % full
        state = state ^ (state >> 31)
    return (state >> 11) / 2**53


# Scores
# ----------------------------------------------------------------------------------------------------------


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cos(a: Vector, b: Vector) -> float:
    return dot(a, b) / (math.sqrt(dot(a, a)) * math.sqrt(dot(b, b)))


def average(values: Vector) -> float:
    return sum(values) / len(values)


def alpha(image: Image, direction: int, c: int, j: int, decays: bool) -> float:
    """Mean over channels of |attention| of token c to token j in one direction."""
    delta, A = image.trace["delta"][direction], image.trace["A"][direction]
    B, C = image.trace["B"][direction], image.trace["C"][direction]
    if (direction == 0 and j >= c) or (direction == 1 and j <= c):
        return 0.0
    if not decays:
        return abs(dot(C[c], B[j])) * image.trace["delta_mean"][direction][j]
    passed = range(j + 1, c + 1) if direction == 0 else range(c, j)
    channels = []
    for d in range(len(A)):
        total = 0.0
        for n in range(len(A[0])):
            decay = 1.0
            for t in passed:
                decay *= math.exp(delta[t][d] * A[d][n])
            total += C[c][n] * decay * delta[j][d] * B[j][n]
        channels.append(abs(total))
    return average(channels)


def input_gate(image: Image, i: int, directions: list[int]) -> float:
    means = {
        s: (image.trace["delta_mean"][s][i], average([abs(b) for b in image.trace["B"][s][i]]))
        for s in directions
    }
    return float(sum(delta * written for delta, written in means.values()))


def similarity_to_class(image: Image, token: Token) -> float:
    if image.specials:
        return average([cos(token.total, special.total) for special in image.specials])
    width = len(token.total)
    return cos(token.total, [sum(t.size * t.total[c] for t in image.tokens) for c in range(width)])


def cell_of(image: Image, token: Token) -> tuple[int, int, int]:
    """Frame, row and column of a patch."""
    cell = token.position - sum(special.position < token.position for special in image.specials)
    _, height, width = image.grid
    return cell // (width * height), (cell // width) % height, cell % width


def score_of(image: Image, token: Token, recipe: dict[str, Any], seed: int, site: int) -> float:
    """The score, pooled over grid neighbours that are still there and weighted by the distance to the class token."""
    frame, row, column = cell_of(image, token)
    reach = recipe["window"] // 2
    near = []
    for other in image.patches:
        f, y, x = cell_of(image, other)
        if f == frame and abs(y - row) <= reach and abs(x - column) <= reach:
            near.append(other)
    value = max(plain_score(image, other, recipe, seed, site) for other in near)
    if recipe["sensitivity"]:
        distance = min(abs(token.position - special.position) for special in image.specials)
        frames, height, width = image.grid
        value *= math.exp(
            -recipe["sensitivity"] * distance / (frames * height * width + len(image.specials))
        )
    return value


def clipped(image: Image, token: Token, reading: str, direction: str) -> Vector:
    """What UTR's score clips: the scan's output before or after its gate, or the block's."""
    if reading == "projected":
        return token.branch
    name = {"ungated": "ungated", "gated": "y"}[reading]
    end = {"both": "", "forward": "_forward", "backward": "_backward"}[direction]
    rows: list[Vector] = image.trace[name + end]
    return rows[token.index]


def plain_score(image: Image, token: Token, recipe: dict[str, Any], seed: int, site: int) -> float:
    direction = recipe["direction"]
    directions = {"both": [0, 1], "forward": [0], "backward": [1]}[direction]
    trace, i = image.trace, token.index
    scores: dict[str, Callable[[], float]] = {
        "delta": lambda: sum(average(trace["delta"][s][i]) for s in directions),
        "magnitude": lambda: average([abs(v) for v in token.residual]),
        "b": lambda: sum(average([abs(v) for v in trace["B"][s][i]]) for s in directions),
        "c": lambda: sum(average([abs(v) for v in trace["C"][s][i]]) for s in directions),
        "delta-b": lambda: input_gate(image, i, directions),
        "activation": lambda: average(
            [max(0.0, v) for v in clipped(image, token, recipe["reading"], direction)]
        ),
        "norm": lambda: math.sqrt(dot(token.total, token.total)),
        "cls-similarity": lambda: similarity_to_class(image, token),
        "cls-attention": lambda: trace["cls_attention"][i],
        "hidden-attention": lambda: average(
            [
                sum(alpha(image, s, special.index, i, recipe["decay"]) for s in directions)
                for special in image.specials
            ]
        ),
        "random": lambda: draw(seed, image.number, site, token.position),
    }
    return scores[recipe["score"]]()


def feature_of(image: Image, token: Token, name: str) -> Vector:
    if name in ("branch", "residual"):
        return list(getattr(token, name))
    if name == "branch+residual":
        return token.total
    if name == "keys":
        return list(image.trace["keys"][token.index])
    forward, backward = image.trace[{"b": "B", "c": "C", "delta": "delta"}[name]]
    return [(a + b) / 2 for a, b in zip(forward[token.index], backward[token.index], strict=True)]
