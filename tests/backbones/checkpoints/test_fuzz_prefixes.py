"""Files as frameworks write them, drawn: each gives the very weights, or is refused in one line."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backbones import BACKBONES, create_model
from backbones.common.errors import UserError
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim

State = dict[str, Tensor]
# Wrappers may stand anywhere in a name, other prefixes before all names of the model or its body.
WRAPPERS = ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module")
OUTER = (*WRAPPERS, "model", "net", "network", "student", "encoder", "m0del_é", "base.inner")
INNER = ("backbone", "features", "trunk", "_orig_mod")
HEADS = ("head", "fc", "classifier", "classifier.1", "head.fc", "cls_head", "linear")
BESIDE: dict[str, Any] = {
    "epoch": 3,
    "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    "args": ["--lr", "0.1"],
    "best_acc": 0.5,
}


def mini(**overrides: Any) -> Vim:
    settings = {"dim": 8, "depth": 2, "states": 2, "image_size": 16, "patch": 8, "stride": 8}
    return Vim("prefixed", MambaConfig(**(settings | {"classes": 3} | overrides)))


def chained(draw: random.Random, names: tuple[str, ...], most: int) -> str:
    return "".join(f"{part}." for part in draw.choices(names, k=draw.randint(0, most)))


def renamed(draw: random.Random, plain: State) -> State:
    """The weights under drawn names: prefixes outside and inside, wrapped blocks, another head."""
    outer, inner, head = chained(draw, OUTER, 3), chained(draw, INNER, 2), draw.choice(HEADS)
    block = draw.choice(["", "", *WRAPPERS])
    state = {}
    for name, tensor in plain.items():
        if name.startswith("head."):
            state[f"{outer}{name.replace('head', head)}"] = tensor
            continue
        wrapped = name.replace("layers.1.", f"layers.1.{block}.") if block else name
        state[f"{outer}{inner}{wrapped}"] = tensor
    return state


def spoilt(draw: random.Random, state: State) -> State:
    """The same with something that leaves open which weights are meant, or with one missing."""
    name = draw.choice(list(state))
    other = torch.full_like(state[name], 9.0)
    kind = draw.choice(["twice", "missing", "surplus", "shape", "two models"])
    if kind == "twice":
        return state | {f"module.{name}": other, f"_orig_mod.{name}": other.clone()}
    if kind == "missing":
        return {key: tensor for key, tensor in state.items() if key != name}
    if kind == "surplus":
        return state | {f"{name.rpartition('.')[0]}.surplus": other}
    if kind == "shape":
        return state | {name: torch.zeros(3, 1, 4, 1, 5)}
    one = {f"student.{key}": tensor for key, tensor in state.items()}
    return one | {f"teacher.{key}": tensor + 1 for key, tensor in state.items()}


def saved(draw: random.Random, state: State, path: Path) -> dict[str, bool]:
    """Write a drawn kind of file; returns the settings that choose these weights in it."""
    kind = draw.choice(["bare", "entry", "average", "safetensors", "sharded", "misnamed"])
    ema: dict[str, bool] = {}
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "sharded":
        names = list(state)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, part in halves.items():
            save_file({name: state[name] for name in part}, path.with_name(file))
        where = {name: file for file, part in halves.items() for name in part}
        path.write_text(json.dumps({"weight_map": where}))
    else:
        content: Any = state
        if kind == "entry":
            content = {draw.choice(["model", "state_dict", "module"]): state} | BESIDE
        if kind == "average":
            wrong = {name: tensor + 1 for name, tensor in state.items()}
            ema["ema"] = draw.random() < 0.5
            averaged = draw.choice(["model_ema", "state_dict_ema", "ema"])
            pair = {"model": wrong, averaged: state} if ema["ema"] else None
            content = (pair or {"model": state, averaged: wrong}) | BESIDE
        torch.save(content, path, _use_new_zipfile_serialization=draw.random() < 0.7)
    if kind == "sharded":
        path.rename(path.with_name("model.safetensors.index.json"))
        ema["sharded"] = True
    return ema


def tried(seed: int, folder: Path) -> str:
    """One drawn file: loaded, or refused."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    plain = {name: torch.randn_like(tensor) for name, tensor in mini().state_dict().items()}
    state, bad = renamed(draw, plain), draw.random() < 0.3
    state = spoilt(draw, state) if bad else state
    place = folder / str(seed)
    place.mkdir()
    path = place / draw.choice(["w.pth", "w.pt", "w.safetensors", "w.bin", "w"])
    settings = saved(draw, state, path)
    if settings.pop("sharded", False):
        path = place / "model.safetensors.index.json"
    case = f"seed {seed}, {path.name}, {settings}: {list(state)[:3]} ... {list(state)[-1]}"
    refused = ""
    try:
        model = create_model("prefixed", checkpoint=str(path), **settings)
    except UserError as error:
        refused = str(error)
    if refused:
        assert bad, f"{case}: {refused}"
        assert "\n" not in refused, case
        return "refused"
    # A spoilt file may only be loaded where what it adds is told and left out.
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], plain[name]) for name in plain), case
    return "loaded"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._added, "prefixed", mini)


def test_drawn_files(tmp_path: Path) -> None:
    ends = [tried(seed, tmp_path) for seed in range(30)]
    assert min(ends.count("loaded"), ends.count("refused")) >= 5


@pytest.mark.slow
def test_drawn_files_for_a_minute(tmp_path: Path) -> None:
    end, seed = time.monotonic() + 60, 10_000
    while time.monotonic() < end:
        tried(seed, tmp_path)
        seed += 1
    assert seed > 10_200
