"""Plug-ins of other packages: a bad one is one line, the others stay."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import nn

from backbones import BACKBONES, create_model
from backbones.base import Backbone
from backbones.common import registry
from backbones.common.errors import UserError
from backbones.models.vim import create
from methods import METHODS
from suite import cli
from suite.cli.spec_options import expand

Out = pytest.CaptureFixture[str]


class Unfinished(Backbone):
    """A backbone without any of its methods."""


def good(**settings: Any) -> Backbone:
    return create("vim_nano", depth=2, **settings)


def breaking() -> Backbone:
    return [][1]  # type: ignore[no-any-return]


def leaving() -> Backbone:
    raise SystemExit(3)


def demanding(width: int) -> Backbone:
    return create("vim_nano", dim=width)


# The entries of a package's group `suite.backbones`, and what each is told; None for a good one.
PLUGINS: dict[str, tuple[Any, str | None]] = {
    "fine": (good, None),
    "a_module": (nn.Linear(2, 2), "is a Linear: give a function that returns"),
    "a_class": (nn.Identity, "makes a Identity: give a function that returns"),
    "a_number": (7, "is a int: give a function"),
    "nothing": (lambda: None, "makes a NoneType: give a function"),
    "breaks": (
        breaking,
        r"cannot be made \(IndexError: list index out of range \(test_reg.*\): fix or uninstall it",
    ),
    "leaves": (
        leaving,
        r"cannot be made \(SystemExit: 3 \(test_registry.py:\d+, in leaving\)\): fix or uninstall it",
    ),
    "demands": (demanding, r"cannot be made from these settings \(missing a required argument"),
    "unfinished": (Unfinished, "has no image_size and no provides: fix or uninstall it"),
}
METHOD_PLUGINS = {"a_module": nn.Linear(2, 2), "a_class": nn.Linear}


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """These entry points and no others, which load without a package."""
    loaded: dict[str, Any] = {f"theirs:{name}": entry for name, (entry, _) in PLUGINS.items()}
    loaded |= {f"methods:{name}": entry for name, entry in METHOD_PLUGINS.items()}

    def points(group: str) -> dict[str, EntryPoint]:
        values = [value for value in loaded if (group == METHODS.group) == ("methods:" in value)]
        names = [value.partition(":")[2] for value in values]
        return {
            name: EntryPoint(name, value, group) for name, value in zip(names, values, strict=True)
        }

    monkeypatch.setattr(registry, "_plugins", points)
    own = {name: BACKBONES._builtin[name] for name in ("vim_nano", "deit_nano")}
    monkeypatch.setattr(BACKBONES, "_builtin", own)  # to list all takes a while
    monkeypatch.setattr(EntryPoint, "load", lambda point: loaded[point.value])
    monkeypatch.setattr(BACKBONES, "_announced", set(PLUGINS))
    monkeypatch.setattr(METHODS, "_announced", set(METHOD_PLUGINS))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_backbone_that_is_none_is_one_line(name: str) -> None:
    says = PLUGINS[name][1]
    if says is None:
        assert create_model(name).depth == 2
        with pytest.raises(UserError, match="has no setting 'width'"):
            create_model(name, width=3)
        return
    with pytest.raises(UserError, match=f"backbone '{name}' .theirs:{name}. {says}") as error:
        create_model(name)
    assert "\n" not in str(error.value)


def test_the_list_keeps_the_others(capsys: Out) -> None:
    assert cli.run(["list", "backbones", "--json"]) == 0
    out, err = capsys.readouterr()
    assert '"fine"' in out
    assert '"vim_nano"' in out
    bad = [name for name, (_, says) in PLUGINS.items() if says]
    lines = err.splitlines()
    assert [line.split("'")[1] for line in lines] == bad
    assert all(line.startswith("left out: backbone '") for line in lines)
    assert not any(f'"{name}"' in out for name in bad)


def test_methods_that_are_none_do_not_keep_the_others_away(capsys: Out) -> None:
    assert cli.run(["list", "methods", "--json"]) == 0
    out, err = capsys.readouterr()
    assert '"mtr"' in out
    assert [line.split(": ", 1)[1] for line in err.splitlines()] == [
        "method 'a_module' of plugin 'methods:a_module' is a Linear, not a methods.base.Method: "
        "fix or uninstall it",
        "method 'a_class' of plugin 'methods:a_class' is a type, not a methods.base.Method: "
        "fix or uninstall it",
    ]
    chosen = expand(["all"])
    assert "mtr" in chosen
    assert not set(chosen) & set(METHOD_PLUGINS)
    with pytest.raises(UserError, match="is a Linear, not a methods"):
        METHODS["a_module"]


def test_a_setting_that_a_plugin_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"cannot be made from these settings .*'depth'.*: give"):
        create_model("breaks", depth=3)
    monkeypatch.setitem(BACKBONES._added, "mine", nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"backbone 'mine' \(added\) is a Linear"):
        create_model("mine")
    assert torch.is_tensor(create_model("fine").get_parameter("cls_token"))
