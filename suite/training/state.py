"""The state from which a training run resumes, one safetensors file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Muon, Optimizer

from backbones.common.errors import UserError
from suite.data.base import one_line
from suite.system.atomic_files import replacing


@dataclass
class TrainingProgress:
    """Progress and cost of a run, and the hardware and torch version of its last start.

    ``curve``  loss and top-1 of each epoch
    """

    recipe: str
    fingerprint: str
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    hardware: str = ""
    curve: list[list[float]] = field(default_factory=list)

    def check(self) -> None:
        """ValueError unless every field has its type and range, since a file may say anything."""
        for name, default in vars(TrainingProgress("", "")).items():
            value = getattr(self, name)
            # JSON may have 0 for 0.0.
            types = {type(default), int} if isinstance(default, float) else {type(default)}
            sound = type(value) in types
            if sound and isinstance(value, list):
                sound = all(_is_pair(pair) for pair in value)
            elif sound and not isinstance(value, str):
                sound = 0 <= value < math.inf
            if not sound:
                raise ValueError(f"{name} {str(value)[:40]!r}")


def _is_pair(value: object) -> bool:
    """Whether it is a list of two finite numbers."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(type(part) in (int, float) and math.isfinite(part) for part in value)


def save(
    path: Path,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizers: list[Optimizer],
    done: TrainingProgress,
) -> None:
    """Write model, averaged weights, optimizers' moments and progress in one atomic step."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.items()}
    for first, optimizer in _numbered(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimizer.{first + index}.{name}"] = value
    for name, tensor in tensors.items():
        # safetensors refuses tensors that share memory.
        tensors[name] = tensor.detach().cpu().contiguous().clone()
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"progress": json.dumps(asdict(done))})


def load(
    path: Path,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizers: list[Optimizer],
    expected: TrainingProgress,
) -> TrainingProgress:
    """Restore what `save` wrote into `model`, `ema` and `optimizers`, and return the progress.

    UserError for a damaged file, or one of another recipe than `expected`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            done = TrainingProgress(**json.loads((file.metadata() or {})["progress"]))
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        done.check()
    except Exception as error:
        # safetensors and JSON have errors of their own, and so has a missing entry.
        reason = one_line(error)[:120]
        raise UserError(
            f"{path} is not a training state ({reason}): delete it to start anew"
        ) from error
    if done.fingerprint != expected.fingerprint:
        raise UserError(
            f"{path} belongs to other images or weights, or another version of recipe "
            f"'{done.recipe}': delete it or use another --out"
        )
    # Before anything is changed: a part of a state would train on unnoticed.
    _check_fit(path, tensors, model, optimizers)
    model.load_state_dict(_part(tensors, "model."))
    for name, tensor in _part(tensors, "ema.").items():
        ema[name].copy_(tensor)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, moment = name.split(".")
        moments.setdefault(int(index), {})[moment] = tensor
    for first, optimizer in _numbered(optimizers):
        groups = optimizer.state_dict()["param_groups"]
        own = {index: moments[first + index] for index in range(len(_parameters(optimizer)))}
        optimizer.load_state_dict({"state": own, "param_groups": groups})
    return done


def _check_fit(
    path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizers: list[Optimizer]
) -> None:
    """UserError unless `tensors` are those of `model` and `optimizers`, in shape, and finite."""
    shapes: dict[str, torch.Size] = {}
    for name, value in model.state_dict().items():
        shapes[f"model.{name}"] = shapes[f"ema.{name}"] = value.shape
    for first, optimizer in _numbered(optimizers):
        for index, parameter in enumerate(_parameters(optimizer), start=first):
            if isinstance(optimizer, Muon):
                shapes[f"optimizer.{index}.momentum_buffer"] = parameter.shape
                continue
            shapes[f"optimizer.{index}.step"] = torch.Size()
            for moment in ("exp_avg", "exp_avg_sq"):
                shapes[f"optimizer.{index}.{moment}"] = parameter.shape
    for name in sorted(shapes.keys() | tensors.keys()):
        tensor = tensors.get(name)
        fits = tensor is not None and tensor.shape == shapes.get(name)
        if tensor is None or not fits or not bool(torch.isfinite(tensor.float()).all()):
            raise UserError(
                f"{path} does not fit the recipe's model ('{name[:80]}'): delete it to start anew"
            )


def _numbered(optimizers: list[Optimizer]) -> list[tuple[int, Optimizer]]:
    """Each optimizer with the number of its first parameter, counted over all of them."""
    numbered: list[tuple[int, Optimizer]] = []
    count = 0
    for optimizer in optimizers:
        numbered.append((count, optimizer))
        count += len(_parameters(optimizer))
    return numbered


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """The parameters of all groups, as the optimizer's state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    part = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            part[name.removeprefix(prefix)] = tensor
    return part
