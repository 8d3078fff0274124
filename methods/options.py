"""Options that several methods share, each declared once."""

from __future__ import annotations

from dataclasses import replace

# `cls_window` is declared where a method's own window makes it.
from methods.base import NATIVE, Native, Option, Value
from methods.base import cls_window as cls_window


def native(option: Option, trace: str, there: Value) -> Option:
    """Return `option` with the default ``native``: `there` where blocks provide `trace`."""
    meaning = Native(trace, there, option.default)
    words = f"{option.help}; native: {there} where blocks show {trace}, else {option.default}"
    return replace(
        option, default=NATIVE, help=words, choices=(NATIVE, *option.choices), native=meaning
    )


def weights(default: str, *others: str) -> Option:
    """The combination of a target and its sources."""
    return Option(
        default,
        "how a token and those merged into it are combined; drop removes them",
        (default, *others),
    )


def order(*, scored: bool, merges: bool, default: str = "restored") -> Option:
    """The order of the survivors."""
    # Only what the method's parts define: `appended` needs destinations, `score` needs a score.
    choices: list[Value] = ["restored", "odd-even", "reversed", "shuffled"]
    if merges:
        choices.insert(1, "appended")
    if scored:
        choices.insert(1, "score")
    return Option(default, "where the survivors stand", tuple(choices))


def shuffle() -> Option:
    """The share of the survivors that a shuffle moves."""
    return Option(1.0, "share of the survivors that order=shuffled moves", minimum=0, maximum=1)


def feature(default: str) -> Option:
    """The feature that tokens are compared by."""
    choices = ("branch", "residual", "branch+residual", "b", "c", "delta", "keys")
    return Option(default, "what the cosine of two tokens is taken of", choices)


def score(default: str, *others: str) -> Option:
    """The score of importance."""
    return Option(default, "how important a token is", (default, *others))


def reading(default: str = "ungated") -> Option:
    """What the score ``activation`` reads of a block."""
    choices = ("ungated", "gated", "projected")
    return Option(
        default,
        "what activation clips: the scan's output, before or after its gate, or the block's",
        choices,
    )


def decay() -> Option:
    """The score ``hidden-attention`` with its decay, or without."""
    return Option(
        True, "whether what a token wrote decays on its way to the class token in hidden-attention"
    )


def direction() -> Option:
    """The scan a score is read from."""
    return Option("both", "scan direction the score is read from", ("both", "forward", "backward"))


def cls_placement() -> Option:
    """The place of the class token after a reduction."""
    choices = ("exact", "proportional", "first", "last")
    return Option(
        "exact", "where the class token stands: proportional is R-MeeTo's released code's", choices
    )


def sources() -> Option:
    """The parity of rank of the tokens that may go, in ToMe's split."""
    return Option(
        "even", "rank of the patch tokens that may go, into those of the other", ("even", "odd")
    )


def attention() -> Option:
    """Attention to merged tokens: proportional counts a token of size s as s tokens."""
    return native(
        Option("plain", "what later attention makes of a merged token", ("plain",)),
        "keys",
        "proportional",
    )


def neighbour_rank() -> Option:
    """The neighbour that a token merges into, by rank of similarity."""
    return Option(
        1,
        "1: a token goes into the most similar one, k: into the k-th (the last if fewer)",
        minimum=1,
    )


def window() -> Option:
    """The second reading of MTR's score: local feature responsiveness."""
    return Option(
        1,
        "a token's score is the largest within this many grid cells squared round it",
        (1, 3, 5, 7),  # odd, so that the window is centred on the token
    )


def sensitivity() -> Option:
    """The second reading of MTR's score: positional sensitivity."""
    return Option(
        0.0,
        "the score fades by exp(-sensitivity x distance to the class token / length)",
        minimum=0,
        maximum=100,
    )
