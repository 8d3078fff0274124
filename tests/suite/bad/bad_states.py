"""The state that training goes on from."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from bad import Bad, written
from safetensors.torch import save_file

from backbones import create_model
from suite.training.loop import build_optimizers, fingerprint
from suite.training.recipes import find_recipe

LINE = "train --recipe vim_nano --out ROOT --workers 0 --max-minutes 0.0001"
ANEW = "is not a training state.*: delete it to start anew"
UNFIT = "does not fit the recipe's model.*: delete it to start anew"
DONE = {"recipe": "vim_nano", "epoch": 119, "step": 9, "seconds": 1.0, "hardware": "x"}


@cache
def _sound() -> dict[str, torch.Tensor]:
    """A whole state of the recipe."""
    model, plan = create_model("vim_nano"), find_recipe("vim_nano")
    state = {
        f"{part}.{name}": value
        for part in ("model", "ema")
        for name, value in model.state_dict().items()
    }
    (adamw,) = build_optimizers(model, plan)
    groups = adamw.param_groups
    for index, parameter in enumerate(
        parameter for group in groups for parameter in group["params"]
    ):
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state[f"optimizer.{index}.step"] = torch.tensor(3.0)
    return {name: value.detach().clone() for name, value in state.items()}


def state(changed: dict[str, Any] | None = None, **progress: Any) -> Callable[[Path], object]:
    """A state with some tensors (None: left out) or some of its progress changed."""

    def make(root: Path) -> None:
        tensors = {
            name: value for name, value in (_sound() | (changed or {})).items() if value is not None
        }
        done = {"fingerprint": fingerprint(find_recipe("vim_nano"))} | DONE | progress
        save_file(tensors, root / "state.safetensors", metadata={"progress": json.dumps(done)})

    return make


def _no_progress(root: Path) -> None:
    save_file({"a": torch.zeros(1)}, root / "state.safetensors")


ROWS = [
    Bad("state: a text", LINE, ANEW, written("state.safetensors", "hello")),
    Bad("state: empty", LINE, ANEW, written("state.safetensors", "")),
    Bad("state: a folder", LINE, ANEW, lambda root: (root / "state.safetensors").mkdir()),
    Bad("state: no progress", LINE, ANEW, _no_progress),
    Bad(
        "state: of another recipe",
        LINE,
        "another version of recipe 'vim_nano': delete it",
        state(fingerprint="x"),
    ),
    Bad("state: an epoch in words", LINE, ANEW, state(epoch="many")),
    Bad("state: an epoch below zero", LINE, ANEW, state(epoch=-1)),
    Bad("state: a fraction of an epoch", LINE, ANEW, state(epoch=1.5)),
    Bad("state: time without end", LINE, ANEW, state(seconds=float("inf"))),
    Bad("state: an unknown entry", LINE, ANEW, state(colour="red")),
    Bad("state: a fingerprint of another kind", LINE, ANEW, state(fingerprint=[1])),
    Bad("state: a tensor missing", LINE, UNFIT, state({"model.norm_f.weight": None})),
    Bad("state: a tensor too many", LINE, UNFIT, state({"model.more": torch.zeros(1)})),
    Bad("state: another shape", LINE, UNFIT, state({"ema.norm_f.weight": torch.zeros(3)})),
    Bad("state: NaN", LINE, UNFIT, state({"model.norm_f.weight": torch.full((64,), float("nan"))})),
    Bad("state: a moment missing", LINE, UNFIT, state({"optimizer.0.exp_avg": None})),
    Bad("state: a moment of nothing", LINE, UNFIT, state({"optimizer.x.exp_avg": torch.zeros(1)})),
]
