"""Names as frameworks write them: each file is the model's, or is refused in one line."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from backbones.checkpoints.names import renamed
from backbones.common.errors import UserError

State = dict[str, Tensor]
OWN = (
    "cls_token",
    "pos_embed",
    "layers.0.mixer.D",
    "layers.0.norm.weight",
    "norm_f.weight",
    "head.weight",
    "head.bias",
)
WEIGHTS = {name: torch.tensor(float(number)) for number, name in enumerate(OWN)}
BODY = {name: tensor for name, tensor in WEIGHTS.items() if not name.startswith("head")}


def under(prefix: str, state: State = WEIGHTS) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def headed(head: str, body: State = BODY) -> State:
    """The body with a head of this name."""
    return body | {f"{head}.weight": WEIGHTS["head.weight"], f"{head}.bias": WEIGHTS["head.bias"]}


def compiled() -> State:
    """Each block compiled by itself."""
    return {name.replace("layers.0.", "layers.0._orig_mod."): WEIGHTS[name] for name in WEIGHTS}


FILES: dict[str, tuple[State, list[str]]] = {
    "as it is": (WEIGHTS, []),
    "data parallel": (under("module."), ["'module.' taken off the names"]),
    "compiled": (under("_orig_mod."), ["'_orig_mod.' taken off the names"]),
    "compiled block by block": (compiled(), ["'_orig_mod.' taken off the names"]),
    "Lightning": (under("model."), ["'model.' taken off the names"]),
    "a net": (under("net."), ["'net.' taken off the names"]),
    "SWA": (
        under("module.") | {"n_averaged": torch.tensor(7)},
        ["'module.' taken off the names"],
    ),
    "FSDP with checkpointed blocks": (
        under("_fsdp_wrapped_module._checkpoint_wrapped_module."),
        [
            "'_fsdp_wrapped_module.' taken off the names",
            "'_checkpoint_wrapped_module.' taken off the names",
        ],
    ),
    "several at once": (
        under("model._orig_mod.module.backbone."),
        [
            "'_orig_mod.' taken off the names",
            "'module.' taken off the names",
            "'model.' taken off the names",
            "'backbone.' taken off the names",
        ],
    ),
    "a loss beside it": (
        under("model.") | {"criterion.weight": torch.ones(2)},
        ["'model.' taken off the names", "left out: criterion.weight"],
    ),
    "a head called fc": (headed("fc"), ["the head is called 'fc' there"]),
    "a head called classifier": (headed("classifier"), ["the head is called 'classifier' there"]),
    "a head behind a dropout": (
        headed("classifier.1"),
        ["the head is called 'classifier.1' there"],
    ),
    "OpenMMLab": (
        headed("head.fc", under("backbone.", BODY)),
        ["'backbone.' taken off the names", "the head is called 'head.fc' there"],
    ),
    "a backbone and a head in a module": (
        under("model.", headed("fc", under("encoder.", BODY))),
        [
            "'model.' taken off the names",
            "'encoder.' taken off the names",
            "the head is called 'fc' there",
        ],
    ),
}


@pytest.mark.parametrize("file", FILES)
def test_names_become_the_models_and_what_was_done_is_said(file: str) -> None:
    state, said = FILES[file]
    result, notes = renamed(state, OWN, "c.pth")
    assert result == WEIGHTS
    assert notes == said


PREFIXES = ("module", "_orig_mod", "model", "backbone", "net", "encoder", "student", "m0del_é")


@given(
    outside=st.lists(st.sampled_from(PREFIXES), max_size=5),
    inside=st.lists(st.sampled_from(PREFIXES), max_size=3),
    head=st.sampled_from(["head", "fc", "classifier", "classifier.1", "head.fc", "linear"]),
    beside=st.booleans(),
    counted=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_any_chain_of_prefixes_and_any_head_leads_to_the_model(
    outside: Sequence[str],
    inside: Sequence[str],
    head: str,
    beside: bool,
    counted: bool,
    order: object,
) -> None:
    outer, inner = ("".join(f"{part}." for part in parts) for parts in (outside, inside))
    state = under(outer, headed(head, under(inner, BODY)))
    if counted:
        state["n_averaged"] = torch.tensor(3)
    if beside and set(outside) - {"module", "_orig_mod"}:
        state["criterion.weight"] = torch.ones(2)
    names = list(state)
    order.shuffle(names)  # type: ignore[attr-defined]
    result, _ = renamed({name: state[name] for name in names}, OWN, "c.pth")
    assert result == WEIGHTS


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (WEIGHTS | under("module."), "has both 'cls_token' and 'module.cls_token': keep one"),
        (under("module.") | WEIGHTS, "has both 'module.cls_token' and 'cls_token': keep one"),
        (WEIGHTS | under("model."), "has both 'cls_token' and 'model.cls_token': keep one"),
        (WEIGHTS | under("a.b."), "has both 'cls_token' and 'a.b.cls_token': keep one"),
        (
            WEIGHTS | {"_orig_mod.head.bias": torch.ones(1)},
            "has both 'head.bias' and '_orig_mod.head.bias'",
        ),
        (
            under("model.", headed("fc")) | {"fc.weight": torch.ones(1)},
            "has both 'model.fc.weight' and 'fc.weight': keep one",
        ),
        (
            under("student.") | under("teacher."),
            "has the model under 'student.' and under 'teacher.': save one",
        ),
    ],
)
def test_two_tensors_for_one_name_are_refused(state: State, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        renamed(state, OWN, "c.pth")
    assert "\n" not in str(error.value)


def test_a_models_own_names_are_no_prefixes() -> None:
    own = [f"module.{name}" for name in OWN]
    assert renamed(under("module."), own, "c.pth") == (under("module."), [])
    # a head of two layers is none of ours: its names stay, and are refused as surplus
    two = headed("fc.0") | {"fc.2.weight": torch.ones(1)}
    assert renamed(two, OWN, "c.pth") == (two, [])
