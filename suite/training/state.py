"""What a training run needs to go on where it stood, as one safetensors file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.common.errors import UserError
from suite.system.atomic_files import replacing


@dataclass
class Progress:
    """How far a run is, what it has cost, and on which hardware and torch it ran last."""

    recipe: str
    fingerprint: str
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    hardware: str = ""

    def check(self) -> None:
        """ValueError unless everything is of its kind: it may come from a file."""
        for name, default in vars(Progress("", "")).items():
            value = getattr(self, name)
            number = isinstance(default, int | float)
            if type(value) not in {type(default), int if number else str} or (
                number and not 0 <= value < math.inf
            ):
                raise ValueError(f"{name} {str(value)[:40]!r}")


def save(
    path: Path,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    done: Progress,
) -> None:
    """Write model, averaged weights, optimizer moments and progress in one step."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"progress": json.dumps(done.__dict__)})


def load(
    path: Path,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    wanted: Progress,
) -> Progress:
    """Restore what `save` wrote into `model`, `ema` and `optimizer`; UserError if the file is of another recipe."""
    try:
        with safe_open(path, framework="pt") as file:
            done = Progress(**json.loads((file.metadata() or {})["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        done.check()
    except Exception as error:  # safetensors, JSON and what is missing in them raise each their own
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{path} is not a training state ({reason}): delete it to start anew"
        ) from error
    if done.fingerprint != wanted.fingerprint:
        raise UserError(
            f"{path} belongs to another version of recipe '{done.recipe}': delete it or use another --out"
        )
    _check_fit(path, tensors, model, optimizer)
    model.load_state_dict(_part(tensors, "model."))
    for name, tensor in _part(tensors, "ema.").items():
        ema[name].copy_(tensor)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, moment = name.split(".")
        moments.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict(
        {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return done


def _check_fit(
    path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """UserError unless the file has exactly what `model` and `optimizer` hold, in its shapes, all finite."""
    wanted = {
        f"{part}.{name}": value.shape
        for part in ("model", "ema")
        for name, value in model.state_dict().items()
    }
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        wanted |= {f"optimizer.{index}.{name}": shape for name, shape in shapes.items()}
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tensors.get(name)
        if (
            found is None
            or found.shape != wanted.get(name)
            or not bool(torch.isfinite(found.float()).all())
        ):
            raise UserError(
                f"{path} does not fit the recipe's model ('{name[:80]}'): delete it to start anew"
            )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
