"""The GPU that a worker process uses, which Ray may change from one task to the next."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from suite.execution.ray_worker import _assigned_gpu


@pytest.mark.parametrize(
    ("ids", "visible", "index"),
    [([], None, None), ([0], None, 0), ([3], None, 3), (["5"], "4,5", 1), (["4"], "4", 0)],
)
def test_the_assigned_gpu_is_counted_among_the_visible_ones(
    ids: list[Any], visible: str | None, index: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_gpu_ids=lambda: ids))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _assigned_gpu() == index
