"""All directions of a block are scanned in one call of the kernel, in every family."""

from typing import Any

import pytest
import torch

from backbones import create_model
from backbones.layers import fused_path
from suite.flops.counters import COUNTED_SCAN, COUNTED_SSD, count_with_torch

SMALL: dict[str, dict[str, Any]] = {
    "vim_nano": {},
    "videomamba_nano": {},
    "videomamba_tiny_video": {"frames": 2, "dim": 32, "patch": 4, "stride": 4},
    "mambareg_base": {"dim": 32, "registers": 3, "patch": 4, "stride": 4},
    "plainmamba_l1": {"dim": 32, "patch": 4},
    "adventurer_nano": {},
}


def inputs(name: str, frames: int = 1) -> torch.Tensor:
    return torch.zeros(1, 3, *((frames,) if frames > 1 else ()), 20, 20)


@pytest.mark.parametrize("name", SMALL)
def test_a_block_is_one_call(name: str) -> None:
    model = create_model(name, kernel="reference", depth=3, image_size=20, **SMALL[name])
    counted = count_with_torch(lambda: model(inputs(name, model.frames)))
    assert counted.operators.get(COUNTED_SCAN, 0) + counted.operators.get(COUNTED_SSD, 0) == 3
    directions = {"plainmamba_l1": 4, "adventurer_nano": 1}
    assert model.describe().directions == directions.get(name, 2)


def test_so_it_is_on_the_fused_path(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    own = fused_path._on_cpu

    def counting(*given: Any) -> Any:
        result, scan = own(*given)

        def once(*requested: Any, **named: Any) -> Any:
            calls.append(result.u.shape[0])
            return scan(*requested, **named)

        return result, once

    model = create_model("vim_nano", depth=3, image_size=20)
    with torch.no_grad():
        model(inputs("vim_nano"))  # the path proves itself once in a process, by calls of its own
        monkeypatch.setattr(fused_path, "_on_cpu", counting)
        model(inputs("vim_nano"))
    assert calls == [2, 2, 2]
