"""Threads that wait give up their core, unless the user said how they wait."""

import os
import subprocess
import sys

import pytest

from suite.system.openmp import SPINS, VARIABLES, limit_spinning

# The command line stands in for a run: it tells what PyTorch is going to be loaded with.
BEGUN = """
import os, sys
import suite.cli
suite.cli.run = lambda: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT")) or 0
from suite.__main__ import main
main()
"""


def test_short_waits_are_asked_for_where_nothing_is_said() -> None:
    environ = {"OMP_NUM_THREADS": "2"}
    limit_spinning(environ)
    assert environ == {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": SPINS}


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_said_stands(name: str) -> None:
    environ = {name: "7"}
    limit_spinning(environ)
    assert environ == {name: "7"}


@pytest.mark.parametrize(
    ("given", "seen"),
    [({}, SPINS), pytest.param({"GOMP_SPINCOUNT": "5"}, "5", marks=pytest.mark.slow)],
)
def test_it_is_said_before_torch_is_loaded(given: dict[str, str], seen: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", BEGUN],
        env=clean | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"False {seen}\n"), done.stderr
