"""Every method and option against an oracle: loops over tokens in Python floats, written from the equations.

The oracle shares nothing with the package but the names of the options; it takes one image at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.sequence import TokenSequence
from methods import METHODS
from methods.compose import Reducer
from methods.spec import MethodSpec

REDUCING = [name for name in METHODS if METHODS[name].kind == "sequence"]
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
    for name, value in vars(tokens.trace).items():
        per_image = value if name == "A" else value[:, b] if name in ("delta", "delta_mean", "B", "C") else value[b]
        trace[name] = per_image.tolist()
    found = [
        Token(
            i,
            int(tokens.position[b, i]),
            i in tokens.special[b].tolist(),
            tokens.branch[b, i].tolist(),
            tokens.residual[b, i].tolist(),
            float(tokens.size[b, i]),
            members=(tokens.owner[b] == i).nonzero()[:, 0].tolist() if tokens.owner is not None else [],
        )
        for i in range(tokens.length)
    ]
    return Image(found, trace, int(tokens.image[b]), tokens.grid)


# Random numbers --------------------------------------------------------------------------------------------------


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


# Scores ----------------------------------------------------------------------------------------------------------


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cos(a: Vector, b: Vector) -> float:
    return dot(a, b) / (math.sqrt(dot(a, a)) * math.sqrt(dot(b, b)))


def average(values: Vector) -> float:
    return sum(values) / len(values)


def alpha(image: Image, direction: int, c: int, j: int) -> float:
    """Mean over channels of |attention| of token c to token j in one direction."""
    delta, A = image.trace["delta"][direction], image.trace["A"][direction]
    B, C = image.trace["B"][direction], image.trace["C"][direction]
    if (direction == 0 and j >= c) or (direction == 1 and j <= c):
        return 0.0
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
        s: (image.trace["delta_mean"][s][i], average([abs(b) for b in image.trace["B"][s][i]])) for s in directions
    }
    return float(sum(delta * written for delta, written in means.values()))


def similarity_to_class(image: Image, token: Token) -> float:
    if image.specials:
        return average([cos(token.total, special.total) for special in image.specials])
    width = len(token.total)
    return cos(token.total, [sum(t.size * t.total[c] for t in image.tokens) for c in range(width)])


def score_of(image: Image, token: Token, name: str, direction: str, seed: int, site: int) -> float:
    directions = {"both": [0, 1], "forward": [0], "backward": [1]}[direction]
    trace, i = image.trace, token.index
    y = {"both": "y", "forward": "y_forward", "backward": "y_backward"}[direction]
    scores: dict[str, Callable[[], float]] = {
        "delta": lambda: sum(average(trace["delta"][s][i]) for s in directions),
        "b": lambda: sum(average([abs(v) for v in trace["B"][s][i]]) for s in directions),
        "c": lambda: sum(average([abs(v) for v in trace["C"][s][i]]) for s in directions),
        "delta-b": lambda: input_gate(image, i, directions),
        "activation": lambda: average([max(0.0, v) for v in trace[y][i]]),
        "norm": lambda: math.sqrt(dot(token.total, token.total)),
        "cls-similarity": lambda: similarity_to_class(image, token),
        "cls-attention": lambda: trace["cls_attention"][i],
        "hidden-attention": lambda: average(
            [sum(alpha(image, s, special.index, i) for s in directions) for special in image.specials]
        ),
        "random": lambda: draw(seed, image.number, site, token.position),
    }
    return scores[name]()


def feature_of(image: Image, token: Token, name: str) -> Vector:
    if name in ("branch", "residual"):
        return list(getattr(token, name))
    if name == "branch+residual":
        return token.total
    forward, backward = image.trace[{"b": "B", "c": "C", "delta": "delta"}[name]]
    return [(a + b) / 2 for a, b in zip(forward[token.index], backward[token.index], strict=True)]


# Matching: (source, target or None) pairs in the order they are matched, and the destination set ------------------

Pairs = list[tuple[Token, Token | None]]


def match_tome(image: Image, options: dict[str, Any], r: int) -> tuple[Pairs, list[Token]]:
    a, b = image.patches[0::2], image.patches[1::2]
    edges = []
    for token in a:
        values = [
            cos(feature_of(image, token, options["feature"]), feature_of(image, o, options["feature"])) for o in b
        ]
        edges.append((max(values), token, b[values.index(max(values))]))
    edges.sort(key=lambda edge: -edge[0])
    return [(token, other) for _, token, other in edges[:r]], b


def match_by_score(image: Image, options: dict[str, Any], r: int, targets: int) -> tuple[Pairs, list[Token]]:
    ranking = sorted(image.patches, key=lambda token: -token.score)
    sources = ranking[len(ranking) - r :]
    target_group = ranking[len(ranking) - r - targets : len(ranking) - r]
    pairs: Pairs = []
    for token in sources:
        mine = feature_of(image, token, options["feature"])
        pairs.append((token, max(target_group, key=lambda o: cos(mine, feature_of(image, o, options["feature"])))))
    return pairs, target_group


def match_evit(image: Image, options: dict[str, Any], r: int) -> tuple[Pairs, list[Token]]:
    ranking = sorted(image.patches, key=lambda token: -token.score)
    if not options["fused"]:
        return [(token, None) for token in ranking[len(ranking) - r :]], []
    fused = ranking[len(ranking) - r - 1]
    return [(token, fused) for token in ranking[len(ranking) - r :]], [fused]


def match_stride(image: Image, r: int) -> tuple[Pairs, list[Token]]:
    n = len(image.patches)
    kept = {math.floor((i + 0.5) * n / (n - r) + 1e-9) for i in range(n - r)}
    return [(token, None) for rank, token in enumerate(image.patches) if rank not in kept], []


def z_key(image: Image, token: Token) -> str:
    """The bits of frame, row and column, woven; compared as text of equal length."""
    cell = token.position - sum(special.position < token.position for special in image.specials)
    _, height, width = image.grid
    row = (cell // width) % height
    bits = [f"{v:08b}" for v in (cell // (width * height), row, cell % width)]
    return "".join(a + b + c for a, b, c in zip(*bits, strict=True))


def match_pool(image: Image, options: dict[str, Any], r: int) -> tuple[Pairs, list[Token]]:
    walk = image.patches
    if options["neighbours"] == "grid":
        walk = sorted(walk, key=lambda token: z_key(image, token))
    n = len(walk)
    groups: dict[int, list[Token]] = {}
    for j, token in enumerate(walk):
        groups.setdefault(j * (n - r) // n, []).append(token)
    pairs: Pairs = []
    middles = []
    for group in groups.values():
        middle = group[(len(group) - 1) // 2]
        middles.append(middle)
        pairs += [(token, middle) for token in group if token is not middle]
    return pairs, middles


def match_of(name: str, image: Image, options: dict[str, Any], r: int) -> tuple[Pairs, list[Token]]:
    n = len(image.patches)
    if name == "tome":
        pairs, destinations = match_tome(image, options, r)
    elif name == "mtr":
        pairs, destinations = match_by_score(image, options, r, max(1, min(round(options["targets"] * r), n - r)))
    elif name == "random":
        pairs, destinations = match_by_score(image, options, r, n - r)
    elif name == "evit":
        return match_evit(image, options, r)
    elif name == "stride":
        return match_stride(image, r)
    else:
        pairs, destinations = match_pool(image, options, r)
    if options["weights"] == "drop":
        # A method ranked by score has no destinations left when it only prunes.
        return [(source, None) for source, _ in pairs], destinations if name == "tome" else []
    return pairs, destinations


# Combination and order -------------------------------------------------------------------------------------------


def weight_of(image: Image, token: Token, options: dict[str, Any]) -> float:
    if options["weights"] == "size":
        return token.size
    if options["weights"] == "delta-b":
        return input_gate(image, token.index, [0, 1])
    if options["weights"] == "attention":
        if options["score"] == "cls-attention":
            return token.score
        if options["score"] == "cls-similarity":
            return math.exp(token.score) / sum(math.exp(other.score) for other in image.patches)
        return token.score / sum(other.score for other in image.patches)
    return 1.0


def combined(image: Image, target: Token, sources: list[Token], options: dict[str, Any]) -> tuple[Vector, Vector]:
    streams = []
    for stream in ("branch", "residual"):
        value = list(getattr(target, stream))
        if options.get("weights") == "pair":
            for source in sources:
                value = [(x + y) / 2 for x, y in zip(value, getattr(source, stream), strict=True)]
        elif sources:
            group = [target, *sources]
            weights = [weight_of(image, token, options) for token in group]
            norm = 1.0 if options["weights"] == "attention" else sum(weights)
            value = [
                sum(w * getattr(token, stream)[c] for w, token in zip(weights, group, strict=True)) / norm
                for c in range(len(value))
            ]
        streams.append(value)
    return streams[0], streams[1]


def ordered(
    survivors: list[Token], destinations: list[Token], options: dict[str, Any], image: Image, seed: int, site: int
) -> list[Token]:
    restored = sorted(survivors, key=lambda token: token.position)
    policy = options["order"]
    if policy == "reversed":
        return restored[::-1]
    if policy == "score":
        return sorted(restored, key=lambda token: -token.score)
    if policy == "odd-even":
        return restored[0::2] + restored[1::2]
    if policy == "appended":
        late = [any(token is other for other in destinations) for token in restored]
        return [t for t, x in zip(restored, late, strict=True) if not x] + [
            t for t, x in zip(restored, late, strict=True) if x
        ]
    if policy == "shuffled":
        chance = {t.position: [draw(seed, image.number, site, t.position, k) for k in (1, 2)] for t in restored}
        count = math.floor(options["shuffle"] * len(restored))
        moving = sorted(restored, key=lambda token: chance[token.position][0])[:count]
        arrivals = iter(sorted(moving, key=lambda token: chance[token.position][1]))
        return [next(arrivals) if any(token is m for m in moving) else token for token in restored]
    return restored


def oracle(name: str, options: dict[str, Any], image: Image, r: int, seed: int, site: int) -> list[Token]:
    """The tokens of `image` after the reduction, in their new order, special tokens among them."""
    score = "random" if name == "random" else options.get("score")
    for token in image.patches:
        token.score = score_of(image, token, score, options.get("direction", "both"), seed, site) if score else 0.0
    pairs, destinations = match_of(name, image, options, r)
    survivors = [token for token in image.patches if not any(token is source for source, _ in pairs)]
    results = {}
    for token in survivors:
        sources = [source for source, target in pairs if target is token]
        branch, residual = combined(image, token, sources, options)
        members = token.members + [m for source in sources for m in source.members]
        size = token.size + sum(source.size for source in sources)
        results[id(token)] = Token(token.index, token.position, False, branch, residual, size, members=members)
    out = [results[id(token)] for token in ordered(survivors, destinations, options, image, seed, site)]
    for special in sorted(image.specials, key=lambda token: token.position):
        before = sum(token.position < special.position for token in survivors)
        earlier = sum(other.position < special.position for other in image.specials)
        out.insert(before + earlier, special)
    return out


def agrees(out: TokenSequence, b: int, expected: list[Token]) -> None:
    """The b-th image of `out` is what the oracle expects."""
    assert out.position[b].tolist() == [token.position for token in expected]
    assert out.size[b].tolist() == [token.size for token in expected]
    assert sorted(out.special[b].tolist()) == [i for i, token in enumerate(expected) if token.special]
    for stream in ("branch", "residual"):
        want = torch.tensor([getattr(token, stream) for token in expected], dtype=torch.float64)
        torch.testing.assert_close(getattr(out, stream)[b], want, rtol=1e-9, atol=1e-9)
    assert out.owner is not None
    owner = dict.fromkeys(range(out.owner.shape[1]), -1)
    owner |= {member: place for place, token in enumerate(expected) for member in token.members}
    assert out.owner[b].tolist() == [owner[i] for i in range(len(owner))]


def compare(fabricate: Any, name: str, given: dict[str, Any], r: int, **sizes: Any) -> None:
    tokens = fabricate(dtype=torch.float64, **sizes)
    whole = torch.randint(1, 4, tokens.size.shape, generator=torch.Generator().manual_seed(r)).float()
    tokens.size.copy_(whole.scatter(1, tokens.special, 1.0))
    spec = MethodSpec(name, METHODS[name].settings(given))
    composition = spec.composition()
    assert composition is not None
    out = Reducer(composition, r, site=4, seed=11)(tokens)
    options = {key: given.get(key, option.default) for key, option in METHODS[name].options.items()}
    for b in range(tokens.batch):
        agrees(out, b, oracle(name, options, image_of(tokens, b), r, 11, 4))


VALUES = [
    (name, key, value)
    for name in REDUCING
    for key, option in METHODS[name].options.items()
    for value in option.choices or {"targets": (0.0, 0.5, 3.0), "shuffle": (0.0, 0.5, 1.0), "fused": (True, False)}[key]
]


@pytest.mark.parametrize(("name", "key", "value"), VALUES)
def test_each_value_of_each_option(fabricate: Any, name: str, key: str, value: Any) -> None:
    given = {key: value} | ({"order": "shuffled"} if key == "shuffle" else {})
    compare(fabricate, name, given, 5)


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, dict[str, Any], int, dict[str, Any]]:
    """A method, options, how many to remove, and sizes of the input."""
    name = draw(st.sampled_from(REDUCING))
    given = {}
    for key, option in METHODS[name].options.items():
        numbers = {"targets": st.sampled_from([0.4, 1.0, 2.5]), "shuffle": st.sampled_from([0.0, 0.3, 1.0])}
        given[key] = draw(st.sampled_from(option.choices) if option.choices else numbers.get(key, st.booleans()))
    grid = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    patches = grid[0] * grid[1] * grid[2]
    special = draw(st.sets(st.integers(0, patches - 1), max_size=3))
    if not special and given.get("score") == "hidden-attention":
        given["score"] = "activation"
    worn = draw(st.integers(0, patches - 1))
    composition = METHODS[name].compose(**given)
    assert composition is not None
    remove = draw(st.integers(0, composition.cap(patches - worn)))
    sizes = {"grid": grid, "special": tuple(sorted(special)), "seed": draw(st.integers(0, 99)), "worn": worn}
    return name, given, remove, sizes


@settings(max_examples=120, deadline=None)
@given(asked())
def test_any_options_on_any_sizes(fabricate: Any, case: tuple[str, dict[str, Any], int, dict[str, Any]]) -> None:
    name, given_options, remove, sizes = case
    if remove:
        compare(fabricate, name, given_options, remove, **sizes)
