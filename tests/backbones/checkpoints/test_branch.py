"""Plain and averaged weights: which are taken, and that it is said."""

from typing import Any

import pytest
import torch

from backbones import create_model
from backbones.checkpoints.branch import choose
from backbones.common.errors import UserError

PLAIN = {"a.b": torch.tensor(0.0), "c": torch.tensor(1.0)}
AVERAGED = {"a.b": torch.tensor(2.0), "c": torch.tensor(3.0)}
SWA = {"module.a.b": torch.tensor(2.0), "n_averaged": torch.tensor(9)}
RAW = {"ema_a_b": PLAIN["a.b"], "ema_c": PLAIN["c"]}  # OpenMMLab's: averages have the plain names
BOTH = {"model": PLAIN, "model_ema": AVERAGED, "epoch": 3}
TIMM = {"state_dict": PLAIN, "state_dict_ema": AVERAGED, "arch": "vit"}
PLAIN_SAID = "the plain weights ('model') are taken"
AVERAGED_SAID = "the averaged weights ('model_ema') are taken"


@pytest.mark.parametrize(
    ("content", "ema", "usual", "values", "said"),
    [
        (BOTH, None, False, PLAIN, f"{PLAIN_SAID}, not the averaged weights ('model_ema'), which"),
        (BOTH, None, True, AVERAGED, f"{AVERAGED_SAID}, not the plain weights ('model'), which"),
        (BOTH, True, False, AVERAGED, f"{AVERAGED_SAID}, not the plain weights ('model'), which"),
        (BOTH, False, True, PLAIN, f"{PLAIN_SAID}, not the averaged weights ('model_ema'), which"),
        (TIMM, None, False, PLAIN, "the plain weights ('state_dict') are taken, not the averaged"),
        (TIMM, True, False, AVERAGED, "the averaged weights ('state_dict_ema') are taken, not the"),
        (
            {"model": PLAIN, "ema": AVERAGED},
            True,
            False,
            AVERAGED,
            "the averaged weights ('ema') are taken, not the plain",
        ),
        ({"model": PLAIN}, None, True, PLAIN, f"{PLAIN_SAID}, the file has no averaged ones"),
        ({"model": PLAIN}, None, False, PLAIN, PLAIN_SAID),
        (
            {"model_ema": AVERAGED},
            None,
            False,
            AVERAGED,
            f"{AVERAGED_SAID}, the file has no plain ones",
        ),
        (PLAIN, None, False, PLAIN, ""),
        (PLAIN, None, True, PLAIN, "the file does not say whether its weights are averaged"),
        (SWA, None, False, SWA, "the averaged weights are taken, the file has no plain ones"),
        (SWA, True, False, SWA, "the averaged weights are taken"),
        (
            {"state_dict": AVERAGED | RAW},
            None,
            False,
            AVERAGED,
            "the averaged weights ('state_dict') are taken, not the plain",
        ),
        (
            {"state_dict": AVERAGED | RAW},
            False,
            False,
            PLAIN,
            "the plain weights ('state_dict') are taken, not the averaged",
        ),
    ],
)
def test_what_is_taken_is_said(
    content: Any, ema: bool | None, usual: bool, values: Any, said: str
) -> None:
    branch = choose(content, "c.pth", "vim_base", ema, usual)
    assert dict(branch.tensors) == values
    assert branch.said.startswith(said)
    assert bool(branch.said) == bool(said)
    if "which" in branch.said:
        other = str("plain weights" in branch.said.split("not the")[0]).lower()
        assert branch.said.endswith(f"which 'vim_base[ema={other}]' takes")


@pytest.mark.parametrize(
    ("content", "ema", "says"),
    [
        ({"model": PLAIN}, True, r"no averaged weights \(it has: model\): leave out ema=true"),
        (PLAIN, True, r"no averaged weights \(it has: a.b, c\): leave out ema=true"),
        ({"model_ema": AVERAGED}, False, "no plain weights .*: leave out ema=false"),
        (SWA, False, "no plain weights .*: leave out ema=false"),
    ],
)
def test_weights_that_were_asked_for_and_are_not_there(content: Any, ema: bool, says: str) -> None:
    with pytest.raises(UserError, match=says):
        choose(content, "c.pth", "vim_base", ema, False)


def test_a_setting_of_the_backbone_chooses(tmp_path: Any) -> None:
    small = create_model("vim_base", depth=1, dim=16)
    state = small.state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    path = tmp_path / "c.pth"
    torch.save({"model": state, "model_ema": other}, path)
    for name, expected in (
        ("vim_base[dim=16,depth=1]", other),
        ("vim_base[ema=false,dim=16,depth=1]", state),
        ("vim_tiny[dim=16,depth=1]", state),
        ("vim_tiny[dim=16,depth=1,ema=true]", other),
    ):
        loaded = create_model(name, str(path)).state_dict()
        assert torch.equal(loaded["cls_token"], expected["cls_token"]), name
    with pytest.raises(UserError, match="ema=3: give true or false"):
        create_model("vim_tiny[ema=3]")
