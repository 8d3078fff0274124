"""Methods given by file that work like any other, but do harm if a file tells them to."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from methods.parts.score import SCORES
from suite.data import DATASETS

SOURCE = """
import os
import signal
import time
from pathlib import Path

from methods.base import Method, composed
from methods.parts.score import SCORES, Score

HERE = Path({folder!r})


def once(name):
    try:
        (HERE / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def harm():
{harm}


def read(place, direction):
    if (HERE / "on").exists():
        harm()
    return place.tokens.residual.double().norm(dim=2).gather(1, place.patches)


def cost(tokens, scans, shape):
    return tokens * shape.dim


SCORES["{name}"] = Score(read, lambda direction: frozenset(), False, cost)
MINE = Method(
    name="{name}",
    title="Mine",
    family="pruning",
    about="The tokens of least norm are dropped.",
    build=lambda: composed(matching="lowest", score="{name}"),
)
"""


@pytest.fixture
def harmful(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Write a method whose score runs the lines `harm` while a file ``on`` is in the folder.

    Its score is taken out of the suite's again when the test is over.
    """

    def write(name: str, harm: str) -> str:
        path = tmp_path / f"{name}.py"
        body = textwrap.indent(textwrap.dedent(harm).strip(), " " * 4)
        path.write_text(SOURCE.format(folder=str(tmp_path), harm=body, name=name))
        return f"{path}:MINE"

    with patch.dict(SCORES):
        yield write


@pytest.fixture
def sent_whole(small: object) -> None:
    """Let the test's data set be sent to workers with its code, which they cannot import."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[DATASETS["blots"].__module__])  # type: ignore[attr-defined]
