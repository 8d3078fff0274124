"""`import suite` costs next to nothing, and offers what it says."""

import subprocess
import sys

import pytest

import suite

HEAVY = {"matplotlib", "numba", "numpy", "pandas", "pydantic", "timm", "torch"}


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import suite; "
        "print(time.perf_counter() - start, *{name.partition('.')[0] for name in sys.modules})"
    )
    line = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not HEAVY & set(line[1:])
    assert float(line[0]) < 0.3


def test_every_public_name_is_there() -> None:
    for name in suite.__all__:
        assert getattr(suite, name).__doc__
    assert set(suite.__all__) <= set(dir(suite))
    with pytest.raises(AttributeError, match="no attribute 'reduction'"):
        _ = suite.reduction
