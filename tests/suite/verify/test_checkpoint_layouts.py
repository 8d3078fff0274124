"""Every layout is looked at, and a weight that went astray is a failure."""

from typing import Any

import pytest
import torch

from backbones import BACKBONES
from backbones.checkpoints.published import published_files
from backbones.common.errors import UserError
from backbones.models.sizes import FAMILIES
from suite.verify import checkpoint_layouts as layouts
from suite.verify.checkpoint_layouts import differing, layout_lines
from suite.verify.published_layouts import published


@pytest.mark.slow
def test_every_layout_holds() -> None:
    lines = list(layout_lines())
    assert [line.text for line in lines if line.state != "holds"] == []
    assert len(lines) == len([name for name in BACKBONES if published(name)]) + len(
        published_files()
    )


def test_only_backbones_of_our_own_making_have_no_published_layout() -> None:
    own = {name for configs in FAMILIES.values() for name in configs if published(name) is None}
    assert own == {
        "vim_nano",
        "vim_pico",
        "videomamba_nano",
        "deit_nano",
        "vim_tiny_64",
        "vim_nano_64",
    }


def test_the_first_difference_is_named() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.zeros(1)}
    assert differing(state, {"a": (2, 3), "b": (1,)}) == ""
    assert differing(state, {"a": (3, 2), "b": (1,)}) == "a is (2, 3), published is (3, 2)"
    assert differing(state, {"a": (2, 3)}) == "b is (1,), published is nothing of that name"
    assert (
        differing(state, {"a": (2, 3), "b": (1,), "c": (4,)}) == "c is not there, published is (4,)"
    )


def test_a_file_that_loads_wrongly_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in published_files() if row.backbone in ("vim_tiny", "vim_base")]
    monkeypatch.setattr(layouts, "published_files", lambda: rows)
    monkeypatch.setattr(layouts, "BACKBONES", [])
    assert [line.state for line in layout_lines()] == ["holds", "holds"]
    own = layouts.create_model

    def astray(name: str, *given: Any, **more: Any) -> Any:
        model = own(name, *given, **more)
        with torch.no_grad():
            model.get_parameter("norm_f.weight").add_(1)
        return model

    monkeypatch.setattr(layouts, "create_model", astray)
    assert [line.detail for line in layout_lines()] == [
        "norm_f.weight is not what the file holds"
    ] * 2
    monkeypatch.setattr(
        layouts, "create_model", lambda name, file, **more: own(name, file, ema=False, **more)
    )
    assert [line.state for line in layout_lines()] == ["holds", "fails"]

    def refusing(*given: Any, **more: Any) -> Any:
        raise UserError("does not fit")

    monkeypatch.setattr(layouts, "create_model", refusing)
    assert {line.detail for line in layout_lines()} == {"does not fit"}
