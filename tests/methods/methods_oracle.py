"""An oracle for every method: loops over tokens in Python floats, written from the equations.

It shares nothing with the package but the names of the options, and takes one image at a time.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from oracle_scores import Image, Token, Vector, cell_of, cos, draw, feature_of, input_gate, score_of

# Matching: (source, target or None) pairs in the order they are matched, and the destination set
# ------------------

Pairs = list[tuple[Token, Token | None]]
Match = tuple[Pairs, list[Token]]


def alike(image: Image, a: Token, b: Token, *, recipe: dict[str, Any]) -> float:
    return cos(feature_of(image, a, recipe["feature"]), feature_of(image, b, recipe["feature"]))


def best_edges(
    image: Image, a: list[Token], b: list[Token], recipe: dict[str, Any]
) -> list[tuple[float, Token, Token]]:
    """Each of `a` with its k-th most similar of `b` (the last one if there are fewer)."""
    edges = []
    for token in a:
        values = sorted(
            ((alike(image, token, other, recipe=recipe), other) for other in b),
            key=lambda pair: -pair[0],
        )
        value, other = values[min(recipe["neighbour_rank"], len(b)) - 1]
        edges.append((value, token, other))
    return edges


def bipartite(
    image: Image, a: list[Token], b: list[Token], recipe: dict[str, Any], r: int
) -> Match:
    edges = sorted(best_edges(image, a, b, recipe), key=lambda edge: -edge[0]) if r else []
    return [(token, other) for _, token, other in edges[:r]], b


def match_odd_even(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    even, odd = open_[0::2], open_[1::2]
    return (
        bipartite(image, odd, even, recipe, r)
        if recipe["sources"] == "odd"
        else bipartite(image, even, odd, recipe, r)
    )


def match_halves(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    ranking = sorted(open_, key=lambda token: -token.score)
    high = ranking[: len(ranking) - len(ranking) // 2]
    is_high = [any(token is other for other in high) for token in open_]
    a = [token for token, important in zip(open_, is_high, strict=True) if not important]
    b = [token for token, important in zip(open_, is_high, strict=True) if important]
    return bipartite(image, a, b, recipe, r)


def match_by_score(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    ranking = sorted(open_, key=lambda token: -token.score)
    n = len(ranking)
    targets = (
        n - r if recipe["targets"] is None else max(1, min(round(recipe["targets"] * r), n - r))
    )
    group = ranking[n - r - targets : n - r]
    return [
        (token, other) for _, token, other in best_edges(image, ranking[n - r :], group, recipe)
    ], group


def match_lowest(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    return [
        (token, None) for token in sorted(open_, key=lambda token: -token.score)[len(open_) - r :]
    ], []


def match_fused(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    ranking = sorted(open_, key=lambda token: -token.score)
    fused = ranking[len(ranking) - r - 1]
    return [(token, fused) for token in ranking[len(ranking) - r :]], [fused]


def match_spaced(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    n = len(open_)
    kept = {math.floor((i + 0.5) * n / (n - r) + 1e-9) for i in range(n - r)}
    return [(token, None) for rank, token in enumerate(open_) if rank not in kept], []


def z_key(image: Image, token: Token) -> str:
    """The frame, then the bits of row and column, woven; compared as text of equal length."""
    frame, row, column = cell_of(image, token)
    bits = [f"{v:08b}" for v in (frame, row, column)]
    return bits[0] + "".join(a + b for a, b in zip(*bits[1:], strict=True))


def match_runs(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    walk = open_
    if recipe["path"] == "grid":
        walk = sorted(walk, key=lambda token: z_key(image, token))
    groups: dict[int, list[Token]] = {}
    for j, token in enumerate(walk):
        groups.setdefault(j * (len(walk) - r) // len(walk), []).append(token)
    return into_the_middle(list(groups.values()))


def into_the_middle(groups: list[list[Token]]) -> Match:
    middles = [group[(len(group) - 1) // 2] for group in groups]
    return [
        (token, middle)
        for group, middle in zip(groups, middles, strict=True)
        for token in group
        if token is not middle
    ], middles


def match_neighbours(image: Image, open_: list[Token], recipe: dict[str, Any], r: int) -> Match:
    pairs = [(a, b) for a, b in pairwise(open_) if b.index == a.index + 1]
    bonds = sorted(pairs, key=lambda pair: -alike(image, *pair, recipe=recipe))[:r]
    groups: list[list[Token]] = []
    for token in open_:
        if groups and any(b is token for _, b in bonds):
            groups[-1].append(token)
        else:
            groups.append([token])
    return into_the_middle(groups)


MATCHINGS: dict[str, Callable[[Image, list[Token], dict[str, Any], int], Match]] = {
    "odd-even": match_odd_even,
    "halves": match_halves,
    "keep-target-source": match_by_score,
    "lowest": match_lowest,
    "fused": match_fused,
    "spaced": match_spaced,
    "runs": match_runs,
    "neighbours": match_neighbours,
}


def unprotected(image: Image, window: int) -> list[Token]:
    """All patches but the 2 w S that stand nearest to a special token, the earlier between equals."""
    far = [
        min((abs(token.index - s.index) for s in image.specials), default=0)
        for token in image.patches
    ]
    order = sorted(range(len(far)), key=lambda i: far[i])[: 2 * window * len(image.specials)]
    return [token for i, token in enumerate(image.patches) if i not in order]


def match_of(image: Image, recipe: dict[str, Any], r: int) -> Match:
    open_ = unprotected(image, recipe["cls_window"])
    pruned = math.floor(recipe["prune_ratio"] * r + 0.5)
    gone = sorted(open_, key=lambda token: -token.score)[len(open_) - pruned :]
    left = [token for token in open_ if not any(token is other for other in gone)]
    pairs, destinations = MATCHINGS[recipe["matching"]](image, left, recipe, r - pruned)
    if recipe["weights"] == "drop":
        pairs = [(source, None) for source, _ in pairs]
        if recipe["matching"] in ("keep-target-source", "fused"):
            destinations = []  # ranked by score alone, nothing was compared
    if recipe["prune_ratio"] == 1:
        destinations = []
    return [(token, None) for token in gone] + pairs, destinations


# Combination and order
# -------------------------------------------------------------------------------------------


def weight_of(image: Image, token: Token, recipe: dict[str, Any]) -> float:
    if recipe["weights"] == "size":
        return token.size
    if recipe["weights"] == "delta-b":
        return input_gate(image, token.index, [0, 1])
    if recipe["weights"] == "attention":
        if recipe["score"] == "cls-attention":
            return token.score
        if recipe["score"] == "cls-similarity":
            return math.exp(token.score) / sum(math.exp(other.score) for other in image.patches)
        return token.score / sum(other.score for other in image.patches)
    return 1.0


def combined(
    image: Image, target: Token, sources: list[Token], stream: str, recipe: dict[str, Any]
) -> Vector:
    value: Vector = list(getattr(target, stream))
    if recipe["weights"] == "pair":
        for source in sources:
            value = [(x + y) / 2 for x, y in zip(value, getattr(source, stream), strict=True)]
    elif sources:
        group = [target, *sources]
        weights = [weight_of(image, token, recipe) for token in group]
        norm = 1.0 if recipe["weights"] == "attention" else sum(weights)
        value = [
            sum(w * getattr(token, stream)[c] for w, token in zip(weights, group, strict=True))
            / norm
            for c in range(len(value))
        ]
    return value


def ordered(
    survivors: list[Token],
    destinations: list[Token],
    recipe: dict[str, Any],
    image: Image,
    seed: int,
    site: int,
) -> list[Token]:
    restored = sorted(survivors, key=lambda token: token.position)
    policy = recipe["order"]
    if policy == "reversed":
        return restored[::-1]
    if policy == "score":
        return sorted(restored, key=lambda token: -token.score)
    if policy == "odd-even":
        return restored[0::2] + restored[1::2]
    if policy == "appended" and destinations:
        standing = sorted(survivors, key=lambda token: token.index)
        late = [any(token is other for other in destinations) for token in standing]
        return [t for t, x in zip(standing, late, strict=True) if not x] + [
            t for t, x in zip(standing, late, strict=True) if x
        ]
    if policy == "shuffled":
        chance = {
            t.position: [draw(seed, image.number, site, t.position, k) for k in (1, 2)]
            for t in restored
        }
        count = math.floor(recipe["shuffle"] * len(restored))
        moving = sorted(restored, key=lambda token: chance[token.position][0])[:count]
        arrivals = iter(sorted(moving, key=lambda token: chance[token.position][1]))
        return [next(arrivals) if any(token is m for m in moving) else token for token in restored]
    return restored


def aligned(image: Image, survivors: list[Token], token: Token) -> list[Vector]:
    """The carry of `token`: its own, and Delta and carry of all that is gone before it in each scan."""
    stays = [other.position for other in survivors + image.specials]
    carries = []
    for direction, delta in enumerate(image.trace["delta"]):
        total = list(token.carry[direction])
        scanned = sorted(image.tokens, key=lambda other: other.position, reverse=direction == 1)
        here = [other.position for other in scanned].index(token.position)
        for other in reversed(scanned[:here]):
            if other.position in stays:
                break
            total = [
                t + d + g
                for t, d, g in zip(total, delta[other.index], other.carry[direction], strict=True)
            ]
        carries.append(total)
    return carries


def surviving(
    image: Image, survivors: list[Token], token: Token, pairs: Pairs, recipe: dict[str, Any]
) -> Token:
    """What a token has become; the last sources of a stream's share are dropped from it."""
    count = len(pairs)
    kept = {
        stream: count - math.floor(recipe[stream] * count + 0.5)
        for stream in ("branch_drop_ratio", "residual_drop_ratio")
    }
    branch = [source for source, target in pairs[: kept["branch_drop_ratio"]] if target is token]
    residual = [
        source for source, target in pairs[: kept["residual_drop_ratio"]] if target is token
    ]
    living = branch if len(branch) > len(residual) else residual
    return Token(
        token.index,
        token.position,
        token.special,
        combined(image, token, branch, "branch", recipe),
        combined(image, token, residual, "residual", recipe),
        token.size + sum(source.size for source in living),
        members=token.members + [m for source in living for m in source.members],
        carry=aligned(image, survivors, token) if recipe["align"] else token.carry,
    )


def oracle(recipe: dict[str, Any], image: Image, r: int, seed: int, site: int) -> list[Token]:
    """The tokens of `image` after the reduction, in their new order, special tokens among them."""
    asks = recipe["matching"] in ("lowest", "fused", "keep-target-source", "halves")
    asks = asks or recipe["order"] == "score" or recipe["prune_ratio"] > 0
    for token in image.patches:
        token.score = score_of(image, token, recipe, seed, site) if asks else 0.0
    pairs, destinations = match_of(image, recipe, r)
    survivors = [
        token for token in image.patches if not any(token is source for source, _ in pairs)
    ]
    order = ordered(survivors, destinations, recipe, image, seed, site)
    out = [surviving(image, survivors, token, pairs, recipe) for token in order]
    for rank, special in enumerate(sorted(image.specials, key=lambda token: token.position)):
        before = sum(token.position < special.position for token in survivors)
        place = before + sum(other.position < special.position for other in image.specials)
        if recipe["cls_placement"] == "proportional":
            place = special.index * (len(image.tokens) - r) // len(image.tokens)
        if recipe["cls_placement"] in ("first", "last"):
            place = rank if recipe["cls_placement"] == "first" else len(out)
        out.insert(place, surviving(image, survivors, special, pairs, recipe))
    return out


# Methods: what each one's equations say, in the words of this file
# --------------------------------------------------

COMMON: dict[str, Any] = {
    "score": None,
    "direction": "both",
    "reading": "ungated",
    "decay": True,
    "window": 1,
    "sensitivity": 0.0,
    "feature": None,
    "sources": "even",
    "neighbour_rank": 1,
    "targets": None,
    "prune_ratio": 0.0,
    "weights": "drop",
    "branch_drop_ratio": 0.0,
    "residual_drop_ratio": 0.0,
    "align": False,
    "cls_window": 0,
    "cls_placement": "exact",
    "order": "restored",
    "shuffle": 1.0,
}

OWN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "random": lambda o: {"matching": "keep-target-source", "score": "random"},
    "stride": lambda o: {"matching": "spaced"},
    "pool": lambda o: {"matching": "runs"},
    "norm": lambda o: {"matching": "lowest", "score": "norm"},
    "activation": lambda o: {"matching": "lowest", "score": "activation"},
    "delta": lambda o: {"matching": "lowest", "score": "delta"},
    "mtr": lambda o: {"branch_drop_ratio": o["drop_ratio"], "residual_drop_ratio": o["drop_ratio"]},
    "tome": lambda o: {"matching": "odd-even"},
    "evit": lambda o: (
        {"matching": "fused"} if o["fused"] else {"matching": "lowest", "weights": "drop"}
    ),
    "hsa": lambda o: {"matching": "lowest"},
    "utr": lambda o: {
        "matching": "halves",
        "branch_drop_ratio": o["drop_ratio"],
        "residual_drop_ratio": o["residual_drop_ratio"],
    },
    "rmeeto": lambda o: {"matching": "odd-even"},
    "pumer": lambda o: {"matching": "odd-even"},
    "stm": lambda o: {"matching": "neighbours"},
    "mame": lambda o: {"score": "delta"},
    "fambav": lambda o: {"matching": "odd-even"},
}


def recipe_of(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A method with these options (all of them), as the oracle reads it."""
    return {**COMMON, **options, **OWN[name](options)}
